"""One criterion against a limit of its own: an absolute objective, or stable's recorded history. Called by `columns`.

Neither can tell the candidate's trouble from everybody's while both carry no traffic side by side. So in the first
exposure they only suspect: the traffic goes back to stable, whose answers then say whether the trouble was common.
They condemn on what comes to light from the second exposure on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sternway.domain.evidence import Counts, Limited
from sternway.domain.guards import JudgeSettings
from sternway.judgement.blocks import (
    CANDIDATE_BAD,
    CANDIDATE_TOTAL,
    SLOW_CAP,
    SLOW_TOLERANCE,
    STABLE_BAD,
    STABLE_TOTAL,
    Bools,
    Look,
    began,
    carry,
    elapsed,
    slow_tick_ends,
    warming,
)
from sternway.judgement.budget import HISTORY, OBJECTIVE, Budget
from sternway.judgement.comparison import is_slow
from sternway.judgement.packing import as_counts, as_time, pack_counts, pack_times
from sternway.stats.exact import Floats, Ints
from sternway.stats.rates import ODDS, rate_factors, upper_rate
from sternway.stats.wealth import added, grow, new_wealth

MIN_ANSWERS = 20

_NEW_WEALTH = new_wealth(len(ODDS))


def new_objective(name: str, limit: float) -> Limited:
    """Begin an absolute objective: at most this share of the answers may be bad."""
    return _new(name, OBJECTIVE, limit)


def new_history(name: str) -> Limited:
    """Begin the comparison with history: not worse than what stable showed while it carried the traffic."""
    return _new(name, HISTORY, 0.0)


def _new(name: str, basis: str, limit: float) -> Limited:
    return Limited(
        name=name,
        basis=basis,
        limit=limit,
        wealth=_NEW_WEALTH,
        exposure_wealth=_NEW_WEALTH,
        stable_wealth=_NEW_WEALTH,
    )


def stable_breaches(limited: Limited, budget: Budget) -> bool:
    """Stable misses the objective too, and it is no accident."""
    return limited.basis == OBJECTIVE and added(limited.stable_wealth) >= budget.suspicion


def blameless(limited: Limited, budget: Budget) -> bool:
    """Stable's own answers look as bad as the candidate's may: the candidate is not blamed for missing an objective."""
    if limited.basis != OBJECTIVE:
        return False
    seen = limited.exposure
    looks_bad = seen.stable_total >= MIN_ANSWERS and seen.stable_bad > limited.limit * seen.stable_total
    return looks_bad or stable_breaches(limited, budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedColumns:
    """The limits of R releases, L each: since_s [R, L], counts [R, L, 4], wealth [R, L, 1 + odds]; the rest [L]."""

    slow: Bools
    historic: Bools
    limit: Floats
    since_s: Floats
    block: Ints
    exposure: Ints
    wealth: Floats
    exposure_wealth: Floats
    stable_wealth: Floats


def pack_limited(rows: Sequence[Sequence[Limited]]) -> LimitedColumns:
    """Lay limits side by side; every row has the same ones."""
    shape, every = (len(rows), len(rows[0])), [one for row in rows for one in row]

    def wealth(name: str) -> Floats:
        return np.array([getattr(one, name) for one in every]).reshape(*shape, 1 + len(ODDS))

    return LimitedColumns(
        slow=np.array([is_slow(one.name) for one in rows[0]], dtype=bool),
        historic=np.array([one.basis == HISTORY for one in rows[0]], dtype=bool),
        limit=np.array([one.limit for one in rows[0]], dtype=np.float64),
        since_s=pack_times(one.since_s for one in every).reshape(shape),
        block=pack_counts(one.block for one in every).reshape(*shape, 4),
        exposure=pack_counts(one.exposure for one in every).reshape(*shape, 4),
        wealth=wealth("wealth"),
        exposure_wealth=wealth("exposure_wealth"),
        stable_wealth=wealth("stable_wealth"),
    )


def unpack_limited(columns: LimitedColumns, known: Sequence[Limited], at: int) -> tuple[Limited, ...]:
    """Give one release's limits back."""
    return tuple(
        replace(
            one,
            since_s=as_time(float(columns.since_s[at, i])),
            block=as_counts(columns.block[at, i].tolist()),
            exposure=as_counts(columns.exposure[at, i].tolist()),
            wealth=tuple(columns.wealth[at, i].tolist()),
            exposure_wealth=tuple(columns.exposure_wealth[at, i].tolist()),
            stable_wealth=tuple(columns.stable_wealth[at, i].tolist()),
        )
        for i, one in enumerate(known)
    )


def expose_again(columns: LimitedColumns, which: Bools, first: Bools) -> LimitedColumns:
    """Begin a new exposure: suspicion starts afresh; after the first suspicion [R], so does what condemns."""
    rows = which[:, None]
    return replace(
        columns,
        since_s=np.where(rows, np.nan, columns.since_s),
        block=np.where(rows[..., None], 0, columns.block),
        exposure=np.where(rows[..., None], 0, columns.exposure),
        exposure_wealth=np.where(rows[..., None], np.array(_NEW_WEALTH), columns.exposure_wealth),
        wealth=np.where((which & first)[:, None, None], np.array(_NEW_WEALTH), columns.wealth),
    )


def hold_to(
    columns: LimitedColumns,
    counts: Ints,
    allowed: Floats,
    look: Look,
) -> LimitedColumns:
    """Add counts [R, L, 4], and weigh them against what is allowed [R, L]: errors at once, slow answers by the tick."""
    if not columns.limit.size:
        return columns
    slow, historic = columns.slow, columns.historic
    now_s, fresh_s = look.now_s[:, None], look.fresh_s[:, None]
    open_ = ~(historic & look.concurrent[:, None]) & (counts.any(axis=-1) | ~np.isnan(columns.since_s))
    since_s = began(columns.since_s, look.start_s[:, None])
    block = columns.block + counts
    ends = open_ & (~slow | slow_tick_ends(since_s=since_s, now_s=now_s))
    left_since_s, left_block = carry(
        columns.since_s, columns.block, now_since_s=since_s, now_block=block, stays=open_ & ~ends, ends=ends
    )
    after = replace(
        columns,
        since_s=left_since_s,
        block=left_block,
        exposure=columns.exposure + np.where(ends[..., None], block, 0),
        wealth=columns.wealth.copy(),
        exposure_wealth=columns.exposure_wealth.copy(),
        stable_wealth=columns.stable_wealth.copy(),
    )
    passed_s = elapsed(since_s=since_s, now_s=now_s)
    at = np.nonzero(ends & ~historic & (block[..., STABLE_TOTAL] > 0))
    factors = _factors(columns, block, columns.limit[at[1]], at, STABLE_TOTAL, STABLE_BAD)
    after.stable_wealth[at] = grow(columns.stable_wealth[at], factors, passed_s[at])
    weighs = ends & (block[..., CANDIDATE_TOTAL] > 0) & ~(slow & warming(since_s=since_s, fresh_s=fresh_s))
    at = np.nonzero(weighs)
    factors = _factors(columns, block, allowed[at], at, CANDIDATE_TOTAL, CANDIDATE_BAD)
    lasts = since_s[at] >= look.warm_s[at[0]]
    kept = tuple(axis[lasts] for axis in at)
    after.wealth[kept] = grow(columns.wealth[kept], factors[lasts], passed_s[kept])
    after.exposure_wealth[at] = grow(columns.exposure_wealth[at], factors, passed_s[at])
    return after


def _factors(
    columns: LimitedColumns, block: Ints, limit: Floats, at: tuple[Ints, ...], of_total: int, of_bad: int
) -> Floats:
    weighed = block[at]
    cap = np.where(columns.slow[at[1]], SLOW_CAP, np.inf)
    return rate_factors(weighed[:, of_total], weighed[:, of_bad], limit=limit, cap=cap)


def allowed_by_history(settings: JudgeSettings, budget: Budget, history: Counts, *, slow: bool) -> float:
    """Return the upper confidence bound of stable's recorded rate, with the margins on top; 1 when nothing is recorded.

    The bound may be wrong with half of the criterion's share of the error budget; the other half is the evidence's.
    """
    bound = upper_rate(history.stable_total, history.stable_bad, level=history_needed(budget))
    if slow:
        return bound * SLOW_TOLERANCE
    return bound * (1.0 + settings.worse_than_percent / 100.0) + settings.and_percent / 100.0


def history_needed(budget: Budget) -> float:
    """Return the evidence at which a comparison with history condemns: half of the budget went to the bound."""
    return 2.0 * budget.history
