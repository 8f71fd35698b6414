"""Ratios of two counters, and slow answers of a histogram: the candidate's beside stable's. Called by `metrics`.

Counters tell nothing of which events belong together: one caller's storm looks like many events. So the evidence weighs in the
intervals between two readings, and

- what condemns counts clusters, not events. How large they are, stable's own intervals say: as large as its counts
  vary more than those of separate events would. Until it has shown enough, all that is bad of the candidate in an
  interval is one event, and stable's are as many as they are.
- what withdraws counts events, since that is cheap and reversible, but an interval no more than so many times: two
  bad ones are needed.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

import numpy as np

from sternway.domain.evidence import Counts, Shared
from sternway.domain.metrics import Metric
from sternway.judgement.blocks import MAX_BLOCK_S, SLOW_TOLERANCE, block_ends
from sternway.judgement.packing import as_row
from sternway.stats.shares import WORSE, share_factors
from sternway.stats.wealth import grow, new_wealth

CAP = 4.0
SUSPECT_CAP = 8.0
ENOUGH_INTERVALS, ENOUGH_BAD = 20, 10
"""So much of stable says how its bad events cluster."""


def new_ratio(metric: Metric) -> Shared:
    """Nothing counted yet."""
    wealth = new_wealth(len(WORSE))
    return Shared(name=metric.name, wealth=wealth, exposure_wealth=wealth)


def weigh_ratio(metric: Metric, known: Shared, counts: Counts, *, start_s: float, now_s: float) -> Shared:
    """Add an interval's counts to the open block, and weigh the block when it is large or old enough."""
    if counts == Counts() and known.since_s is None:
        return known
    since_s = start_s if known.since_s is None else known.since_s
    block, release = known.block + counts, known.release + counts
    if not block_ends(np.array(as_row(block)), since_s=since_s, now_s=now_s):
        return replace(known, since_s=since_s, block=block, release=release)
    # Cash waits while the candidate has no traffic: nothing can come to light then.
    passed_s = min(max(now_s - since_s, 0.0), max(MAX_BLOCK_S, metric.interval_s)) if block.candidate_total else 0.0
    clusters = _clusters(block, cluster_size(known))
    squares = block.stable_bad * block.stable_bad / block.stable_total if block.stable_total else 0.0
    return replace(
        known,
        since_s=None,
        block=Counts(),
        release=release,
        intervals=known.intervals + (block.stable_total > 0),
        squares=known.squares + squares,
        wealth=_grown(known.wealth, np.minimum(_factors(metric, clusters), CAP), passed_s),
        exposure_wealth=_grown(known.exposure_wealth, np.minimum(_factors(metric, block), SUSPECT_CAP), passed_s),
    )


def cluster_size(known: Shared) -> float | None:
    """How many bad events come together, by the dispersion of stable's intervals; None while it has shown too little."""
    counted = known.release
    if known.intervals < ENOUGH_INTERVALS or counted.stable_bad < ENOUGH_BAD:
        return None
    share = counted.stable_bad / counted.stable_total
    return max(1.0, (known.squares / share - counted.stable_bad) / (known.intervals - 1))


def _clusters(block: Counts, size: float | None) -> Counts:
    """Bad events as clusters, in doubt fewer of the candidate's and more of stable's."""
    if size is None:
        ours, theirs = min(1, block.candidate_bad), block.stable_bad
    else:
        ours, theirs = floor(block.candidate_bad / size), ceil(block.stable_bad / size)
    return replace(block, candidate_bad=ours, stable_bad=theirs)


def _factors(metric: Metric, block: Counts) -> np.ndarray:
    ratio = metric.ratio
    return share_factors(
        block.candidate_total,
        block.candidate_bad,
        block.stable_total,
        block.stable_bad,
        tolerance=1.0 + ratio.worse_than_percent / 100.0 if ratio else SLOW_TOLERANCE,
        floor=ratio.and_percent / 100.0 if ratio else 0.0,
    )


def _grown(wealth: tuple[float, ...], factors: np.ndarray, passed_s: float) -> tuple[float, ...]:
    return tuple(grow(np.array(wealth), factors, passed_s).tolist())
