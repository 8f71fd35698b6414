"""One rate against a limit, and bounds of one rate, both valid at every look.

Called by `sternway.judgement.limits`. `rate_factors`: likelihood ratios of a Bernoulli rate above the limit against
the limit itself; under "the chance of a bad event is at most the limit, given all that came before", each has an
expectation of at most 1, at any batching. `upper_rate`: the confidence sequence that inverts the mixture of Robbins
with a Beta(1/2, 1/2) prior.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import Any

import numpy as np

from sternway.stats.exact import Floats, log, log_gamma, power, scaled

ODDS = np.array((1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0))
_LOG_BETA_HALF = 2.0 * log_gamma(0.5) - log_gamma(1.0)


def rate_factors(total: Any, bad: Any, *, limit: Any, cap: Any = np.inf) -> Floats:
    """Return the likelihood ratio for every odds ratio, each at most `cap`: arrays [...] -> [..., odds].

    A limit of 0 or less, or of 1 or more, says nothing.
    """
    p = np.asarray(limit, dtype=np.float64)
    says_something = (p > 0.0) & (p < 1.0)
    scale = 1.0 + np.where(says_something, p, 0.5)[..., None] * (ODDS - 1.0)
    gain, gain_scale = power(ODDS / scale, np.asarray(bad)[..., None])
    loss, loss_scale = power(1.0 / scale, (np.asarray(total) - bad)[..., None])
    factors = scaled(gain * loss, gain_scale + loss_scale)
    result: Floats = np.where(says_something[..., None], np.minimum(factors, np.asarray(cap)[..., None]), 1.0)
    return result


def log_mixture(total: int, bad: int, rate: float) -> float:
    """Return the log of Robbins' Beta(1/2, 1/2) mixture against `rate`: an e-process when `rate` is the true one."""
    good = total - bad
    if (rate <= 0.0 and bad) or (rate >= 1.0 and good):
        return inf
    log_beta = log_gamma(bad + 0.5) + log_gamma(good + 0.5) - log_gamma(total + 1.0)
    likelihood = (bad * log(rate) if bad else 0.0) + (good * log(1.0 - rate) if good else 0.0)
    return log_beta - _LOG_BETA_HALF - likelihood


@lru_cache(maxsize=4096)  # stable's record stands still while nothing of it is routed
def upper_rate(total: int, bad: int, *, level: float) -> float:
    """Return the highest rate that the data do not refute; wrong, ever, with a chance of at most 1 / level."""
    log_level = log(level)
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
