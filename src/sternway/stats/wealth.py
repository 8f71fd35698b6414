"""Wealth spread over several bets: the change-aware mixture that every e-process here is made of.

Called by `sternway.judgement`. A wealth is an array `[..., 1 + bets]`: the cash, then each bet. The bets grow by their
own factors, whose expectation under the null hypothesis is at most 1; the cash waits, and flows into the bets by and
by, so that a change that comes late finds fresh money (a Shiryaev mixture). The sum of all parts is an e-process:
it starts at 1 and, under the null, the chance that it ever reaches 1/alpha is at most alpha (Ville).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sternway.stats.exact import Floats

START_SHARE = 0.9
HORIZON_S = 1800.0
MOST = 1e150
"""No part grows beyond this: to hold less than one might is always fair, and it keeps every number finite."""


def new_wealth(bets: int) -> tuple[float, ...]:
    """Nine tenths of the wealth on the bets, in equal parts, and a tenth kept as cash."""
    return (1.0 - START_SHARE, *(START_SHARE / bets for _ in range(bets)))


def total(wealth: Floats) -> Floats:
    """[..., 1 + bets] -> [...] Return the e-value: the sum of all parts, always added in the same order."""
    whole = wealth[..., 0]
    for at in range(1, wealth.shape[-1]):
        whole = whole + wealth[..., at]
    return whole


def added(parts: Iterable[float]) -> float:
    """Return what `total` does, of one wealth; `sum` gives other bits since Python 3.12."""
    whole = 0.0
    for part in parts:
        whole += part
    return whole


def grow(wealth: Floats, factors: Floats, elapsed_s: Any) -> Floats:
    """Multiply every bet by its factor; then let the cash of `elapsed_s` seconds flow into the bets.

    In this order, because what a bet may win must be fixed before it is known what the bet has won. After t seconds
    in all, H / (H + t) of the cash still waits, H being half an hour; so the flow depends on the time alone, not on
    how often this is called.
    """
    cash = wealth[..., :1]
    waits = cash / (
        1.0 + cash * (np.asarray(elapsed_s, dtype=np.float64)[..., None] / ((1.0 - START_SHARE) * HORIZON_S))
    )
    bets = wealth[..., 1:]
    grown = np.minimum(bets * factors, MOST) + (cash - waits) / bets.shape[-1]
    result: Floats = np.concatenate((waits, grown), axis=-1)
    return result
