"""Harm that the candidate does to something shared: stable suffers while it is exposed, and recovers while it is not.

Called by `columns`. Side by side both versions look alike then, so no comparison can see it. But exposure goes on and
off, and by whom trouble is caused shows in *when it begins*. Trouble that has nothing to do with the candidate begins
at any time with the same chance, so it begins during exposure with a chance of on / (on + off), the shares of the time
since the last calm. Each beginning is a bet on that: at stake lambda it pays 1 + lambda (off / on) if it came while the
candidate was exposed, and 1 - lambda if it came while it was away; fair whatever trouble is taken to be. The first
beginning, in the first exposure, only suspects: the traffic goes away, and stable shows whether it recovers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sternway.domain.evidence import Crossover
from sternway.judgement.blocks import (
    CANDIDATE_TOTAL,
    MAX_BLOCK_S,
    STABLE_BAD,
    STABLE_TOTAL,
    Bools,
    Look,
)
from sternway.stats.exact import Floats, Ints
from sternway.stats.rates import ODDS, rate_factors
from sternway.stats.wealth import added, new_wealth, total

STAKES = np.array((0.3, 0.6, 0.9))
TROUBLE = 1000.0
"""The evidence, to one, at which stable's errors are trouble."""
TIMES, MORE = 3.0, 0.02
"""Trouble is an error rate of stable beyond three times what it was, and two points more."""
MIN_STABLE, PRIOR_TOTAL = 50, 50
CALM_S = 5.0
"""Trouble is over when stable has been well for so long."""
LINGERS_S = 5.0
"""A candidate counts as exposed until so long after its last answer."""
_NEW_WEALTH = new_wealth(len(ODDS))


def new_crossover() -> Crossover:
    """Nothing seen, nothing staked."""
    return Crossover(wealth=_NEW_WEALTH, bets=tuple(1.0 for _ in STAKES))


def crossover_evidence(crossover: Crossover) -> float:
    """Return the evidence of all beginnings so far, to one."""
    return added(crossover.bets) / len(crossover.bets)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossoverColumns:
    """The crossovers of R releases, each [R] but wealth [R, 1 + odds] and bets [R, stakes]."""

    stable_total: Ints
    stable_bad: Ints
    last_candidate_s: Floats
    on_s: Floats
    off_s: Floats
    troubled: Bools
    calm_s: Floats
    begun: Ints
    begun_on: Ints
    hit: Bools
    wealth: Floats
    bets: Floats


def pack_crossovers(rows: Sequence[Crossover]) -> CrossoverColumns:
    """Lay crossovers side by side."""

    def floats(name: str) -> Floats:
        return np.array(
            [np.nan if getattr(row, name) is None else getattr(row, name) for row in rows], dtype=np.float64
        )

    def ints(name: str) -> Ints:
        return np.array([getattr(row, name) for row in rows], dtype=np.int64)

    return CrossoverColumns(
        stable_total=ints("stable_total"),
        stable_bad=ints("stable_bad"),
        last_candidate_s=floats("last_candidate_s"),
        on_s=floats("on_s"),
        off_s=floats("off_s"),
        troubled=np.array([row.troubled for row in rows], dtype=bool),
        calm_s=floats("calm_s"),
        begun=ints("begun"),
        begun_on=ints("begun_on"),
        hit=np.array([row.hit for row in rows], dtype=bool),
        wealth=np.array([row.wealth for row in rows]).reshape(len(rows), -1),
        bets=np.array([row.bets for row in rows]).reshape(len(rows), -1),
    )


def unpack_crossover(columns: CrossoverColumns, at: int) -> Crossover:
    """Give one release's crossover back."""
    last_s = float(columns.last_candidate_s[at])
    return Crossover(
        stable_total=int(columns.stable_total[at]),
        stable_bad=int(columns.stable_bad[at]),
        last_candidate_s=None if np.isnan(last_s) else last_s,
        on_s=float(columns.on_s[at]),
        off_s=float(columns.off_s[at]),
        troubled=bool(columns.troubled[at]),
        calm_s=float(columns.calm_s[at]),
        begun=int(columns.begun[at]),
        begun_on=int(columns.begun_on[at]),
        hit=bool(columns.hit[at]),
        wealth=tuple(columns.wealth[at].tolist()),
        bets=tuple(columns.bets[at].tolist()),
    )


def expose_crossovers(columns: CrossoverColumns, which: Bools) -> CrossoverColumns:
    """Begin a new exposure: what was suspected is not suspected twice for the same beginning."""
    return replace(columns, hit=columns.hit & ~which)


def watch(columns: CrossoverColumns, counts: Ints, before: Ints, look: Look, last_s: Floats) -> CrossoverColumns:
    """Watch stable: counts and before [R, 4]; last_s [R]: when it was watched last."""
    ours, answered, bad = counts[:, CANDIDATE_TOTAL], counts[:, STABLE_TOTAL], counts[:, STABLE_BAD]
    last_candidate_s = np.where(ours > 0, look.now_s, columns.last_candidate_s)
    on = look.now_s - last_candidate_s <= LINGERS_S
    passed_s = np.clip(look.now_s - last_s, 0.0, MAX_BLOCK_S)
    usual_total = columns.stable_total + before[:, STABLE_TOTAL]
    usual = (columns.stable_bad + before[:, STABLE_BAD] + 1.0) / (usual_total + PRIOR_TOTAL)
    limit = np.minimum(TIMES * usual + MORE, 0.9)
    watched = (usual_total >= MIN_STABLE) & look.concurrent & (answered > 0)
    # The wealth starts anew with every calm; trouble that builds up slowly is no beginning that one could date.
    wealth = np.where(
        (watched & ~columns.troubled)[:, None],
        _grown(columns.wealth, rate_factors(answered, bad, limit=limit)),
        columns.wealth,
    )
    on_s = columns.on_s + np.where(watched & ~columns.troubled & on, passed_s, 0.0)
    off_s = columns.off_s + np.where(watched & ~columns.troubled & ~on, passed_s, 0.0)
    begins = watched & ~columns.troubled & (total(wealth) >= TROUBLE)
    counted = begins & (on_s > 0.0) & (off_s > 0.0)
    ratio = np.where(counted, off_s / np.where(counted, on_s, 1.0), 0.0)[:, None]
    pays = np.where(
        (counted & on)[:, None], 1.0 + STAKES * ratio, np.where((counted & ~on)[:, None], 1.0 - STAKES, 1.0)
    )
    well = columns.troubled & (bad <= limit * answered)
    calm_s = np.where(well, columns.calm_s + np.where(answered > 0, passed_s, 0.0), 0.0)
    calms = columns.troubled & (calm_s >= CALM_S)
    learns = ~columns.troubled & ~begins
    fresh = np.array(_NEW_WEALTH)
    return CrossoverColumns(
        stable_total=columns.stable_total + np.where(learns, answered, 0),
        stable_bad=columns.stable_bad + np.where(learns, bad, 0),
        last_candidate_s=last_candidate_s,
        on_s=np.where(calms | begins, 0.0, on_s),
        off_s=np.where(calms | begins, 0.0, off_s),
        troubled=(columns.troubled | begins) & ~calms,
        calm_s=np.where(calms, 0.0, calm_s),
        begun=columns.begun + begins,
        begun_on=columns.begun_on + (begins & on),
        hit=columns.hit | (begins & on),
        wealth=np.where((calms | begins)[:, None], fresh, wealth),
        bets=np.minimum(columns.bets * pays, 1e100),
    )


def _grown(wealth: Floats, factors: Floats) -> Floats:
    """Let the bets grow, from even stakes upwards only: what was calm for long must not hide a beginning (a CUSUM)."""
    floor = np.array(_NEW_WEALTH)[1:]
    result: Floats = np.concatenate((wealth[:, :1], np.clip(wealth[:, 1:] * factors, floor, 1e100)), axis=1)
    return result
