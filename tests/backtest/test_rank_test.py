"""The Mann-Whitney interval against its definition, by brute force."""

import random
from itertools import product
from statistics import NormalDist, median

import pytest

from sternway.backtest.peers.rank_test import TOLERANCE, shift_interval


def standard(first: list[float], second: list[float], shift: float, *, corrected: bool) -> float:
    """Standardise the statistic pair by pair, with ranks counted the long way."""
    moved = [value - shift for value in first]
    difference = sum((x > y) + 0.5 * (x == y) for x, y in product(moved, second)) - len(first) * len(second) / 2
    pooled, m, n = [*moved, *second], len(first), len(second)
    ties = sum(pooled.count(value) ** 3 - pooled.count(value) for value in set(pooled))
    spread = m * n / 12 * ((m + n + 1) - ties / ((m + n) * (m + n - 1)))
    if corrected and difference:
        difference -= 0.5 if difference > 0 else -0.5
    return difference / spread**0.5


@pytest.mark.parametrize("seed", range(8))
def test_the_limits_are_where_the_statistic_crosses_its_quantile(seed: int):
    """Just below a limit the statistic is above the quantile, just above it no more; the middle is the median shift."""
    rng = random.Random(seed)
    first = [round(rng.gauss(1.0, 1.0), 2) for _ in range(15)]
    second = [round(rng.gauss(0.0, 1.0), 2) for _ in range(12)]
    found = shift_interval(first, second, confidence=0.98)
    for limit, quantile in ((found.low, 0.99), (found.high, 0.01)):
        level = NormalDist().inv_cdf(quantile)
        assert standard(first, second, limit - 2 * TOLERANCE, corrected=True) > level
        assert standard(first, second, limit + 2 * TOLERANCE, corrected=True) <= level
    assert found.estimate == pytest.approx(median(x - y for x, y in product(first, second)), abs=TOLERANCE)
    assert found.low < found.estimate < found.high


def test_samples_too_small_for_the_confidence_reach_as_far_as_they_can():
    """Three against three cannot be told apart at 98 %: the interval is the whole range of differences."""
    found = shift_interval([5.0, 6.0, 7.0], [1.0, 2.0, 3.0], confidence=0.98)
    assert (found.low, found.high) == (2.0, 6.0)


def test_swapping_the_samples_mirrors_the_interval():
    """A shift up is a shift down from the other side."""
    rng = random.Random(3)
    first, second = [rng.random() for _ in range(20)], [rng.random() + 0.3 for _ in range(25)]
    one, other = shift_interval(first, second, confidence=0.98), shift_interval(second, first, confidence=0.98)
    assert one.low == pytest.approx(-other.high, abs=2 * TOLERANCE)
    assert one.high == pytest.approx(-other.low, abs=2 * TOLERANCE)


def test_a_step_that_lies_on_the_level_gives_its_middle():
    """Half of the shifts are 0, half are 5: the median shift is 2.5, and 0 is the lower limit."""
    found = shift_interval([0.0] * 10 + [5.0] * 10, [0.0] * 20, confidence=0.98)
    assert found.estimate == pytest.approx(2.5, abs=TOLERANCE)
    assert -TOLERANCE <= found.low <= 0.0
