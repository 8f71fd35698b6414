"""Rounds of the candidate against placebo arms: sure without knowing how errors cluster. Called by `columns`.

Placebo arms are cut from stable's traffic, each as large as the candidate's. If the candidate is no worse, they and
it are exchangeable, whatever the shape of clusters, bursts or common trouble. The share mixture runs for every arm
against all the others until the first one reaches the bar: that ends the round. When it is the candidate, it is
suspected. Each round is one bet on "the candidate is first", fair at 1 in K; their wealth condemns.

The bar begins at `suspicion`. Each placebo arm that reaches it shows how noisy this traffic is and raises it, and
time lowers it again, at such a pace that a healthy candidate, which looks like any of the arms, is withdrawn about
once in three hours in the long run whatever the shape of the noise (the idea of adaptive conformal inference: Gibbs,
Candes, 2021). Nothing that a round shows moves its own bar, and it is the same for all arms, so the bets stay fair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sternway.domain.evidence import Arm, Race
from sternway.domain.guards import JudgeSettings
from sternway.judgement.blocks import (
    CANDIDATE_BAD,
    CANDIDATE_TOTAL,
    STABLE_BAD,
    STABLE_TOTAL,
    Bools,
    Look,
    began,
    block_ends,
    elapsed,
)
from sternway.judgement.comparison import ERRORS, hardly_asked, margins
from sternway.judgement.packing import COUNT, as_counts, as_time, pack_counts, pack_times
from sternway.stats.exact import Floats, Ints
from sternway.stats.shares import WORSE, share_factors
from sternway.stats.wealth import added, grow, new_wealth, total

PLACEBO_ARMS = 9
ARMS = 1 + PLACEBO_ARMS
CANDIDATE = -1
STAKES = np.array((0.3, 0.6, 0.9))
# In requests of the candidate, which come as often as those of any arm. An arm that appears later than this is not
# in the round; one that was quiet for so long has left it; one that is quiet at the finish is not counted then.
JOINS_WITHIN, GONE_AFTER, COUNTED_WITHIN = 8, 16, 3
RAISE = 10.0
"""A placebo arm that is first raises the bar at least so many times, and at least half the way to where it came.

Since the second edition also to the power of three halves: where that is more, the bar has been raised before.
"""
SURE_SO_FAR = 2.5
"""Where no placebo arm has raised the bar, it lies so much lower once the candidate was first."""
WANTED_PER_S = 1.0 / 10800.0
"""How often each arm, and so a healthy candidate, may reach the bar."""
LOWER_PER_S = 2.302585092994046 * WANTED_PER_S
"""What lowers the bar for each placebo arm, so that arms that come as often as wanted leave it where it is: ln RAISE."""
HIGHEST_BAR = 1e60

_NEW_WEALTH = np.array(new_wealth(len(WORSE)))


def new_race(settings: JudgeSettings, name: str = ERRORS) -> Race:
    """Nothing seen, nothing staked."""
    return Race(name=name, arms=(_new_arm(CANDIDATE),), bets=tuple(1.0 for _ in STAKES), bar=settings.suspicion)


def _new_arm(index: int) -> Arm:
    return Arm(index=index, wealth=new_wealth(len(WORSE)))


def race_evidence(race: Race) -> float:
    """Return the evidence of all rounds so far, to one."""
    return added(race.bets) / len(race.bets)


def arms_in_force(race: Race) -> int:
    """How many placebo arms take part in the round for sure."""
    return sum(1 for arm in race.arms[1:] if arm.quiet < COUNTED_WITHIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceColumns:
    """R races. Arms [R, K]: the candidate, then each placebo arm by its index; the rest [R].

    A release has one race for all errors, and one for each kind that counts alone, side by side in this order.
    names: of the criteria of one release. runs: whether an arm is in the round. wealth [R, K, 1 + bets], bets [R, stakes], block and release [R, 4].
    """

    names: tuple[str, ...]
    since_s: Floats
    block: NDArray[np.int32]
    release: Ints
    runs: Bools
    arm_total: NDArray[np.int32]
    arm_bad: NDArray[np.int32]
    quiet: NDArray[np.int32]
    wealth: Floats
    seen: Ints
    finished: NDArray[np.int32]
    first: NDArray[np.int32]
    won: Bools
    resting: NDArray[np.int32]
    bets: Floats
    bar: Floats


def pack_races(rows: Sequence[tuple[Race, ...]]) -> RaceColumns:
    """Lay the races of releases side by side; every row has the same criteria."""
    races = [race for row in rows for race in row]
    size = len(races)
    arms = np.zeros((3, size, ARMS), dtype=COUNT)
    runs, wealth = np.zeros((size, ARMS), dtype=bool), np.tile(_NEW_WEALTH, (size, ARMS, 1))
    for row, race in enumerate(races):
        for arm in race.arms:
            at = arm.index + 1
            runs[row, at], wealth[row, at] = True, arm.wealth
            arms[:, row, at] = arm.total, arm.bad, arm.quiet
    return RaceColumns(
        names=tuple(race.name for race in rows[0]),
        since_s=pack_times(race.since_s for race in races),
        block=pack_counts(race.block for race in races).astype(COUNT),
        release=pack_counts(race.release for race in races),
        runs=runs,
        arm_total=arms[0],
        arm_bad=arms[1],
        quiet=arms[2],
        wealth=wealth,
        seen=np.array([race.seen for race in races], dtype=np.int64),
        finished=np.array([race.finished for race in races], dtype=COUNT),
        first=np.array([race.first for race in races], dtype=COUNT),
        won=np.array([race.won for race in races], dtype=bool),
        resting=np.array([race.resting for race in races], dtype=COUNT),
        bets=np.array([race.bets for race in races]),
        bar=np.array([race.bar for race in races]),
    )


def unpack_races(columns: RaceColumns, at: int) -> tuple[Race, ...]:
    """Give one release's races back."""
    each = len(columns.names)
    return tuple(_unpack(columns, at * each + i, name) for i, name in enumerate(columns.names))


def _unpack(columns: RaceColumns, at: int, name: str) -> Race:
    totals, bads, quiet = columns.arm_total[at].tolist(), columns.arm_bad[at].tolist(), columns.quiet[at].tolist()
    wealth = columns.wealth[at].tolist()
    return Race(
        name=name,
        since_s=as_time(float(columns.since_s[at])),
        block=as_counts(columns.block[at].tolist()),
        release=as_counts(columns.release[at].tolist()),
        arms=tuple(
            Arm(index=arm - 1, total=totals[arm], bad=bads[arm], quiet=quiet[arm], wealth=tuple(wealth[arm]))
            for arm in np.nonzero(columns.runs[at])[0].tolist()
        ),
        seen=int(columns.seen[at]),
        finished=int(columns.finished[at]),
        first=int(columns.first[at]),
        won=bool(columns.won[at]),
        resting=int(columns.resting[at]),
        bets=tuple(columns.bets[at].tolist()),
        bar=float(columns.bar[at]),
    )


def new_rounds(columns: RaceColumns, which: Bools, resting: Ints) -> RaceColumns:
    """Begin a new round in some of the races: keep bets and bar, and give a fresh start to every arm.

    A placebo arm that was just first rests for a round: the storm of errors in it may go on, and would cost a second
    bet for the same trouble. The others are as exchangeable without it. resting: its index, -1 for none.
    """
    row, arm = which[:, None], np.arange(ARMS) == 0
    return replace(
        columns,
        since_s=np.where(which, np.nan, columns.since_s),
        block=np.where(row, 0, columns.block).astype(COUNT),
        runs=np.where(row, arm, columns.runs),
        arm_total=np.where(row, 0, columns.arm_total),
        arm_bad=np.where(row, 0, columns.arm_bad),
        quiet=np.where(row, 0, columns.quiet),
        wealth=np.where(row[..., None], _NEW_WEALTH, columns.wealth),
        seen=np.where(which, 0, columns.seen),
        won=columns.won & ~which,
        resting=np.where(which, resting, columns.resting).astype(COUNT),
    )


def run(
    settings: JudgeSettings,
    columns: RaceColumns,
    counts: Ints,
    arms: Ints,
    look: Look,
    *,
    keyed: Bools,
) -> RaceColumns:
    """Add counts to the open blocks; weigh those that end; end a round when an arm reaches the bar.

    counts [R, 4]; arms [R, placebo arms, (total, bad)]; keyed [R]: errors are judged by the cluster key instead.
    """
    racing = look.concurrent & ~keyed & ~columns.won
    open_ = racing & (counts.any(axis=-1) | ~np.isnan(columns.since_s))
    since_s = began(columns.since_s, look.start_s)
    block = columns.block + counts
    joins = (columns.seen < JOINS_WITHIN)[:, None] & (np.arange(PLACEBO_ARMS) != columns.resting[:, None])
    runs = columns.runs.copy()
    runs[:, 1:] |= joins & (arms[..., 0] > 0) & open_[:, None]
    theirs = np.concatenate((counts[:, None, CANDIDATE_TOTAL : CANDIDATE_BAD + 1], arms), axis=1)
    takes = runs & open_[:, None]
    added = replace(
        columns,
        since_s=np.where(open_, since_s, columns.since_s),
        block=np.where(open_[:, None], block, columns.block).astype(COUNT),
        release=columns.release + counts,
        runs=runs,
        arm_total=(columns.arm_total + np.where(takes, theirs[..., 0], 0)).astype(COUNT),
        arm_bad=(columns.arm_bad + np.where(takes, theirs[..., 1], 0)).astype(COUNT),
    )
    ends = open_ & block_ends(block, since_s=since_s, now_s=look.now_s)
    if not ends.any():
        return added
    return _finish(settings, _weigh(settings, added, ends, elapsed(since_s=since_s, now_s=look.now_s)), ends)


def _weigh(settings: JudgeSettings, columns: RaceColumns, ends: Bools, covered_s: Floats) -> RaceColumns:
    block = columns.block
    ours = block[:, CANDIDATE_TOTAL]
    answered, bad = ours + block[:, STABLE_TOTAL], block[:, CANDIDATE_BAD] + block[:, STABLE_BAD]
    passed_s = np.where(ends & (ours > 0), covered_s, 0.0)
    quiet = columns.quiet + np.where((columns.arm_total > 0) | ~ends[:, None], 0, ours[:, None])
    quiet = np.where((columns.arm_total > 0) & ends[:, None], 0, quiet)
    quiet[:, 0] = 0
    runs = columns.runs & (quiet < GONE_AFTER)
    at = np.nonzero(runs & ends[:, None])
    candidate = at[1] == 0
    totals, bads = columns.arm_total[at], columns.arm_bad[at]
    tolerated = np.array([margins(settings, name) for name in columns.names])
    factors = share_factors(
        totals,
        bads,
        answered[at[0]] - totals,
        bad[at[0]] - bads,
        # The margins handicap the candidate alone: they can only make it later, never first.
        tolerance=np.where(candidate, tolerated[at[0] % len(tolerated), 0], 1.0),
        floor=np.where(candidate, tolerated[at[0] % len(tolerated), 1], 0.0),
    )
    wealth = columns.wealth.copy()
    wealth[at] = grow(wealth[at], factors, passed_s[at[0]])
    placebos = runs[:, 1:].sum(axis=1)
    lowest = settings.suspicion if settings.edition == 1 else np.minimum(settings.suspicion, columns.bar)
    return replace(
        columns,
        since_s=np.where(ends, np.nan, columns.since_s),
        block=np.where(ends[:, None], 0, block).astype(COUNT),
        runs=runs,
        arm_total=np.where(ends[:, None], 0, columns.arm_total),
        arm_bad=np.where(ends[:, None], 0, columns.arm_bad),
        quiet=quiet.astype(COUNT),
        wealth=wealth,
        seen=columns.seen + np.where(ends, ours, 0),
        bar=np.maximum(lowest, columns.bar / (1.0 + LOWER_PER_S * passed_s * placebos)),
    )


def _finish(settings: JudgeSettings, columns: RaceColumns, ends: Bools) -> RaceColumns:
    heights = np.where(columns.runs, total(columns.wealth), 0.0)
    over = ends & (heights.max(axis=1) >= columns.bar)
    if not over.any():
        return columns
    fastest = heights[:, 1:].argmax(axis=1)
    lost = over & columns.runs[:, 1:].any(axis=1) & (heights[:, 0] <= heights[:, 1:].max(axis=1))
    others = (columns.runs & (columns.quiet < COUNTED_WITHIN))[:, 1:].sum(axis=1)
    won = over & ~lost
    paid = won & (others > 0) & ~_may_pass(settings, columns)
    raised = np.maximum(columns.bar * RAISE, np.sqrt(columns.bar * heights[:, 1:].max(axis=1)))
    if settings.edition > 1:
        raised = np.maximum(raised, columns.bar * np.sqrt(columns.bar))
    bets = np.where(lost[:, None], columns.bets * (1.0 - STAKES), columns.bets)
    bets = np.where(paid[:, None], bets * (1.0 + others[:, None] * STAKES), bets)
    bar = np.where(lost, np.minimum(raised, HIGHEST_BAR), columns.bar)
    if settings.edition > 1:
        bar = np.where(won & (bar <= settings.suspicion), settings.suspicion / SURE_SO_FAR, bar)
    columns = replace(
        columns,
        bets=bets,
        won=columns.won | won,
        finished=(columns.finished + (lost | paid)).astype(COUNT),
        first=(columns.first + paid).astype(COUNT),
        bar=bar,
    )
    return new_rounds(columns, lost, fastest)


def _may_pass(settings: JudgeSettings, columns: RaceColumns) -> Bools:
    """[R] Whether a round that the candidate wins pays nothing, because it has hardly been asked yet.

    It may lose its stake all the same, so the bet stays fair whatever the candidate's answers say on this.
    """
    if settings.edition == 1 or not settings.warm_up_s:
        return np.zeros(columns.won.shape, dtype=bool)
    return hardly_asked(columns.release[:, CANDIDATE_TOTAL], columns.release[:, CANDIDATE_BAD])
