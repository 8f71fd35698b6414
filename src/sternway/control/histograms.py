"""Counts of durations in buckets, as Prometheus wants them. Kept by the shell for its own work, and for releases."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

OF_WORK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for what Sternway itself takes."""
OF_RELEASES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Bounds for how long users are hurt."""


class Histogram:
    """How many durations were at most as long as each bound."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_s += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count how long a piece of work takes, also one that fails."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.add(time.perf_counter() - began_s)

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, how many were no longer than it), the last one for all."""
        bounds = [*(f"{bound!r}" for bound in self._bounds_s), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True))


class Durations:
    """What passes take in this process. judge: judging and deciding; act: until the proxies have acknowledged."""

    def __init__(self) -> None:
        self.reconcile = Histogram(OF_WORK_S)
        self.judge = Histogram(OF_WORK_S)
        self.act = Histogram(OF_WORK_S)
