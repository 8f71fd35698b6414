"""Blocks: when counts that came in are weighed. Used by `comparison`, `rounds`, `limits` and `bounds`.

A block gathers readings until it holds enough of both versions to know the split that was really in force, and is
weighed as a whole. When it ends depends on the time and on how many requests were answered, and on a reading that
comes early because the candidate answered badly; it never depends on stable's bad answers. So ended, the
expectation of its factor stays at most 1 (tests/stats enumerates this exactly), at any batching.

Everything here takes arrays; times that are not known are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sternway.stats.exact import Floats, Ints

Bools = NDArray[np.bool_]

CANDIDATE_TOTAL, CANDIDATE_BAD, STABLE_TOTAL, STABLE_BAD = range(4)
"""The columns of counts, in the order of `domain.evidence.Counts`."""

MIN_STABLE = 10
MIN_CANDIDATE = 1
MAX_BLOCK_S = 10.0
SLOW_TICK_S = 2.0
SLOW_CAP = 2.0
SLOW_TOLERANCE = 1.1
GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """When R releases are looked at, each [R], in seconds since the epoch.

    start_s: since when it was counted. fresh_s: when the candidate first answered. warm_s: from when on what it shows
    says what it stays, and may condemn. concurrent: stable has traffic beside the candidate.
    """

    start_s: Floats
    now_s: Floats
    fresh_s: Floats
    warm_s: Floats
    concurrent: Bools


def block_ends(block: Ints, *, since_s: Any, now_s: Any) -> Bools:
    """Whether a block is full, or has waited long enough. block: [..., 4] counts."""
    full = (block[..., STABLE_TOTAL] >= MIN_STABLE) & (block[..., CANDIDATE_TOTAL] >= MIN_CANDIDATE)
    waited = now_s - since_s
    return np.asarray(full | ~((waited >= 0.0) & (waited < MAX_BLOCK_S)))


def slow_tick_ends(*, since_s: Any, now_s: Any) -> Bools:
    """Whether a tick of two seconds is over: what is slow comes in spells, so its evidence is capped per tick."""
    return np.asarray(np.floor(since_s / SLOW_TICK_S) != np.floor(now_s / SLOW_TICK_S))


def elapsed(*, since_s: Any, now_s: Any) -> Floats:
    """Return the time that a block covers, for the flow of cash; a clock that jumps counts little or nothing."""
    result: Floats = np.clip(now_s - since_s, 0.0, MAX_BLOCK_S)
    return result


def warming(*, since_s: Any, fresh_s: Any) -> Bools:
    """Whether a candidate is too fresh to be judged by its latency: it began to answer less than ten seconds ago.

    A block that begins in this time is counted, but never weighed. (Weighing it against a generous tolerance would
    be as valid, but would lose the stakes before the judging begins.)
    """
    age_s = since_s - fresh_s
    return np.asarray(np.isnan(fresh_s) | ((age_s >= 0.0) & (age_s < GRACE_S)))


def carry(
    since_s: Floats, block: Ints, *, now_since_s: Floats, now_block: Ints, stays: Bools, ends: Bools
) -> tuple[Floats, Ints]:
    """Give since_s and block after a look: what stays open is taken over, what ends is emptied, the rest is untouched."""
    return (
        np.where(stays, now_since_s, np.where(ends, np.nan, since_s)),
        np.where(stays[..., None], now_block, np.where(ends[..., None], 0, block)),
    )


def began(since_s: Floats, start_s: Any) -> Floats:
    """When a block began: now, if it was not open."""
    result: Floats = np.where(np.isnan(since_s), start_s, since_s)
    return result
