"""Wealth: what is staked, what waits, and that time flows the same at any batching."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sternway.stats.wealth import HORIZON_S, MOST, added, grow, new_wealth, total


def test_wealth_starts_at_one() -> None:
    """Bets and cash sum to 1: no evidence yet."""
    assert added(new_wealth(12)) == pytest.approx(1.0, abs=1e-12)


@given(elapsed_s=st.floats(0, 1e6))
def test_time_alone_changes_no_evidence(elapsed_s: float) -> None:
    """Cash that flows into bets is neither made nor lost."""
    assert total(grow(np.array(new_wealth(8)), np.ones(8), elapsed_s)) == pytest.approx(1.0, abs=1e-9)


def test_the_flow_depends_on_time_and_not_on_the_number_of_calls() -> None:
    """A hundred hundredths of a second move what one second moves."""
    once = grow(np.array(new_wealth(3)), np.ones(3), 1.0)
    often = np.array(new_wealth(3))
    for _ in range(100):
        often = grow(often, np.ones(3), 0.01)
    assert often == pytest.approx(once, rel=1e-9)


def test_half_of_the_cash_has_flowed_after_the_horizon() -> None:
    """After half an hour, H / (H + H) of the cash still waits."""
    assert grow(np.array(new_wealth(3)), np.ones(3), HORIZON_S)[0] == pytest.approx(0.05)


def test_a_bet_wins_before_new_cash_arrives() -> None:
    """The cash of an interval does not take part in that interval's own wins."""
    wealth = grow(np.array(new_wealth(1)), np.array([10.0]), HORIZON_S)
    assert total(wealth) == pytest.approx(0.9 * 10.0 + 0.1)


def test_no_part_grows_beyond_what_a_float_holds() -> None:
    """Evidence beyond all measure stays a number."""
    wealth = np.array(new_wealth(2))
    for _ in range(5):
        wealth = grow(wealth, np.array([1e150, 0.0]), 1.0)
    assert np.isfinite(wealth).all()
    assert wealth.max() == MOST


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=14))
def test_the_parts_add_up_to_the_same_bits_as_an_array_and_as_a_tuple(parts: list[float]) -> None:
    """One release or many: the order of additions is the same."""
    assert float(total(np.array([parts, parts]))[1]) == added(parts)
