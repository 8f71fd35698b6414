"""Harm that the candidate does to something shared: stable suffers while it is exposed, and recovers while it is not.

Called by `columns`. Side by side both versions look alike then, so no comparison can see it. But exposure goes on and
off, and by whom trouble is caused shows in *when it begins*. Trouble that has nothing to do with the candidate begins
at any time with the same chance. After L seconds without the candidate in which none began, it is exposed; at stake
lambda, trouble that begins in its first W seconds pays 1 + lambda L / W, and trouble that begins while it is away costs
1 - lambda. For beginnings at any constant rate m the expectation is at most
1 - lambda (1 - exp(-m L)) + lambda L m exp(-m L) <= 1, as 1 + y <= exp(y); whatever trouble is taken to be.
The first beginning, in the first exposure, only suspects: the traffic goes away, and stable shows whether it recovers.
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
from sternway.judgement.packing import as_time, pack_times
from sternway.stats.exact import Floats, Ints
from sternway.stats.rates import ODDS, rate_factors
from sternway.stats.wealth import added, new_wealth, total

STAKES = np.array((0.3, 0.6, 0.9))
TROUBLE = 1000.0
"""The evidence, to one, at which stable's errors are trouble."""
TIMES, MORE = 3.0, 0.05
"""Trouble is an error rate of stable beyond three times what it was, and five points more."""
TICK_S, CAP = 1.0, 12.0
"""What a second adds to the evidence of trouble is bounded, so that a burst is none: it takes three of them."""
MIN_STABLE, PRIOR_TOTAL = 50, 50
CALM_S = 5.0
"""Trouble is over when stable has been well for so long."""
LINGERS_S = 5.0
"""A candidate counts as exposed until so long after its last answer."""
WINDOW_S = 6.0
"""W: what begins so soon after the exposure speaks against the candidate."""
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
    tick_total: Ints
    tick_bad: Ints
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
        return pack_times(getattr(row, name) for row in rows)

    def ints(name: str) -> Ints:
        return np.array([getattr(row, name) for row in rows], dtype=np.int64)

    return CrossoverColumns(
        stable_total=ints("stable_total"),
        stable_bad=ints("stable_bad"),
        tick_total=ints("tick_total"),
        tick_bad=ints("tick_bad"),
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
    return Crossover(
        stable_total=int(columns.stable_total[at]),
        stable_bad=int(columns.stable_bad[at]),
        tick_total=int(columns.tick_total[at]),
        tick_bad=int(columns.tick_bad[at]),
        last_candidate_s=as_time(float(columns.last_candidate_s[at])),
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
    answered = columns.tick_total + np.where(look.concurrent, counts[:, STABLE_TOTAL], 0)
    bad = columns.tick_bad + np.where(look.concurrent, counts[:, STABLE_BAD], 0)
    last_candidate_s = np.where(counts[:, CANDIDATE_TOTAL] > 0, look.now_s, columns.last_candidate_s)
    on = look.now_s - last_candidate_s <= LINGERS_S
    sighted = counts[:, STABLE_TOTAL] > 0
    passed_s = np.where(sighted, np.clip(look.now_s - last_s, 0.0, MAX_BLOCK_S), 0.0)
    usual_total = columns.stable_total + before[:, STABLE_TOTAL]
    usual = (columns.stable_bad + before[:, STABLE_BAD] + 1.0) / (usual_total + PRIOR_TOTAL)
    limit = np.minimum(TIMES * usual + MORE, 0.9)
    ticks = (np.floor(look.now_s / TICK_S) != np.floor(last_s / TICK_S)) & (answered > 0)
    weighs = ticks & ~columns.troubled & (usual_total >= MIN_STABLE)
    wealth = np.where(weighs[:, None], _grown(columns.wealth, rate_factors(answered, bad, limit=limit)), columns.wealth)
    calm_before = ~columns.troubled
    on_s = columns.on_s + np.where(calm_before & on, passed_s, 0.0)
    off_s = columns.off_s + np.where(calm_before & ~on, passed_s, 0.0)
    begins = weighs & (total(wealth) >= TROUBLE)
    bets = columns.bets * _pays(begins, on=on, on_s=on_s, off_s=off_s)
    well_s = np.where(ticks & (bad > limit * answered), 0.0, columns.calm_s + passed_s)
    calms = columns.troubled & (well_s >= CALM_S)
    learns = ticks & calm_before & ~begins
    anew = calms | begins
    return CrossoverColumns(
        stable_total=columns.stable_total + np.where(learns, answered, 0),
        stable_bad=columns.stable_bad + np.where(learns, bad, 0),
        tick_total=np.where(ticks, 0, answered),
        tick_bad=np.where(ticks, 0, bad),
        last_candidate_s=last_candidate_s,
        on_s=np.where(anew, 0.0, on_s),
        off_s=np.where(anew, 0.0, off_s),
        troubled=(columns.troubled | begins) & ~calms,
        calm_s=np.where(columns.troubled & ~calms, well_s, 0.0),
        begun=columns.begun + begins,
        begun_on=columns.begun_on + (begins & on),
        hit=columns.hit | (begins & on),
        wealth=np.where(anew[:, None], np.array(_NEW_WEALTH), wealth),
        bets=np.minimum(bets, 1e100),
    )


def _pays(begins: Bools, *, on: Bools, on_s: Floats, off_s: Floats) -> Floats:
    """What a beginning makes of each stake: [R, stakes]."""
    soon = begins & on & (off_s > 0.0) & (on_s <= WINDOW_S)
    away = begins & ~on & (off_s > 0.0)
    gain = np.where(soon, off_s / WINDOW_S, np.where(away, -1.0, 0.0))
    result: Floats = 1.0 + STAKES * gain[:, None]
    return result


def _grown(wealth: Floats, factors: Floats) -> Floats:
    """Let the bets grow, from even stakes upwards only: what was calm for long must not hide a beginning (a CUSUM)."""
    floor = np.array(_NEW_WEALTH)[1:]
    grown = np.clip(wealth[:, 1:] * np.minimum(factors, CAP), floor, 1e100)
    result: Floats = np.concatenate((wealth[:, :1], grown), axis=1)
    return result
