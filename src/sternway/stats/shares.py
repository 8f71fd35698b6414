"""The share mixture: it asks whether an arm has more bad events than its share of the traffic explains.

Called by `sternway.judgement.comparison` and `.rounds`. In a block the arm answered n1 of n1 + n0 requests. Under
the null hypothesis "p1 <= tolerance * p0 + floor", with p0 unknown and free to move from block to block, each bad
event falls on the arm with a probability that the realised counts bound. With W = tolerance * n1, S = n0 and a
ratio r > 1:

    f0 = (W + S) / (W r + S)      f1 = r f0
    factor_r = f1 ** bad1 * f0 ** bad0 * exp(-(f1 - 1) * floor * n1)

Given the counts, E[f1 ** bad1 * f0 ** bad0] <= exp((f1 - 1) n1 p1 + (f0 - 1) n0 p0), and (f1 - 1) W + (f0 - 1) S = 0,
so the factor's expectation is at most 1. Trouble that hits both arms alike cannot blame one of them.
(With tolerance 1 and floor 0 this is the multinomial test of Lindon & Malek with a discrete prior and the realised
instead of the configured split.)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 60.0, 150.0, 400.0, 1000.0)
_LOG_RATIOS = tuple(log(ratio) for ratio in RATIOS)
BETS = len(RATIOS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoArms:
    """The counts of one block: arm 1 is the one in question, arm 0 all it is compared with."""

    total1: int
    bad1: int
    total0: int
    bad0: int


def share_log_factors(
    arms: TwoArms, *, tolerance: float = 1.0, floor: float = 0.0, cap: float | None = None
) -> list[float]:
    """Return the logarithm of factor_r for every ratio, each at most `cap` (which only lowers it)."""
    weighted, other = tolerance * arms.total1, float(arms.total0)
    allowed = floor * arms.total1
    if arms.total1 == 0 or other == 0.0 or (arms.bad1 == arms.bad0 == 0 and allowed == 0.0):
        return [0.0] * BETS
    log_all = log(weighted + other)
    logs: list[float] = []
    for ratio, log_ratio in zip(RATIOS, _LOG_RATIOS, strict=True):
        log_f0 = log_all - log(weighted * ratio + other)
        value = arms.bad1 * log_ratio + (arms.bad1 + arms.bad0) * log_f0
        if allowed:
            value -= (exp(log_ratio + log_f0) - 1.0) * allowed
        logs.append(value)
    return logs if cap is None else [min(value, cap) for value in logs]
