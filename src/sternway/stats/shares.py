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

With ratios r < 1 the same factor tests the other side, "p1 >= tolerance * p0 + floor": see `BETTER`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sternway.stats.exact import Floats, exp_below, power, scaled

WORSE = np.array((1.3, 2.0, 4.0, 12.0, 60.0, 500.0))
"""How many times as bad the bets say that the arm is, under "no worse". More of them gain nothing (bench/arena)."""
BETTER = np.array((0.05, 0.4))
"""How many times the allowed rate the bets say that the arm has, under "at least so bad"."""


def share_factors(
    total1: Any,
    bad1: Any,
    total0: Any,
    bad0: Any,
    *,
    tolerance: Any = 1.0,
    floor: Any = 0.0,
    cap: Any = np.inf,
    ratios: Floats = WORSE,
) -> Floats:
    """Return factor_r for every ratio, each at most `cap` (which only lowers it): arrays [...] -> [..., ratios].

    total1, bad1: answers of the arm in question, and bad ones among them; total0, bad0: of all it is compared with.
    """
    n1, n0 = np.asarray(total1, dtype=np.float64), np.asarray(total0, dtype=np.float64)
    says_something = ((n1 > 0) & (n0 > 0))[..., None]
    weighted, other = (tolerance * n1)[..., None], n0[..., None]
    f0 = np.where(says_something, weighted + other, 1.0) / np.where(says_something, weighted * ratios + other, 1.0)
    f1 = ratios * f0
    ours, ours_scale = power(f1, np.asarray(bad1)[..., None])
    theirs, theirs_scale = power(f0, np.asarray(bad0)[..., None])
    allowed = exp_below((1.0 - f1) * (floor * n1)[..., None])
    factors = scaled(ours * theirs, ours_scale + theirs_scale) * allowed
    result: Floats = np.where(says_something, np.minimum(factors, np.asarray(cap)[..., None]), 1.0)
    return result
