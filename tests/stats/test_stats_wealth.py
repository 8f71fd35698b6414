"""Wealth: what is staked, what waits, and that time flows the same at any batching."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sternway.stats.wealth import HORIZON_S, grow, log_sum, log_wealth, new_wealth


def test_wealth_starts_at_one() -> None:
    """Bets and cash sum to 1: no evidence yet."""
    assert log_wealth(new_wealth(12)) == pytest.approx(0.0, abs=1e-12)


@given(elapsed_s=st.floats(0, 1e6))
def test_time_alone_changes_no_evidence(elapsed_s: float) -> None:
    """Cash that flows into bets is neither made nor lost."""
    assert log_wealth(grow(new_wealth(8), [0.0] * 8, elapsed_s=elapsed_s)) == pytest.approx(0.0, abs=1e-9)


def test_the_flow_depends_on_time_and_not_on_the_number_of_calls() -> None:
    """A hundred hundredths of a second move what one second moves."""
    once = grow(new_wealth(3), [0.0] * 3, elapsed_s=1.0)
    often = new_wealth(3)
    for _ in range(100):
        often = grow(often, [0.0] * 3, elapsed_s=0.01)
    assert often == pytest.approx(once, rel=1e-9)


def test_the_flow_in_a_horizon_is_one_minus_one_over_e() -> None:
    """After the horizon, 1/e of the cash still waits."""
    cash = grow(new_wealth(3), [0.0] * 3, elapsed_s=HORIZON_S)[0]
    assert exp(cash) == pytest.approx(0.25 / exp(1))


def test_a_bet_wins_before_new_cash_arrives() -> None:
    """The cash of an interval does not take part in that interval's own wins."""
    wealth = grow(new_wealth(1), [log(10.0)], elapsed_s=HORIZON_S)
    assert exp(log_wealth(wealth)) == pytest.approx(0.75 * 10.0 + 0.25)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=14))
def test_log_sum_neither_overflows_nor_vanishes(logs: list[float]) -> None:
    """The sum lies between its largest term and that times the number of terms."""
    assert max(logs) <= log_sum(logs) <= max(logs) + log(len(logs)) + 1e-9
