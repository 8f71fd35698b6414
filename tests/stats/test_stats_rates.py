"""One rate against a limit, and the upper bound of a rate."""

from __future__ import annotations

import random
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sternway.stats.rates import ODDS, log_mixture, rate_factors, upper_rate


def test_likelihood_ratio_by_hand() -> None:
    """Limit 0.2 at three times the odds is 3/7: two bad of three give (15/7)^2 * 5/7."""
    factors = rate_factors(3, 2, limit=0.2)
    assert factors[list(ODDS).index(3.0)] == pytest.approx((15 / 7) ** 2 * 5 / 7)


@given(total=st.integers(0, 20), limit=st.floats(0.001, 0.9), part=st.floats(0, 1))
@settings(deadline=None)
def test_the_expectation_is_at_most_one_when_the_rate_keeps_the_limit(total: int, limit: float, part: float) -> None:
    """Exact enumeration over every outcome, for any rate up to the limit."""
    rate = limit * part
    sums = np.zeros(len(ODDS))
    for bad in range(total + 1):
        chance = comb(total, bad) * rate**bad * (1 - rate) ** (total - bad)
        sums += chance * rate_factors(total, bad, limit=limit)
    assert sums.max() <= 1.0 + 1e-9


def test_batching_does_not_change_the_factors() -> None:
    """Two parts multiply to the whole."""
    whole = rate_factors(30, 4, limit=0.05)
    assert rate_factors(10, 1, limit=0.05) * rate_factors(20, 3, limit=0.05) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("total", "bad", "probability"),
    [(1, 0, 1 / 2), (2, 0, 3 / 8), (2, 1, 1 / 8), (3, 3, 5 / 16), (3, 1, 1 / 16), (4, 2, 3 / 128)],
)
def test_the_mixture_gives_the_published_probabilities_of_krichevsky_and_trofimov(
    total: int, bad: int, probability: float
) -> None:
    """The Beta(1/2, 1/2) mixture of a sequence: 1/2, 3/8, 1/8, 5/16, 1/16, 3/128."""
    assert exp(log_mixture(total, bad, 0.5)) == pytest.approx(probability * 2**total)


def test_nothing_seen_bounds_nothing() -> None:
    """Without answers the upper bound is 1."""
    assert upper_rate(0, 0, level=100.0) == 1.0


def test_the_upper_bound_is_where_the_mixture_reaches_the_level() -> None:
    """5 bad of 1,000 at level 100: the bound lies above 0.5 % and refutes exactly there."""
    bound = upper_rate(1000, 5, level=100.0)
    assert 0.01 < bound < 0.025
    assert log_mixture(1000, 5, bound) == pytest.approx(log(100), abs=1e-5)


def test_the_upper_bound_holds_at_every_look() -> None:
    """400 runs of 300 answers at 3 %, looked at after every answer: more than 64 at 1 in 10 have a chance below 1 in 10,000."""
    rng = random.Random(3)
    wrong = 0
    for _ in range(400):
        bad = 0
        for total in range(1, 301):
            bad += rng.random() < 0.03
            if bad < 0.03 * total and log_mixture(total, bad, 0.03) >= log(10):
                wrong += 1
                break
    assert 0 < wrong <= 64
