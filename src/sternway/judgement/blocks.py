"""Blocks: when counts that came in are weighed. Used by `comparison`, `rounds` and `limits`.

A block gathers readings until it holds enough of both versions to know the split that was really in force, and is
weighed as a whole. When it ends depends on the time and on how many requests were answered, and on a reading that
comes early because the candidate answered badly; it never depends on stable's bad answers. So ended, the
expectation of its factor stays at most 1 (tests/stats enumerates this exactly), at any batching.
"""

from __future__ import annotations

from math import exp, log

from sternway.domain.evidence import Counts

MIN_STABLE = 10
MIN_CANDIDATE = 1
MAX_BLOCK_S = 10.0
SLOW_TICK_S = 2.0
SLOW_CAP = log(2.0)


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


def slow_tolerance(*, since_s: float, exposed_s: float | None) -> float:
    """How many times stable's share of slow answers a candidate may show: much while it warms up, then 1.25.

    A function of its age alone, so known before the block begins: 1.25 + 15 exp(-age / 5 s).
    """
    age_s = max(0.0, since_s - exposed_s) if exposed_s is not None else 0.0
    return 1.25 + 15.0 * exp(-age_s / 5.0)
