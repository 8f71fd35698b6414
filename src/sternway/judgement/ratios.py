"""Ratios of two counters, and slow answers of a histogram: the candidate's beside stable's. Called by `metrics`.

Counters tell nothing of which events belong together: one caller's storm looks like many events. So the evidence
weighs in the intervals between two readings, and an interval counts at most so many times, however bad it is: two bad ones
suspect, and no three of them condemn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sternway.domain.evidence import Compared, Counts
from sternway.domain.metrics import Metric
from sternway.judgement.blocks import MAX_BLOCK_S, SLOW_TOLERANCE, block_ends
from sternway.judgement.comparison import as_row
from sternway.stats.shares import WORSE, share_factors
from sternway.stats.wealth import grow, new_wealth

CAP = 4.0
SUSPECT_CAP = 8.0
INTERVAL = "interval"


def new_ratio(metric: Metric) -> Compared:
    """Nothing counted yet."""
    wealth = new_wealth(len(WORSE))
    return Compared(name=metric.name, unit=INTERVAL, wealth=wealth, exposure_wealth=wealth)


def weigh_ratio(metric: Metric, known: Compared, counts: Counts, *, start_s: float, now_s: float) -> Compared:
    """Add an interval's counts to the open block, and weigh the block when it is large or old enough."""
    if counts == Counts() and known.since_s is None:
        return known
    since_s = start_s if known.since_s is None else known.since_s
    block, release = known.block + counts, known.release + counts
    if not block_ends(np.array(as_row(block)), since_s=since_s, now_s=now_s):
        return replace(known, since_s=since_s, block=block, release=release)
    ratio = metric.ratio
    factors = share_factors(
        block.candidate_total,
        block.candidate_bad,
        block.stable_total,
        block.stable_bad,
        tolerance=1.0 + ratio.worse_than_percent / 100.0 if ratio else SLOW_TOLERANCE,
        floor=ratio.and_percent / 100.0 if ratio else 0.0,
    )
    # Cash waits while the candidate has no traffic: nothing can come to light then.
    passed_s = min(max(now_s - since_s, 0.0), max(MAX_BLOCK_S, metric.interval_s)) if block.candidate_total else 0.0
    return replace(
        known,
        since_s=None,
        block=Counts(),
        release=release,
        wealth=_grown(known.wealth, np.minimum(factors, CAP), passed_s),
        exposure_wealth=_grown(known.exposure_wealth, np.minimum(factors, SUSPECT_CAP), passed_s),
    )


def _grown(wealth: tuple[float, ...], factors: np.ndarray, passed_s: float) -> tuple[float, ...]:
    return tuple(grow(np.array(wealth), factors, passed_s).tolist())
