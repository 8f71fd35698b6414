"""Wealth spread over several bets: the change-aware mixture that every e-process here is made of.

Called by `shares` and `rates`. A wealth is `(log cash, log bet 1, …, log bet n)`. The bets grow by their own
factors, whose expectation under the null hypothesis is at most 1; the cash waits, and flows into the bets by and
by, so that a change that comes late finds fresh money (a Shiryaev mixture). The sum of all parts is an e-process:
it starts at 1 and, under the null, the chance that it ever reaches 1/alpha is at most alpha (Ville).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, expm1, log, log1p

Wealth = tuple[float, ...]

START_SHARE = 0.75
HORIZON_S = 1800.0
SHORTEST_S = 1e-6


def new_wealth(bets: int) -> Wealth:
    """Three quarters of the wealth on the bets, in equal parts, and a quarter kept as cash."""
    return (log(1.0 - START_SHARE), *(log(START_SHARE / bets) for _ in range(bets)))


def log_sum(logs: Sequence[float]) -> float:
    """Return the logarithm of a sum, from the logarithms of its terms."""
    top = max(logs)
    return top + log(sum([exp(value - top) for value in logs]))


def log_wealth(wealth: Wealth) -> float:
    """Return the natural logarithm of the e-value."""
    return log_sum(wealth)


def grow(wealth: Wealth, log_factors: Sequence[float], *, elapsed_s: float) -> Wealth:
    """Multiply every bet by its factor; then let the cash of `elapsed_s` seconds flow into the bets.

    In this order, because what a bet may win must be fixed before it is known what the bet has won. The flow
    depends on the time alone, not on how often this is called: in every half hour a share 1 - 1/e of the cash.
    """
    cash, *bets = wealth
    grown = [bet + factor for bet, factor in zip(bets, log_factors, strict=True)]
    if elapsed_s < SHORTEST_S:
        return (cash, *grown)
    part = -elapsed_s / HORIZON_S
    moved = cash + log(-expm1(part)) - log(len(grown))
    return (
        cash + part,
        *[
            bet + log1p(exp(moved - bet)) if bet >= moved else moved + log1p(exp(bet - moved))  # log(a + b)
            for bet in grown
        ],
    )
