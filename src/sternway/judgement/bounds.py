"""How much worse the candidate could still be: the share mixture from the other side. Called by `columns`.

For each excess m on a ladder, an e-process speaks against "the candidate's error rate is at least `times` stable's,
and m on top". Where it has reached `SURE`, the candidate is not that much worse, at any look (wrong with a chance of at
most 1 in 20). The last rung is the Guard's own: beyond it the candidate is called healthy. This promises less than a
condemnation, because it only hastens the ramp: harm that it overlooks is found by what comes after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sternway.domain.evidence import Bounded
from sternway.domain.guards import JudgeSettings
from sternway.judgement.blocks import (
    CANDIDATE_BAD,
    CANDIDATE_TOTAL,
    STABLE_BAD,
    STABLE_TOTAL,
    Look,
    began,
    block_ends,
    carry,
)
from sternway.judgement.packing import as_counts, as_time, pack_counts, pack_times
from sternway.stats.exact import Floats, Ints
from sternway.stats.shares import BETTER, share_factors
from sternway.stats.wealth import added, total

SURE = 20.0
STEPS = (100.0, 30.0, 10.0, 3.0, 1.0)
"""The ladder of excesses, in multiples of the Guard's own."""
MOST = 1e100


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
    """The bounds of R releases: since_s [R], block [R, 4], wealth [R, excesses, bets]."""

    since_s: Floats
    block: Ints
    wealth: Floats


def pack_bounds(bounds: Sequence[Bounded]) -> BoundedColumns:
    """Lay bounds side by side."""
    return BoundedColumns(
        since_s=pack_times(one.since_s for one in bounds),
        block=pack_counts(one.block for one in bounds),
        wealth=np.array([one.wealth for one in bounds]).reshape(len(bounds), -1, len(BETTER)),
    )


def unpack_bounds(columns: BoundedColumns, at: int) -> Bounded:
    """Give one release's bounds back."""
    return Bounded(
        since_s=as_time(float(columns.since_s[at])),
        block=as_counts(columns.block[at].tolist()),
        wealth=tuple(tuple(bets) for bets in columns.wealth[at].tolist()),
    )


def bound(
    settings: JudgeSettings,
    columns: BoundedColumns,
    counts: Ints,
    look: Look,
) -> BoundedColumns:
    """Add the counts [R, 4] of errors to the open blocks, and weigh those that end."""
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
        wealth = wealth.copy()
        wealth[at] = np.minimum(wealth[at] * factors, MOST)
    since_s, block = carry(
        columns.since_s, columns.block, now_since_s=since_s, now_block=block, stays=open_ & ~ends, ends=ends
    )
    return BoundedColumns(since_s=since_s, block=block, wealth=wealth)


def excesses_left(settings: JudgeSettings, columns: BoundedColumns) -> Floats:
    """[R] What `excess_left` says of each release."""
    left: Floats = np.where(total(columns.wealth) >= SURE, np.array(excesses(settings)), 1.0).min(axis=1)
    return left
