"""The share mixture: values computed by hand, and its validity by exact enumeration."""

from __future__ import annotations

import random
from collections import defaultdict
from math import comb, exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sternway.judgement.blocks import block_ends
from sternway.stats.shares import BETTER, WORSE, share_factors
from sternway.stats.wealth import grow, new_wealth, total

RATIOS = list(WORSE)
BETS = len(RATIOS)


def test_factor_by_hand() -> None:
    """One bad answer of 10 against none of 90, ratio 4: f0 = 100/130, f1 = 400/130."""
    factors = share_factors(10, 1, 90, 0)
    assert factors[RATIOS.index(4.0)] == pytest.approx(400 / 130)


def test_factor_with_margins_by_hand() -> None:
    """Tolerance 1.1 and floor 1e-4: f0 = 101/134, and exp(-(f1 - 1) * 1e-4 * 10) comes on top."""
    factors = share_factors(10, 2, 90, 1, tolerance=1.1, floor=1e-4)
    f0 = 101 / 134
    expected = (4 * f0) ** 2 * f0 * exp(-(4 * f0 - 1) * 1e-3)
    assert factors[RATIOS.index(4.0)] == pytest.approx(expected, rel=1e-6)


def test_mixture_by_hand() -> None:
    """After one block the e-value is a tenth plus nine tenths of the mean factor."""
    arms = (10, 3, 90, 0)
    wealth = grow(np.array(new_wealth(BETS)), share_factors(*arms), 0.0)
    mean = sum((100 * r / (10 * r + 90)) ** 3 for r in RATIOS) / BETS
    assert total(wealth) == pytest.approx(0.1 + 0.9 * mean)


@pytest.mark.parametrize(
    "arms",
    [
        pytest.param((5, 5, 0, 0), id="nothing beside the arm"),
        pytest.param((0, 0, 50, 50), id="nothing on the arm"),
        pytest.param((50, 0, 50, 0), id="no bad answers"),
    ],
)
def test_a_block_that_compares_nothing_says_nothing(arms: tuple[int, int, int, int]) -> None:
    """Without two arms or without bad answers, every factor is exactly 1."""
    assert list(share_factors(*arms)) == [1.0] * BETS


def test_the_cap_only_lowers() -> None:
    """A capped factor is the smaller of the factor and the cap."""
    arms = (10, 8, 90, 1)
    free, capped = share_factors(*arms), share_factors(*arms, cap=2.0)
    assert list(capped) == [min(value, 2.0) for value in free]
    assert max(free) > 2.0


def _expectation(
    n1: int, n0: int, p1: float, p0: float, tolerance: float, floor: float, ratios: np.ndarray = WORSE
) -> np.ndarray:
    sums = np.zeros(len(ratios))
    for bad1 in range(n1 + 1):
        for bad0 in range(n0 + 1):
            chance = comb(n1, bad1) * p1**bad1 * (1 - p1) ** (n1 - bad1)
            chance *= comb(n0, bad0) * p0**bad0 * (1 - p0) ** (n0 - bad0)
            sums += chance * share_factors(n1, bad1, n0, bad0, tolerance=tolerance, floor=floor, ratios=ratios)
    return sums


@given(
    n1=st.integers(0, 7),
    n0=st.integers(0, 12),
    p0=st.floats(0, 1),
    tolerance=st.sampled_from([1.0, 1.1, 2.0, 16.0]),
    floor=st.sampled_from([0.0, 1e-4, 0.05]),
)
@settings(max_examples=60, deadline=None)
def test_the_expectation_is_at_most_one_when_the_arm_is_at_the_edge_of_what_is_tolerated(
    n1: int, n0: int, p0: float, tolerance: float, floor: float
) -> None:
    """Exact enumeration: whatever the common rate, no ratio gains on average, even at the edge of the null."""
    p1 = min(1.0, tolerance * p0 + floor)
    assert max(_expectation(n1, n0, p1, p0, tolerance, floor)) <= 1.0 + 1e-9


@given(
    n1=st.integers(0, 7),
    n0=st.integers(0, 12),
    p0=st.floats(0, 0.2),
    tolerance=st.sampled_from([1.0, 3.0]),
    floor=st.sampled_from([0.001, 0.1]),
)
@settings(max_examples=60, deadline=None)
def test_the_other_side_expects_at_most_one_when_the_arm_is_just_as_bad_as_in_question(
    n1: int, n0: int, p0: float, tolerance: float, floor: float
) -> None:
    """Exact enumeration: at "tolerance times and floor more", no bet on "better" gains on average; nor beyond."""
    for p1 in (min(1.0, tolerance * p0 + floor), 1.0):
        assert max(_expectation(n1, n0, p1, p0, tolerance, floor, BETTER)) <= 1.0 + 1e-9
    assert max(_expectation(7, 12, 0.0, 0.01, 3.0, 0.1, BETTER)) > 1.2, "a better arm gains"


def test_the_expectation_exceeds_one_when_the_arm_is_worse() -> None:
    """The enumeration above can fail: with a truly worse arm the bets gain."""
    assert max(_expectation(5, 12, 0.5, 0.1, 1.0, 0.0)) > 1.5


def _expectation_of_a_woken_block(share: float, rate: float, every: int, requests: int = 30) -> np.ndarray:
    """Enumerate a block whose readings come every few requests, and at once after a bad answer of arm 1."""
    states = {(0, 0, 0, 0, 0): 1.0}
    sums = np.zeros(BETS)
    cache: dict[tuple[int, int, int, int], np.ndarray] = {}

    def end(n1: int, n0: int, bad1: int, bad0: int, chance: float) -> None:
        if (n1, bad1, n0, bad0) not in cache:
            cache[n1, bad1, n0, bad0] = share_factors(n1, bad1, n0, bad0)
        sums.__iadd__(chance * cache[n1, bad1, n0, bad0])

    for _ in range(requests):
        after: dict[tuple[int, int, int, int, int], float] = defaultdict(float)
        for (n1, n0, bad1, bad0, waited), chance in states.items():
            for one, bad in ((1, 1), (1, 0), (0, 1), (0, 0)):
                part = chance * (share if one else 1 - share) * (rate if bad else 1 - rate)
                state = (n1 + one, n0 + 1 - one, bad1 + (one & bad), bad0 + ((1 - one) & bad))
                reads = waited + 1 == every or (one and bad)
                counts = np.array((state[0], state[2], state[1], state[3]))
                if reads and block_ends(counts, since_s=0.0, now_s=0.0):
                    end(*state, part)
                else:
                    after[(*state, 0 if waited + 1 == every else waited + 1)] += part
        states = after
    for (n1, n0, bad1, bad0, _), chance in states.items():
        end(n1, n0, bad1, bad0, chance)
    return sums


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("rate", [0.005, 0.1])
@pytest.mark.parametrize("every", [1, 7])
def test_a_reading_that_comes_early_because_of_a_bad_answer_gains_nothing(
    share: float, rate: float, every: int
) -> None:
    """Exact enumeration: readings woken by the candidate's own bad answers keep the expectation at most 1."""
    assert max(_expectation_of_a_woken_block(share, rate, every)) <= 1.0 + 1e-9


def _ever(rng: random.Random, *, blocks: int, split_known: bool, rate: float, level: float) -> bool:
    wealth = np.array(new_wealth(BETS))
    for _ in range(blocks):
        n1, n0 = sum(rng.random() < 0.12 for _ in range(60)), 0
        n0 = 60 - n1
        bad1 = sum(rng.random() < rate for _ in range(n1))
        bad0 = sum(rng.random() < rate for _ in range(n0))
        # The mistake that the realised split avoids: 5 % configured, 12 % in force.
        seen1, seen0 = (n1, n0) if split_known else (3, 57)
        wealth = grow(wealth, share_factors(seen1, bad1, seen0, bad0), 1.0)
        if total(wealth) >= level:
            return True
    return False


def test_false_alarms_stay_under_their_rate_at_every_look() -> None:
    """600 runs of 80 looks without any margin: at 1 in 20, more than 52 alarms have a chance below 1 in 10,000 (binomial)."""
    rng = random.Random(11)
    alarms = sum(_ever(rng, blocks=80, split_known=True, rate=0.05, level=20.0) for _ in range(600))
    assert alarms <= 52
    wrong = sum(_ever(rng, blocks=80, split_known=False, rate=0.05, level=20.0) for _ in range(30))
    assert wrong >= 20, "the simulation must be able to catch a test that is not valid"
