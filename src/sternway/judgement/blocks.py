"""Blocks: when counts that came in are weighed. Used by `comparison`, `rounds` and `limits`.

A block gathers readings until it holds enough of both versions to know the split that was really in force, and is
weighed as a whole. When it ends depends on the time and on how many requests were answered, and on a reading that
comes early because the candidate answered badly; it never depends on stable's bad answers. So ended, the
expectation of its factor stays at most 1 (tests/stats enumerates this exactly), at any batching.
"""

from __future__ import annotations

from math import log

from sternway.domain.evidence import Counts

MIN_STABLE = 10
MIN_CANDIDATE = 1
MAX_BLOCK_S = 10.0
SLOW_TICK_S = 2.0
SLOW_CAP = log(2.0)
SLOW_TOLERANCE = 1.1
GRACE_S = 10.0


def block_ends(block: Counts, *, since_s: float, now_s: float) -> bool:
    """Whether a block is full, or has waited long enough."""
    if block.stable_total >= MIN_STABLE and block.candidate_total >= MIN_CANDIDATE:
        return True
    return not 0.0 <= now_s - since_s < MAX_BLOCK_S


def slow_tick_ends(*, since_s: float, now_s: float) -> bool:
    """Whether a tick of two seconds is over: what is slow comes in spells, so its evidence is capped per tick."""
    return since_s // SLOW_TICK_S != now_s // SLOW_TICK_S


def elapsed(*, since_s: float, now_s: float) -> float:
    """Return the time that a block covers, for the flow of cash; a clock that jumps counts little or nothing."""
    return min(max(now_s - since_s, 0.0), MAX_BLOCK_S)


def warming(*, since_s: float, fresh_s: float | None) -> bool:
    """Whether a candidate is too fresh to be judged by its latency: it began to answer less than ten seconds ago.

    A block that begins in this time is counted, but never weighed. (Weighing it against a generous tolerance would
    be as valid, but would lose the stakes before the judging begins.)
    """
    return fresh_s is None or 0.0 <= since_s - fresh_s < GRACE_S
