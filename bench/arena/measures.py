"""Outcomes become numbers, and how sure they are. Used by `bench` and `tuning`."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log

import numpy as np

from bench.arena.chance import Floats
from bench.arena.play import Outcome

HOUR_S = 3600.0


def interval(hits: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Give the limits of a share that was seen in `hits` of `of` cases (Clopper, Pearson, 1934)."""
    tail = (1.0 - confidence) / 2.0
    low = _solve(lambda p: 1.0 - _below(hits - 1, of, p) - tail) if hits else 0.0
    high = _solve(lambda p: tail - _below(hits, of, p)) if hits < of else 1.0
    return low, high


def median(values: Floats) -> float:
    """Give the median; what never happened (NaN) comes after all that did, and is NaN when it is the median."""
    return at_share(values, 0.5)


def at_share(values: Floats, share: float) -> float:
    """Give a quantile, the nearest rank, of values of which NaN comes last."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


def withdrawals_per_hour(outcome: Outcome) -> float:
    """How often a release is withdrawn in an hour in which its candidate has traffic."""
    return HOUR_S * float(outcome.withdrawals.sum()) / max(float(outcome.exposed_s.sum()), 1.0)


def _below(hits: int, of: int, p: float) -> float:
    """The chance of at most so many hits."""
    if not 0.0 < p < 1.0:
        return 1.0 if p <= 0.0 and hits >= 0 else float(hits >= of)
    return sum(
        exp(lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1) + k * log(p) + (of - k) * log(1.0 - p))
        for k in range(hits + 1)
    )


def _solve(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if rising(middle) > 0.0 else (middle, high)
    return (low + high) / 2.0
