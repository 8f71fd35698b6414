"""Criteria of the candidate beside stable, as evidence: errors by the cluster key, and slowness. Called by `columns`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sternway.domain.evidence import Compared
from sternway.domain.guards import JudgeSettings
from sternway.domain.tallies import Unit
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
    block_ends,
    carry,
    elapsed,
    slow_tick_ends,
    warming,
)
from sternway.judgement.packing import as_counts, as_time, pack_counts, pack_times
from sternway.stats.exact import Floats, Ints
from sternway.stats.shares import WORSE, share_factors
from sternway.stats.wealth import grow, new_wealth

ERRORS = "errors"
FIRST_REQUESTS, FIRST_BAD = 300, 6
"""Of the first so many answers of a candidate that has to warm up, so many bad ones condemn nothing."""


def is_slow(name: str) -> bool:
    """Whether a criterion is about slow answers; all others are about errors."""
    return not name.startswith(ERRORS)


def margins(settings: JudgeSettings, name: str) -> tuple[float, float]:
    """Give what a criterion tolerates: (times stable's rate, and so much more)."""
    if is_slow(name):
        return SLOW_TOLERANCE, 0.0
    found = next((one for one in settings.alone if one.kind.criterion == name), None)
    worse_than, more = (
        (found.worse_than_percent, found.and_percent) if found else (settings.worse_than_percent, settings.and_percent)
    )
    return 1.0 + worse_than / 100.0, more / 100.0


def new_comparison(name: str, unit: Unit) -> Compared:
    """Nothing seen yet."""
    wealth = new_wealth(len(WORSE))
    return Compared(name=name, unit=unit.value, wealth=wealth, exposure_wealth=wealth)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedColumns:
    """The comparisons of R releases, C each: since_s [R, C], counts [R, C, 4], wealth [R, C, 1 + bets]; names [C]."""

    names: tuple[str, ...]
    slow: Bools
    since_s: Floats
    block: Ints
    release: Ints
    wealth: Floats
    exposure_wealth: Floats


def pack_compared(rows: Sequence[Sequence[Compared]]) -> ComparedColumns:
    """Lay comparisons side by side; every row has the same criteria."""
    shape, every = (len(rows), len(rows[0])), [one for row in rows for one in row]
    return ComparedColumns(
        names=tuple(one.name for one in rows[0]),
        slow=np.array([is_slow(one.name) for one in rows[0]], dtype=bool),
        since_s=pack_times(one.since_s for one in every).reshape(shape),
        block=pack_counts(one.block for one in every).reshape(*shape, 4),
        release=pack_counts(one.release for one in every).reshape(*shape, 4),
        wealth=np.array([one.wealth for one in every]).reshape(*shape, 1 + len(WORSE)),
        exposure_wealth=np.array([one.exposure_wealth for one in every]).reshape(*shape, 1 + len(WORSE)),
    )


def unpack_compared(columns: ComparedColumns, known: Sequence[Compared], at: int) -> tuple[Compared, ...]:
    """Give one release's comparisons back."""
    since_s, block, release = columns.since_s[at].tolist(), columns.block[at].tolist(), columns.release[at].tolist()
    wealth, exposure_wealth = columns.wealth[at].tolist(), columns.exposure_wealth[at].tolist()
    return tuple(
        replace(
            one,
            since_s=as_time(since_s[i]),
            block=as_counts(block[i]),
            release=as_counts(release[i]),
            wealth=tuple(wealth[i]),
            exposure_wealth=tuple(exposure_wealth[i]),
        )
        for i, one in enumerate(known)
    )


def compare(
    settings: JudgeSettings,
    columns: ComparedColumns,
    counts: Ints,
    look: Look,
) -> ComparedColumns:
    """Add counts [R, C, 4] to the open blocks, and weigh those that end."""
    if not columns.names:
        return columns
    slow = columns.slow
    now_s, fresh_s = look.now_s[:, None], look.fresh_s[:, None]
    open_ = look.concurrent[:, None] & (counts.any(axis=-1) | ~np.isnan(columns.since_s))
    since_s = began(columns.since_s, look.start_s[:, None])
    block = columns.block + counts
    ends = open_ & block_ends(block, since_s=since_s, now_s=now_s)
    ends &= ~slow | slow_tick_ends(since_s=since_s, now_s=now_s)
    at = np.nonzero(ends & ~(slow & warming(since_s=since_s, fresh_s=fresh_s)))
    wealth, exposure_wealth = columns.wealth, columns.exposure_wealth
    if at[0].size:
        weighed, slow_ones = block[at], slow[at[1]]
        tolerated = np.array([margins(settings, name) for name in columns.names])
        factors = share_factors(
            weighed[:, CANDIDATE_TOTAL],
            weighed[:, CANDIDATE_BAD],
            weighed[:, STABLE_TOTAL],
            weighed[:, STABLE_BAD],
            tolerance=tolerated[at[1], 0],
            floor=tolerated[at[1], 1],
            cap=np.where(slow_ones, SLOW_CAP, np.inf),
        )
        # Cash waits while the candidate has no traffic: nothing can come to light then.
        covered_s = elapsed(since_s=since_s, now_s=now_s)[at]
        passed_s = np.where(weighed[:, CANDIDATE_TOTAL] > 0, covered_s, 0.0)
        wealth, exposure_wealth = wealth.copy(), exposure_wealth.copy()
        exposure_wealth[at] = grow(exposure_wealth[at], factors, passed_s)
        lasts = ~_may_pass(settings, columns, since_s, look)[at]
        kept = tuple(axis[lasts] for axis in at)
        wealth[kept] = grow(wealth[kept], factors[lasts], passed_s[lasts])
    since_s, block = carry(
        columns.since_s, columns.block, now_since_s=since_s, now_block=block, stays=open_ & ~ends, ends=ends
    )
    return ComparedColumns(
        names=columns.names,
        slow=slow,
        since_s=since_s,
        block=block,
        release=columns.release + counts,
        wealth=wealth,
        exposure_wealth=exposure_wealth,
    )


def _may_pass(settings: JudgeSettings, columns: ComparedColumns, since_s: Floats, look: Look) -> Bools:
    """[R, C] Whether what a block shows may pass by itself: the candidate was cold, or has hardly been asked yet.

    It suspects, but says nothing of what the version stays. Only what was known before the block decides on this.
    """
    early = since_s < look.warm_s[:, None]
    if settings.warm_up_s:
        seen = columns.release
        early |= (seen[..., CANDIDATE_TOTAL] < FIRST_REQUESTS) & (seen[..., CANDIDATE_BAD] < FIRST_BAD)
    return np.asarray(early)
