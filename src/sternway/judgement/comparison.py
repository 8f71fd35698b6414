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
from sternway.stats.exact import Floats, Ints, exp_below
from sternway.stats.shares import WORSE, share_factors
from sternway.stats.wealth import grow, new_wealth

ERRORS = "errors"
FIRST_REQUESTS, FIRST_BAD = 450, 6
"""Of the first so many answers of a candidate that has to warm up, so many bad ones condemn nothing."""
FAILS_FROM = 3
"""But where at least so many failed, and more than went well, it fails altogether: nothing more is forgiven. (Cold answers are
often mostly slow, so this is no rule for slowness.)"""
AT_ONCE, AT_ONCE_BAD, MOSTLY_GOOD = 100, 10, 4
"""Of its very first answers so many more may be bad, as long as at most one in four is."""
FIRST_OF_OLD = 300, 6
"""What the first edition has instead of all that."""
LINGERS_TIMES, LINGERS_FOR = 1.0, 5.0
"""A warm version may still be (1 + exp(-age / warm-up)) times as bad, up to so many times the warm-up."""


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
        weighed, caps = block[at], np.where(slow[at[1]], SLOW_CAP, np.inf)
        tolerance, floor = np.array([margins(settings, name) for name in columns.names])[at[1]].T
        factors = _factors(weighed, tolerance, floor, caps)
        # Cash waits while the candidate has no traffic: nothing can come to light then.
        covered_s = elapsed(since_s=since_s, now_s=now_s)[at]
        passed_s = np.where(weighed[:, CANDIDATE_TOTAL] > 0, covered_s, 0.0)
        wealth, exposure_wealth = wealth.copy(), exposure_wealth.copy()
        exposure_wealth[at] = grow(exposure_wealth[at], factors, passed_s)
        lasts = ~_may_pass(settings, columns, since_s, look)[at]
        times, lasting = np.where(slow, 1.0, lingers(settings, since_s, look))[at], factors
        left = np.nonzero(lasts & (times > 1.0))[0]
        if left.size:
            lasting = factors.copy()
            lasting[left] = _factors(weighed[left], tolerance[left] * times[left], floor[left], caps[left])
        kept = tuple(axis[lasts] for axis in at)
        wealth[kept] = grow(wealth[kept], lasting[lasts], passed_s[lasts])
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


def _factors(weighed: Ints, tolerance: Floats, floor: Floats, caps: Floats) -> Floats:
    return share_factors(
        weighed[:, CANDIDATE_TOTAL],
        weighed[:, CANDIDATE_BAD],
        weighed[:, STABLE_TOTAL],
        weighed[:, STABLE_BAD],
        tolerance=tolerance,
        floor=floor,
        cap=caps,
    )


def lingers(settings: JudgeSettings, since_s: Floats, look: Look) -> Floats:
    """[R, C] How many times as bad a warm version may still be, as what it had while it was cold fades."""
    if settings.edition == 1 or not settings.warm_up_s:
        return np.ones(since_s.shape)
    age = (since_s - look.fresh_s[:, None]) / settings.warm_up_s
    fades = (age >= 0.0) & (age < LINGERS_FOR)
    times: Floats = 1.0 + np.where(fades, LINGERS_TIMES * exp_below(-np.where(fades, age, 0.0)), 0.0)
    return times


def _may_pass(settings: JudgeSettings, columns: ComparedColumns, since_s: Floats, look: Look) -> Bools:
    """[R, C] Whether what a block shows may pass by itself: the candidate was cold, or has hardly been asked yet.

    It suspects, but says nothing of what the version stays. Only what was known before the block decides on this.
    """
    early = since_s < look.warm_s[:, None]
    if settings.warm_up_s:
        answered, bad = columns.release[..., CANDIDATE_TOTAL], columns.release[..., CANDIDATE_BAD]
        requests, forgiven = FIRST_OF_OLD if settings.edition == 1 else (FIRST_REQUESTS, FIRST_BAD)
        first = (answered < requests) & (bad < forgiven)
        if settings.edition > 1:
            first &= (bad < FAILS_FROM) | (2 * bad <= answered) | columns.slow
            first |= hardly_asked(answered, bad)
        early |= first
    return np.asarray(early)


def hardly_asked(answered: Ints, bad: Ints) -> Bools:
    """Whether a candidate's very first bad answers may pass: most were good, so nothing fails altogether."""
    return np.asarray((answered < AT_ONCE) & (bad < AT_ONCE_BAD) & (MOSTLY_GOOD * bad <= answered))
