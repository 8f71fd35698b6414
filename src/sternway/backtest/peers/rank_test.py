"""The Mann-Whitney test's interval for a shift between two samples, by normal approximation. Used by `kayenta`.

The statistic is standardised with the correction for ties and, for the limits, for continuity; the limits are the
shifts at which it crosses the normal quantile. The tolerance of the search is absolute, as Kayenta's is (1e-4,
BrentSolver.java:24, :69 at a69573be), so error rates must be fed as percent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, sqrt
from statistics import NormalDist, fmean

TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How much larger the first sample is: limits and estimate."""

    low: float
    high: float
    estimate: float


def shift_interval(first: Sequence[float], second: Sequence[float], *, confidence: float) -> Shift:
    """Give the interval of the shift `first - second`. Both samples hold something, and not all the same value."""
    pair = _Pair(first, second)
    quantile = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    return Shift(
        low=pair.crossing(quantile, corrected=True)[0],
        high=pair.crossing(-quantile, corrected=True)[1],
        estimate=fmean((*pair.crossing(0.0, corrected=False), *pair.crossing(0.0, corrected=False, beyond=True))),
    )


class _Pair:
    """Two samples, ready to be shifted against each other."""

    def __init__(self, first: Sequence[float], second: Sequence[float]) -> None:
        self._first = sorted(Counter(first).items())
        self._second = sorted(second)
        self._m, self._n = len(first), len(second)
        self._ties = sum(_cubes(count) for _, count in self._first)
        self._ties += sum(_cubes(count) for count in Counter(second).values())

    def crossing(self, level: float, *, corrected: bool, beyond: bool = False) -> tuple[float, float]:
        """Enclose the shift at which the statistic, which falls with the shift in steps, comes down to a level.

        beyond: where it falls below, which is another shift when a step lies on the level itself.
        """
        low = self._first[0][0] - self._second[-1]
        high = self._first[-1][0] - self._second[0]
        if self._standard(low, corrected=corrected) <= level:
            return low, low
        if self._standard(high, corrected=corrected) >= level:
            return high, high
        while high - low > TOLERANCE:
            middle = (low + high) / 2.0
            found = self._standard(middle, corrected=corrected)
            if found > level or (beyond and found == level):
                low = middle
            else:
                high = middle
        return low, high

    def _standard(self, shift: float, *, corrected: bool) -> float:
        wins, ties = 0.0, self._ties
        for value, count in self._first:
            below = bisect_left(self._second, value - shift)
            upto = bisect_right(self._second, value - shift)
            wins += count * (below + upto) / 2.0
            if upto > below:
                same = upto - below
                ties += _cubes(count + same) - _cubes(count) - _cubes(same)
        m, n = self._m, self._n
        difference = wins - m * n / 2.0
        spread = m * n / 12.0 * ((m + n + 1) - ties / ((m + n) * (m + n - 1)))
        if spread <= 0.0:
            return 0.0
        if corrected and difference:
            difference -= copysign(0.5, difference)
        return difference / sqrt(spread)


def _cubes(count: int) -> int:
    return count**3 - count
