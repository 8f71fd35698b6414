"""READ THIS FIRST: the judge's arithmetic over the evidence of many releases side by side. Called by `fold`, `otherwise` and the forecast.

    fold     counts become evidence: comparisons, rounds, bounds, limits
    expose   a new exposure begins: suspicion starts afresh
    stand    what the evidence amounts to: who is suspected, harmful, healthy

One release is a batch of one. Every release gets the same bits in any batch, on any machine (`sternway.stats`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sternway.domain.evidence import Compared, Counts, Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.tallies import Unit
from sternway.judgement.blocks import CANDIDATE_TOTAL, STABLE_BAD, STABLE_TOTAL, Bools, Look
from sternway.judgement.bounds import SURE, BoundedColumns, bound, doubt, pack_bounds, unpack_bounds
from sternway.judgement.budget import HISTORY, Budget
from sternway.judgement.comparison import (
    ERRORS,
    ComparedColumns,
    compare,
    is_slow,
    pack_compared,
    unpack_compared,
)
from sternway.judgement.crossover import (
    CrossoverColumns,
    expose_crossovers,
    pack_crossovers,
    unpack_crossover,
    watch,
)
from sternway.judgement.limits import (
    MIN_ANSWERS,
    LimitedColumns,
    allowed_by_history,
    expose_again,
    history_needed,
    hold_to,
    pack_limited,
    unpack_limited,
)
from sternway.judgement.packing import as_counts, as_time, pack_counts, pack_times
from sternway.judgement.rounds import STAKES, RaceColumns, new_rounds, pack_races, run, unpack_races
from sternway.stats.exact import Floats, Ints
from sternway.stats.shares import WORSE
from sternway.stats.wealth import new_wealth, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The evidence of R releases with the same criteria; times that are not known are NaN. `kind` names the criteria."""

    kind: Evidence
    now_s: Floats
    fresh_s: Floats
    withdrawals: Ints
    suspected: Bools
    before: Ints
    compared: ComparedColumns
    race: RaceColumns
    bounded: BoundedColumns
    crossover: CrossoverColumns
    limited: LimitedColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What R releases counted since they were last judged.

    start_s [R]: when the earliest interval began. answered [R]: the candidate answered anything. errors [R, Q, 4]: by
    the request, all errors first, then each kind that counts alone. compared [R, C, 4] and limited [R, L, 4]: by
    criterion. arms [R, Q, placebo arms, (total, bad)].
    """

    start_s: Floats
    answered: Bools
    errors: Ints
    compared: Ints
    limited: Ints
    arms: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the evidence of R releases amounts to, each [R]."""

    harmful: Bools
    suspected: Bools
    healthy: Bools


def pack(rows: Sequence[Evidence]) -> Columns:
    """Lay the evidence of releases with the same criteria side by side."""
    return Columns(
        kind=rows[0],
        now_s=np.array([row.now_s for row in rows]),
        fresh_s=pack_times(row.candidate_since_s for row in rows),
        withdrawals=np.array([row.withdrawals for row in rows], dtype=np.int64),
        suspected=np.array([bool(row.suspected) for row in rows], dtype=bool),
        before=pack_counts(row.before for row in rows),
        compared=pack_compared([row.compared for row in rows]),
        race=pack_races([(row.race, *row.others) for row in rows]),
        bounded=pack_bounds([row.bounded for row in rows]),
        crossover=pack_crossovers([row.crossover for row in rows]),
        limited=pack_limited([row.limited for row in rows]),
    )


def unpack(columns: Columns, known: Evidence, at: int) -> Evidence:
    """Give one release's evidence back; `known` has what columns do not hold: names and sentences."""
    race, *others = unpack_races(columns.race, at)
    return replace(
        known,
        now_s=float(columns.now_s[at]),
        candidate_since_s=as_time(float(columns.fresh_s[at])),
        withdrawals=int(columns.withdrawals[at]),
        compared=unpack_compared(columns.compared, known.compared, at),
        race=race,
        others=tuple(others),
        bounded=unpack_bounds(columns.bounded, at),
        crossover=unpack_crossover(columns.crossover, at),
        limited=unpack_limited(columns.limited, known.limited, at),
    )


def fold(
    settings: JudgeSettings, spent: Budget, columns: Columns, batch: Batch, *, now_s: Floats, concurrent: Bools
) -> Columns:
    """Add what was counted, and weigh it. now_s [R]; concurrent [R]: stable has traffic beside the candidate."""
    fresh_s = np.where(np.isnan(columns.fresh_s) & batch.answered, batch.start_s, columns.fresh_s)
    warm_s = fresh_s + settings.warm_up_s if settings.warm_up_s else np.full(fresh_s.shape, -np.inf)
    look = Look(start_s=batch.start_s, now_s=now_s, fresh_s=fresh_s, warm_s=warm_s, concurrent=concurrent)
    allowed = _allowed(settings, spent, columns, concurrent)
    keyed = covered(columns)
    return replace(
        columns,
        now_s=now_s,
        fresh_s=fresh_s,
        compared=compare(settings, columns.compared, batch.compared, look),
        race=_run(settings, columns, batch, look, keyed),
        bounded=bound(settings, columns.bounded, _by_unit(columns, batch, keyed), look, keyed=keyed),
        crossover=watch(columns.crossover, batch.errors[:, 0], columns.before, look, columns.now_s),
        limited=hold_to(columns.limited, batch.limited, allowed, look),
    )


def _by_unit(columns: Columns, batch: Batch, keyed: Bools) -> Ints:
    """[R, 4] All errors: by the cluster key where it is in charge, by the request where not."""
    at = _keyed_errors(columns.kind)
    if at is None:
        return batch.errors[:, 0]
    return np.where(keyed[:, None], batch.compared[:, at], batch.errors[:, 0])


def _run(settings: JudgeSettings, columns: Columns, batch: Batch, look: Look, keyed: Bools) -> RaceColumns:
    """Run the races of every release, each in a row of its own."""
    each = len(columns.race.names)
    looks = Look(
        start_s=np.repeat(look.start_s, each),
        now_s=np.repeat(look.now_s, each),
        fresh_s=np.repeat(look.fresh_s, each),
        warm_s=np.repeat(look.warm_s, each),
        concurrent=np.repeat(look.concurrent, each),
    )
    arms = batch.arms.reshape(-1, *batch.arms.shape[2:])
    return run(settings, columns.race, batch.errors.reshape(-1, 4), arms, looks, keyed=np.repeat(keyed, each))


def suspect(columns: Columns, suspected: Bools) -> Columns:
    """Remember who is suspected until the next exposure."""
    return replace(columns, suspected=columns.suspected | suspected)


def expose(columns: Columns, which: Bools) -> Columns:
    """Give candidates traffic again: suspicion starts afresh, and so does the placebo round.

    Evidence that condemns goes on where it was, so a truly bad version is condemned by what it shows next.
    """
    withdrawals = columns.withdrawals + (columns.suspected & which)
    first = columns.suspected & (withdrawals == 1)
    fresh = np.array(new_wealth(len(WORSE)))
    compared, races = columns.compared, np.repeat(which, len(columns.race.names))
    return replace(
        columns,
        withdrawals=withdrawals,
        suspected=columns.suspected & ~which,
        compared=replace(compared, exposure_wealth=np.where(which[:, None, None], fresh, compared.exposure_wealth)),
        race=new_rounds(columns.race, races, np.full(races.shape, -1)),
        bounded=doubt(columns.bounded, which & columns.suspected),
        crossover=expose_crossovers(columns.crossover, which),
        limited=expose_again(columns.limited, which, first),
    )


def stand(spent: Budget, columns: Columns, *, concurrent: Bools) -> Standing:
    """Say who is suspected in this exposure, harmful or healthy; `verdict` says the same of one release, in words."""
    compared, limited = columns.compared, columns.limited
    needed = np.array([needed_by(spent, one) for one in columns.kind.compared])
    reached = total(compared.wealth) >= needed
    suspects = concurrent[:, None] & (total(compared.exposure_wealth) >= spent.suspicion)
    seen = limited.exposure
    too_many = seen[..., STABLE_BAD] > limited.limit * seen[..., STABLE_TOTAL]
    spared = (seen[..., STABLE_TOTAL] >= MIN_ANSWERS) & too_many
    spared |= total(limited.stable_wealth) >= spent.suspicion
    spared &= ~limited.historic
    counts = ~spared & ~(limited.historic & (concurrent[:, None] | (seen[..., CANDIDATE_TOTAL] == 0)))
    needed = np.where(limited.historic, history_needed(spent), spent.objective)
    missed = counts & (columns.withdrawals[:, None] > 0) & (total(limited.wealth) >= needed)
    suspects_limit = counts & (total(limited.exposure_wealth) >= spent.suspicion)
    each = len(columns.race.names)
    rounds = (total(columns.race.bets) / len(STAKES)).reshape(-1, each)
    condemned = (rounds >= np.array([spent.rounds, *[spent.alone] * (each - 1)])).any(axis=1)
    shared = total(columns.crossover.bets) / len(STAKES) >= spent.shared
    harmful = reached.any(axis=1) | missed.any(axis=1) | condemned | shared
    won = columns.race.won.reshape(-1, each).any(axis=1)
    suspected = columns.suspected | won | columns.crossover.hit | suspects.any(axis=1) | suspects_limit.any(axis=1)
    sure = total(columns.bounded.wealth[:, -1]) >= SURE
    return Standing(harmful=harmful, suspected=suspected, healthy=sure & ~suspected & ~harmful)


def needed_by(spent: Budget, compared: Compared) -> float:
    """Return the evidence at which a comparison condemns."""
    if is_slow(compared.name):
        return spent.latency
    return spent.keyed if compared.name == ERRORS else spent.alone


def covered(columns: Columns) -> Bools:
    """[R] Whether at least half of the requests so far carried a cluster key."""
    at = _keyed_errors(columns.kind)
    if at is None:
        return np.zeros(columns.now_s.shape, dtype=bool)
    each = len(columns.race.names)
    keyed, requests = columns.compared.release[:, at], columns.race.release[::each]
    with_key = keyed[:, CANDIDATE_TOTAL] + keyed[:, STABLE_TOTAL]
    return np.asarray((with_key > 0) & (2 * with_key >= requests[:, CANDIDATE_TOTAL] + requests[:, STABLE_TOTAL]))


def has_key(evidence: Evidence) -> bool:
    """Whether errors are counted by a cluster key at all."""
    return _keyed_errors(evidence) is not None


def _keyed_errors(kind: Evidence) -> int | None:
    """Which criterion is all errors by the cluster key."""
    return next((i for i, one in enumerate(kind.compared) if one.unit == Unit.CLUSTER.value), None)


def _allowed(settings: JudgeSettings, spent: Budget, columns: Columns, concurrent: Bools) -> Floats:
    """What each limit allows: the objective's own, or what stable's record does."""
    limited = columns.limited
    allowed = np.tile(limited.limit, (len(concurrent), 1))
    for row in np.nonzero(~concurrent)[0].tolist():
        for at, one in enumerate(columns.kind.limited):
            if one.basis == HISTORY:
                history = _history(columns, row, one.name)
                allowed[row, at] = allowed_by_history(settings, spent, history, slow=is_slow(one.name))
    return allowed


def _history(columns: Columns, row: int, name: str) -> Counts:
    """Stable's record: of the release alone once something was suspected, as only that can show common trouble."""
    if name == ERRORS:
        before = 0 if columns.withdrawals[row] else columns.before[row]
        return as_counts((before + columns.race.release[row * len(columns.race.names)]).tolist())
    found = [i for i, one in enumerate(columns.kind.compared) if one.name == name]
    return as_counts(columns.compared.release[row, found[0]].tolist()) if found else Counts()
