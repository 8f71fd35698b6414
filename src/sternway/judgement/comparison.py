"""One criterion of the candidate beside stable, as evidence. Called by `fold`."""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.evidence import Compared, Counts
from sternway.domain.guards import JudgeSettings
from sternway.domain.tallies import Unit
from sternway.judgement.blocks import SLOW_CAP, SLOW_TOLERANCE, block_ends, elapsed, slow_tick_ends, warming
from sternway.judgement.counting import NOTHING
from sternway.stats.shares import BETS, TwoArms, share_log_factors
from sternway.stats.wealth import grow, new_wealth

ERRORS = "errors"


def new_comparison(name: str, unit: Unit) -> Compared:
    """Nothing seen yet."""
    wealth = new_wealth(BETS)
    return Compared(name=name, unit=unit.value, wealth=wealth, exposure_wealth=wealth)


def compare(
    settings: JudgeSettings,
    compared: Compared,
    counts: Counts,
    *,
    start_s: float,
    now_s: float,
    fresh_s: float | None,
) -> Compared:
    """Add counts to the open block, and weigh it when it ends."""
    since_s = compared.since_s
    if counts is NOTHING and since_s is None:
        return compared
    block, release = compared.block + counts, compared.release + counts
    since_s = start_s if since_s is None else since_s
    slow = compared.name != ERRORS
    ends = block_ends(block, since_s=since_s, now_s=now_s)
    if not ends or (slow and not slow_tick_ends(since_s=since_s, now_s=now_s)):
        return replace(compared, since_s=since_s, block=block, release=release)
    if slow and warming(since_s=since_s, fresh_s=fresh_s):
        return replace(compared, since_s=None, block=NOTHING, release=release)
    factors = share_log_factors(
        arms_of(block),
        tolerance=SLOW_TOLERANCE if slow else 1.0 + settings.worse_than_percent / 100.0,
        floor=0.0 if slow else settings.and_percent / 100.0,
        cap=SLOW_CAP if slow else None,
    )
    # Cash waits while the candidate has no traffic: nothing can come to light then.
    passed_s = elapsed(since_s=since_s, now_s=now_s) if block.candidate_total else 0.0
    return replace(
        compared,
        since_s=None,
        block=NOTHING,
        release=release,
        wealth=grow(compared.wealth, factors, elapsed_s=passed_s),
        exposure_wealth=grow(compared.exposure_wealth, factors, elapsed_s=passed_s),
    )


def arms_of(counts: Counts) -> TwoArms:
    """Take the candidate as arm 1, stable as arm 0."""
    return TwoArms(
        total1=counts.candidate_total, bad1=counts.candidate_bad, total0=counts.stable_total, bad0=counts.stable_bad
    )
