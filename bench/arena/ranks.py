"""Kayenta's rank test over many pairs of samples at once. Used by `peers`; `sternway.backtest.peers.rank_test` does one.

Samples are rows; NaN is no value. Every operation is that of the scalar test, in its order, so that the results are equal.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from bench.arena.chance import Bools, Floats
from sternway.backtest.peers.rank_test import TOLERANCE


def shift_low(first: Floats, second: Floats, *, confidence: float) -> tuple[Floats, Floats]:
    """[R] The lower limit of the shift `first - second`, and its estimate."""
    pairs = _Pairs(first, second)
    low, _ = pairs.crossing(NormalDist().inv_cdf(0.5 + confidence / 2.0), corrected=True)
    middle = (*pairs.crossing(0.0, corrected=False), *pairs.crossing(0.0, corrected=False, beyond=True))
    return low, sum(middle[1:], middle[0]) / 4.0


class _Pairs:
    def __init__(self, first: Floats, second: Floats) -> None:
        self._first, self._second = first, second
        self._m, self._n = _count(first), _count(second)
        self._same_first = _equal(first, first)
        self._ties = _ties(self._same_first) + _ties(_equal(second, second))

    def crossing(self, level: float, *, corrected: bool, beyond: bool = False) -> tuple[Floats, Floats]:
        low = np.nanmin(self._first, axis=1) - np.nanmax(self._second, axis=1)
        high = np.nanmax(self._first, axis=1) - np.nanmin(self._second, axis=1)
        at_low = self._standard(low, corrected=corrected) <= level
        at_high = ~at_low & (self._standard(high, corrected=corrected) >= level)
        high, low = np.where(at_low, low, high), np.where(at_high, high, low)
        while (open_ := high - low > TOLERANCE).any():
            middle = (low + high) / 2.0
            found = self._standard(middle, corrected=corrected)
            up = (found > level) | (beyond & (found == level))
            low, high = np.where(open_ & up, middle, low), np.where(open_ & ~up, middle, high)
        return low, high

    def _standard(self, shift: Floats, *, corrected: bool) -> Floats:
        moved = self._first - shift[:, None]
        below = (moved[:, :, None] > self._second[:, None, :]).sum(axis=2)
        same = _equal(moved, self._second)
        counts = np.where(np.isnan(moved), 0.0, 1.0)
        wins = (counts * (below + same / 2.0)).sum(axis=1)
        group = np.maximum(self._same_first, 1)
        ties = self._ties + ((_cubes(group + same) - _cubes(group) - _cubes(same)) / group * counts).sum(axis=1)
        m, n = self._m, self._n
        difference = wins - m * n / 2.0
        spread = m * n / 12.0 * ((m + n + 1) - ties / ((m + n) * (m + n - 1)))
        if corrected:
            difference = difference - np.sign(difference) * 0.5
        known = spread > 0.0
        return np.where(known, difference / np.sqrt(np.where(known, spread, 1.0)), 0.0)


def _count(sample: Floats) -> Floats:
    return (~np.isnan(sample)).sum(axis=1).astype(np.float64)


def _equal(first: Floats, second: Floats) -> Floats:
    """[R, first] How many of the second are equal to it."""
    return (first[:, :, None] == second[:, None, :]).sum(axis=2).astype(np.float64)


def _ties(same: Floats) -> Floats:
    group = np.maximum(same, 1.0)
    return (_cubes(group) / group).sum(axis=1)


def _cubes(count: Floats) -> Floats:
    return count**3 - count


def alike(first: Floats, second: Floats) -> Bools:
    """[R] Whether two samples hold the same values, or one value only: then there is nothing to test."""
    sorted_alike = np.array_equal
    both = np.concatenate((first, second), axis=1)
    constant = np.nanmin(both, axis=1) == np.nanmax(both, axis=1)
    same = np.array(
        [sorted_alike(np.sort(a[~np.isnan(a)]), np.sort(b[~np.isnan(b)])) for a, b in zip(first, second, strict=True)]
    )
    return constant | same
