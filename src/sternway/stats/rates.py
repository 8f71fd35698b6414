"""One rate against a limit, and bounds of one rate, both valid at every look.

Called by `sternway.judgement.limits`. `rate_log_factors`: likelihood ratios of a Bernoulli rate above the limit
against the limit itself; under "the chance of a bad event is at most the limit, given all that came before", each
has an expectation of at most 1, at any batching. `upper_rate`: the confidence sequence that inverts the mixture of
Robbins with a Beta(1/2, 1/2) prior.
"""

from __future__ import annotations

from math import inf, lgamma, log, log1p

ODDS_RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
RATE_BETS = len(ODDS_RATIOS)
_LOG_BETA_HALF = 2.0 * lgamma(0.5) - lgamma(1.0)


def rate_log_factors(total: int, bad: int, *, limit: float, cap: float | None = None) -> list[float]:
    """Return the logarithm of the likelihood ratio for every odds ratio; each at most `cap` when there is one."""
    if total == 0 or not 0.0 < limit < 1.0:
        return [0.0] * RATE_BETS
    logs: list[float] = []
    for ratio in ODDS_RATIOS:
        scale = log1p(limit * (ratio - 1.0))
        value = bad * log(ratio) - total * scale
        logs.append(value if cap is None else min(value, cap))
    return logs


def log_mixture(total: int, bad: int, rate: float) -> float:
    """Return the log of Robbins' Beta(1/2, 1/2) mixture against `rate`: an e-process when `rate` is the true one."""
    good = total - bad
    if (rate <= 0.0 and bad) or (rate >= 1.0 and good):
        return inf
    log_beta = lgamma(bad + 0.5) + lgamma(good + 0.5) - lgamma(total + 1.0)
    likelihood = (bad * log(rate) if bad else 0.0) + (good * log1p(-rate) if good else 0.0)
    return log_beta - _LOG_BETA_HALF - likelihood


def upper_rate(total: int, bad: int, *, log_level: float) -> float:
    """Return the highest rate that the data do not refute; wrong, ever, with a chance of at most exp(-log_level)."""
    low, high = (bad / total if total else 1.0), 1.0
    if log_mixture(total, bad, high) < log_level:
        return high
    for _ in range(40):
        middle = 0.5 * (low + high)
        if log_mixture(total, bad, middle) < log_level:
            low = middle
        else:
            high = middle
    return high
