"""How much worse the candidate could still be: the share mixture from the other side. Called by `columns`.

For each excess m on a ladder, an e-process speaks against "the candidate's error rate is at least `times` stable's,
and m on top". Where it has reached `SURE`, the candidate is not that much worse, at any look (wrong with a chance of at
most 1 in 20). The last rung is the Guard's own: beyond it the candidate is called healthy. This promises less than a
condemnation, because it only hastens the ramp: harm that it overlooks is found by what comes after.

Bad answers that come ten at a time are rare events, and a version that had none yet may have been lucky. Where a cluster
key is in charge, its counts are used. Where not, stable's own bad answers say how they come together, by how much more
they vary from window to window than single ones would; and so much the less each block of evidence counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sternway.domain.evidence import Bounded
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
    carry,
)
from sternway.judgement.packing import COUNT, as_counts, as_time, pack_counts, pack_times
from sternway.stats.exact import Floats, Ints
from sternway.stats.shares import BETTER, share_factors
from sternway.stats.wealth import added, total

SURE = 20.0
STEPS = (100.0, 30.0, 10.0, 3.0, 1.0)
"""The ladder of excesses, in multiples of the Guard's own."""
MOST = 1e100
WINDOW_S = 20.0
KEEPS = 15.0 / 16.0
"""What of the windows before is remembered at the end of each: some five minutes."""
SIZES = np.array((2.0, 4.0, 8.0, 16.0, 32.0))
"""From each of these sizes of clusters on, the evidence of a block is halved once more."""


def new_bounds() -> Bounded:
    """Nothing seen: the candidate could be anything."""
    bets = tuple(1.0 / len(BETTER) for _ in BETTER)
    return Bounded(wealth=tuple(bets for _ in STEPS))


def excesses(settings: JudgeSettings) -> tuple[float, ...]:
    """Give the ladder, as rates (0..1), the largest first."""
    return tuple(min(1.0, step * settings.healthy_and_percent / 100.0) for step in STEPS)


def excess_left(settings: JudgeSettings, bounded: Bounded) -> float:
    """Return the smallest excess on the ladder that is refuted; 1 when none is."""
    refuted = [excess for excess, bets in zip(excesses(settings), bounded.wealth, strict=True) if added(bets) >= SURE]
    return min(refuted, default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedColumns:
    """The bounds of R releases: wealth [R, excesses, bets], block [R, 4]; the rest [R], as in `domain.evidence.Bounded`."""

    since_s: Floats
    block: NDArray[np.int32]
    wealth: Floats
    window_s: Floats
    window_bad: Floats
    windows: Floats
    events: Floats
    squares: Floats


def pack_bounds(bounds: Sequence[Bounded]) -> BoundedColumns:
    """Lay bounds side by side."""
    return BoundedColumns(
        since_s=pack_times(one.since_s for one in bounds),
        block=pack_counts(one.block for one in bounds).astype(COUNT),
        wealth=np.array([one.wealth for one in bounds]).reshape(len(bounds), -1, len(BETTER)),
        window_s=pack_times(one.window_s for one in bounds),
        window_bad=np.array([one.window_bad for one in bounds]),
        windows=np.array([one.windows for one in bounds]),
        events=np.array([one.events for one in bounds]),
        squares=np.array([one.squares for one in bounds]),
    )


def unpack_bounds(columns: BoundedColumns, at: int) -> Bounded:
    """Give one release's bounds back."""
    return Bounded(
        since_s=as_time(float(columns.since_s[at])),
        block=as_counts(columns.block[at].tolist()),
        wealth=tuple(tuple(bets) for bets in columns.wealth[at].tolist()),
        window_s=as_time(float(columns.window_s[at])),
        window_bad=float(columns.window_bad[at]),
        windows=float(columns.windows[at]),
        events=float(columns.events[at]),
        squares=float(columns.squares[at]),
    )


def bound(
    settings: JudgeSettings,
    columns: BoundedColumns,
    counts: Ints,
    look: Look,
    *,
    keyed: Bools,
) -> BoundedColumns:
    """Add the counts [R, 4] of errors to the open blocks, and weigh those that end. keyed [R]: they are of clusters."""
    columns = _learn(columns, counts, look)
    open_ = look.concurrent & (counts.any(axis=-1) | ~np.isnan(columns.since_s))
    since_s = began(columns.since_s, look.start_s)
    block = columns.block + counts
    ends = open_ & block_ends(block, since_s=since_s, now_s=look.now_s)
    wealth = columns.wealth
    at = np.nonzero(ends & (block[:, CANDIDATE_TOTAL] > 0))[0]
    if at.size:
        weighed = block[at][:, None, :]
        factors = share_factors(
            weighed[..., CANDIDATE_TOTAL],
            weighed[..., CANDIDATE_BAD],
            weighed[..., STABLE_TOTAL],
            weighed[..., STABLE_BAD],
            tolerance=settings.healthy_times,
            floor=np.array(excesses(settings)),
            ratios=BETTER,
        )
        factors = _tempered(factors, np.where(keyed, 0, _halvings(columns))[at])
        wealth = wealth.copy()
        wealth[at] = np.minimum(wealth[at] * factors, MOST)
    since_s, left = carry(
        columns.since_s,
        columns.block.astype(np.int64),
        now_since_s=since_s,
        now_block=block,
        stays=open_ & ~ends,
        ends=ends,
    )
    return replace(columns, since_s=since_s, block=left.astype(COUNT), wealth=wealth)


def doubt(columns: BoundedColumns, which: Bools) -> BoundedColumns:
    """Begin a new exposure: a version that was suspected could be anything again. What stable showed is kept."""
    fresh = np.array(new_bounds().wealth)
    return replace(
        columns,
        since_s=np.where(which, np.nan, columns.since_s),
        block=np.where(which[:, None], 0, columns.block).astype(COUNT),
        wealth=np.where(which[:, None, None], fresh, columns.wealth),
    )


def _learn(columns: BoundedColumns, counts: Ints, look: Look) -> BoundedColumns:
    """Add stable's bad answers to the open windows, and close those that are over; one that lasted too long is left out."""
    window_s = began(columns.window_s, look.start_s)
    bad = columns.window_bad + counts[:, STABLE_BAD]
    lasted_s = look.now_s - window_s
    over = ~((lasted_s >= 0.0) & (lasted_s < WINDOW_S))
    counted = over & (lasted_s >= 0.0) & (lasted_s < 2.0 * WINDOW_S)

    def added(before: Floats, more: Floats | float) -> Floats:
        return np.where(counted, KEEPS * before + more, before)

    return replace(
        columns,
        window_s=np.where(over, look.now_s, window_s),
        window_bad=np.where(over, 0.0, bad),
        windows=added(columns.windows, 1.0),
        events=added(columns.events, bad),
        squares=added(columns.squares, bad * bad),
    )


def _halvings(columns: BoundedColumns) -> Ints:
    """[R] How often the evidence is halved: by how many bad answers come together, which is 1 where each comes alone.

    The open window counts once it holds more than the others do: a storm that has just begun must not hurry anything.
    """
    more = columns.window_bad * columns.windows > columns.events
    open_bad = np.where(more, columns.window_bad, 0.0)
    windows, events = columns.windows + more, columns.events + open_bad
    squares = columns.squares + open_bad * open_bad
    known = (windows > 1.0) & (events > 0.0)
    size = np.where(known, squares / np.maximum(events, 1.0) - events / np.maximum(windows, 1.0), 1.0)
    halvings: Ints = (size[:, None] >= SIZES).sum(axis=1)
    return halvings


def _tempered(factors: Floats, halvings: Ints) -> Floats:
    """Halve the logarithm of a block's factors so often: square roots, which are the same to the last bit everywhere."""
    for at in range(int(halvings.max(initial=0))):
        factors = np.where((halvings > at)[:, None, None], np.sqrt(factors), factors)
    return factors


def excesses_left(settings: JudgeSettings, columns: BoundedColumns) -> Floats:
    """[R] What `excess_left` says of each release."""
    left: Floats = np.where(total(columns.wealth) >= SURE, np.array(excesses(settings)), 1.0).min(axis=1)
    return left
