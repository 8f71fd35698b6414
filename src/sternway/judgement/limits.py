"""One criterion against a limit of its own: an absolute objective, or stable's recorded history. Called by `fold`.

Neither can tell the candidate's trouble from everybody's while both carry no traffic side by side. So in the first
exposure they only suspect: the traffic goes back to stable, whose answers then say whether the trouble was common.
They condemn on what comes to light from the second exposure on.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

from sternway.domain.evidence import Counts, Limited
from sternway.domain.guards import JudgeSettings
from sternway.judgement.blocks import SLOW_CAP, SLOW_TOLERANCE, elapsed, slow_tick_ends, warming
from sternway.judgement.budget import HISTORY, OBJECTIVE, Budget
from sternway.judgement.comparison import ERRORS
from sternway.judgement.counting import NOTHING
from sternway.stats.rates import RATE_BETS, rate_log_factors, upper_rate
from sternway.stats.wealth import grow, log_wealth, new_wealth

MIN_ANSWERS = 20


def new_objective(name: str, limit: float) -> Limited:
    """Begin an absolute objective: at most this share of the answers may be bad."""
    wealth = new_wealth(RATE_BETS)
    return Limited(name=name, basis=OBJECTIVE, limit=limit, wealth=wealth, exposure_wealth=wealth, stable_wealth=wealth)


def new_history(name: str) -> Limited:
    """Begin the comparison with history: not worse than what stable showed while it carried the traffic."""
    wealth = new_wealth(RATE_BETS)
    return Limited(name=name, basis=HISTORY, wealth=wealth, exposure_wealth=wealth)


def again(limited: Limited, *, withdrawals: int, suspected: bool) -> Limited:
    """Begin a new exposure: suspicion starts afresh; after the first suspicion, so does what condemns."""
    wealth = new_wealth(RATE_BETS)
    first = suspected and withdrawals == 1
    return replace(
        limited,
        since_s=None,
        block=NOTHING,
        exposure=NOTHING,
        exposure_wealth=wealth,
        wealth=wealth if first else limited.wealth,
    )


def stable_breaches(limited: Limited, budget: Budget) -> bool:
    """Stable misses the objective too, and it is no accident."""
    return limited.basis == OBJECTIVE and log_wealth(limited.stable_wealth) >= budget.suspicion


def blameless(limited: Limited, budget: Budget) -> bool:
    """Stable's own answers look as bad as the candidate's may: the candidate is not blamed for missing an objective."""
    if limited.basis != OBJECTIVE:
        return False
    seen = limited.exposure
    looks_bad = seen.stable_total >= MIN_ANSWERS and seen.stable_bad > limited.limit * seen.stable_total
    return looks_bad or stable_breaches(limited, budget)


def hold_to(
    settings: JudgeSettings,
    budget: Budget,
    limited: Limited,
    counts: Counts,
    *,
    history: Counts,
    start_s: float,
    now_s: float,
    fresh_s: float | None,
) -> Limited:
    """Add counts, and weigh them: errors at once, slow answers by the tick of two seconds."""
    if counts is NOTHING and limited.since_s is None:
        return limited
    since_s = start_s if limited.since_s is None else limited.since_s
    block = limited.block + counts
    slow = limited.name != ERRORS
    if slow and not slow_tick_ends(since_s=since_s, now_s=now_s):
        return replace(limited, since_s=since_s, block=block)
    cap = SLOW_CAP if slow else None
    passed_s = elapsed(since_s=since_s, now_s=now_s)
    after = replace(limited, since_s=None, block=NOTHING, exposure=limited.exposure + block)
    if block.stable_total and limited.basis == OBJECTIVE:
        factors = rate_log_factors(block.stable_total, block.stable_bad, limit=limited.limit, cap=cap)
        after = replace(after, stable_wealth=grow(limited.stable_wealth, factors, elapsed_s=passed_s))
    if not block.candidate_total or (slow and warming(since_s=since_s, fresh_s=fresh_s)):
        return after
    limit = limited.limit if limited.basis == OBJECTIVE else allowed_by_history(settings, budget, history, slow=slow)
    factors = rate_log_factors(block.candidate_total, block.candidate_bad, limit=limit, cap=cap)
    return replace(
        after,
        wealth=grow(limited.wealth, factors, elapsed_s=passed_s),
        exposure_wealth=grow(limited.exposure_wealth, factors, elapsed_s=passed_s),
    )


def allowed_by_history(settings: JudgeSettings, budget: Budget, history: Counts, *, slow: bool) -> float:
    """Return the upper confidence bound of stable's recorded rate, with the margins on top; 1 when nothing is recorded.

    The bound may be wrong with half of the criterion's share of the error budget; the other half is the evidence's.
    """
    bound = upper_rate(history.stable_total, history.stable_bad, log_level=history_needed(budget))
    if slow:
        return bound * SLOW_TOLERANCE
    return bound * (1.0 + settings.worse_than_percent / 100.0) + settings.and_percent / 100.0


def history_needed(budget: Budget) -> float:
    """Return the log evidence at which a comparison with history condemns: half of the budget went to the bound."""
    return budget.history + log(2.0)
