"""The functions made of basic operations: near the C library's, and the same bits by every path."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sternway.stats.exact import exp_below, log, log_gamma, power, scaled


@given(st.floats(1e-300, 1e300))
def test_the_logarithm_is_as_good_as_the_librarys(x: float) -> None:
    """Within two units of the last place, or so near to zero that nothing depends on it."""
    assert log(x) == pytest.approx(math.log(x), rel=5e-16, abs=1e-16)


@given(st.floats(0.5, 1e7))
def test_the_log_gamma_function_is_as_good_as_the_librarys(x: float) -> None:
    """To 13 digits, over all that counts may be."""
    assert log_gamma(x) == pytest.approx(math.lgamma(x), rel=1e-13, abs=1e-12)


@given(st.floats(1e-3, 1e3), st.integers(0, 45))
def test_a_power_is_near_the_librarys(base: float, exponent: int) -> None:
    """Repeated squaring keeps twelve digits."""
    assert float(scaled(*power(base, exponent))) == pytest.approx(base**exponent, rel=1e-12)


@given(st.floats(1e-3, 1e3), st.integers(0, 16))
def test_a_small_power_has_the_same_bits_beside_a_large_one(base: float, exponent: int) -> None:
    """What else is in the batch changes no bit of a release: the scaled and the plain path agree exactly."""
    alone = scaled(*power(np.array([base]), np.array([exponent])))[0]
    beside = scaled(*power(np.array([base, 2.0]), np.array([exponent, 5000])))[0]
    assert float(alone) == float(beside)


def test_huge_powers_are_cut_off_and_stay_finite() -> None:
    """A million failures of one version and none of the other."""
    assert np.isfinite(scaled(*power(np.array([1000.0, 0.001]), np.array([10**6, 10**6])))).all()


@given(st.floats(-400, 400))
def test_the_exponential_is_never_above_the_true_one(x: float) -> None:
    """What is given away is given to the null hypothesis."""
    assert 0.0 <= float(exp_below(x)) <= math.exp(x) * (1.0 + 1e-12)


def test_the_exponential_is_tight_where_it_is_used() -> None:
    """A floor weighs some hundredths in a block: five digits are right there."""
    assert float(exp_below(-0.02)) == pytest.approx(math.exp(-0.02), rel=2e-6)
