"""A value beside stable's, by the sign of the difference. Called by `metrics`.

If the candidate is no worse, candidate and stable are exchangeable at any moment, and the candidate's value is the worse one
with a chance of at most one half, whatever the values are and whatever happens to both alike. Each sign is a bet on that.

Values that follow each other are not news: what was high a second ago is high now. So readings are gathered in blocks,
and a block has one sign, that of most of its readings. It is as long as the autocorrelation of stable's own series
says, twice (1 + r) / (1 - r) readings with r that of neighbours (once, and neighbouring blocks still resemble each
other too much: measured, 3 % instead of 1 %), and never shorter than what one value looks back. Few readings show too
small an r, by (1 + 3 r) / n on average, which is added. The length is fixed before the block begins.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np

from sternway.domain.evidence import Ranked
from sternway.domain.metrics import Metric, Sample, Versus, Worse
from sternway.stats.wealth import grow, new_wealth

STAKES = np.array((0.3, 0.6, 0.9))
"""What each bet stakes on the candidate being worse in the next block."""
ENOUGH = 20
"""So many readings of stable say how long its values last."""
UNKNOWN_LENGTH = 12
LONGEST = 80


SMALL = 0.1
"""Below this, readings count one by one: it is what independent ones show by chance."""


def new_ranked(metric: Metric) -> Ranked:
    """Nothing read yet."""
    wealth = new_wealth(len(STAKES))
    return Ranked(name=metric.name, wealth=wealth, exposure_wealth=wealth)


def weigh_sample(metric: Metric, known: Ranked, sample: Sample, *, blamed: bool) -> Ranked:
    """Take in one reading; at the end of a block, its sign. blamed: the candidate has traffic, so its value counts."""
    assert metric.versus is not None
    stable, candidate = sample.stable, sample.candidate
    if stable is None:
        return known
    known = _learn(known, stable)
    if candidate is None or not blamed:
        return known
    length = known.length or block_length(metric, known)
    pairs = known.pairs + 1
    worse = known.worse + is_worse(metric.versus, candidate=candidate, stable=stable)
    since_s = sample.at_s if known.since_s is None else known.since_s
    known = replace(known, length=length, pairs=pairs, worse=worse, since_s=since_s, candidate=candidate, stable=stable)
    return known if pairs < length else _finish(metric, known, sample.at_s - since_s)


def is_worse(versus: Versus, *, candidate: float, stable: float) -> bool:
    """Whether the candidate's value is worse than stable's by more than the margin. A tie spares it."""
    margin = abs(stable) * versus.worse_than_percent / 100.0 + versus.and_value
    return candidate > stable + margin if versus.worse is Worse.HIGHER else candidate < stable - margin


def block_length(metric: Metric, known: Ranked) -> int:
    """How many readings are one piece of evidence."""
    least = max(1, ceil(metric.spans_s / metric.interval_s))
    return min(max(least, UNKNOWN_LENGTH if known.readings < ENOUGH else _lasting(known)), max(least, LONGEST))


def _lasting(known: Ranked) -> int:
    mean = known.total / known.readings
    variance = known.squares / known.readings - mean * mean
    if variance <= 1e-12 * max(1.0, mean * mean):
        return 1
    neighbours = known.products / (known.readings - 1) - mean * mean
    r = neighbours / variance
    r = min(max(r + (1.0 + 3.0 * r) / known.readings, 0.0), 0.95)
    return 1 if r < SMALL else ceil(2.0 * (1.0 + r) / (1.0 - r) - 1e-9)


def _learn(known: Ranked, stable: float) -> Ranked:
    """Stable's own series, as sums of its distance to the first value."""
    first = stable if known.readings == 0 else known.first
    x = stable - first
    before = (known.stable if known.stable is not None else first) - first
    return replace(
        known,
        stable=stable,
        first=first,
        readings=known.readings + 1,
        total=known.total + x,
        squares=known.squares + x * x,
        products=known.products + (x * before if known.readings else 0.0),
    )


def _finish(metric: Metric, known: Ranked, passed_s: float) -> Ranked:
    won = 2 * known.worse > known.pairs
    factors = 1.0 + STAKES if won else 1.0 - STAKES
    passed_s = max(0.0, passed_s) + metric.interval_s
    return replace(
        known,
        length=0,
        pairs=0,
        worse=0,
        since_s=None,
        blocks=known.blocks + 1,
        blocks_worse=known.blocks_worse + won,
        wealth=tuple(grow(np.array(known.wealth), factors, passed_s).tolist()),
        exposure_wealth=tuple(grow(np.array(known.exposure_wealth), factors, passed_s).tolist()),
    )
