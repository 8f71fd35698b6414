"""Releases simulated through the real judge, seeded, and the fewest requests that any test could need. Used by `detect`."""

from __future__ import annotations

import math
import random

from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.tallies import ClusterKey, Reading, Tally, Unit
from sternway.judgement import begin, begin_exposure, judge

KEYED = JudgeSettings(cluster_key=ClusterKey(header="x-user"), latency_quantiles=())
STABLE, CANDIDATE = "stable", "candidate"
LOOK_EVERY_S = 1.0
AWAY_S = 5.0
LONGEST_S = 600.0
SECONDS = 1_000_000.0


def until_condemned(seed: int, *, rate_per_s: float, share: float, stable: float, candidate: float) -> Judgement:
    """Follow one release until it is condemned: a look each second, and at once after each bad answer of the candidate.

    Suspected, the candidate gets no traffic for a while, as in the engine; time without traffic is not simulated.
    """
    rng = random.Random(seed)
    evidence = begin(KEYED, stable=STABLE, candidate=CANDIDATE, stable_ms=())
    now_s = last_s = SECONDS
    counts = {STABLE: [0, 0], CANDIDATE: [0, 0]}
    while now_s < SECONDS + LONGEST_S:
        now_s += rng.expovariate(rate_per_s)
        ours = rng.random() < share
        bad = rng.random() < (candidate if ours else stable)
        count = counts[CANDIDATE if ours else STABLE]
        count[0] += 1
        count[1] += bad
        if not (ours and bad) and now_s - last_s < LOOK_EVERY_S:
            continue
        evidence, judgement = judge(KEYED, evidence, _reading(counts, last_s, now_s), now_s=now_s)
        counts = {STABLE: [0, 0], CANDIDATE: [0, 0]}
        last_s = now_s
        if judgement.verdict is Verdict.HARMFUL:
            return judgement
        if judgement.verdict is Verdict.SUSPECT:
            now_s = last_s = now_s + AWAY_S
            evidence = begin_exposure(evidence)
    msg = f"release {seed} was not condemned within {LONGEST_S:g} s"
    raise RuntimeError(msg)


def candidate_requests(judgement: Judgement) -> tuple[int, float]:
    """The candidate's requests that a judgement by the key rests on, and the evidence that it needed."""
    found = next(one for one in judgement.criteria if one.name == "errors" and one.unit == Unit.CLUSTER.value)
    return found.candidate_total, math.log(found.needed)


def bound(
    *, share: float, stable: float, candidate: float, log_needed: float, settings: JudgeSettings = KEYED
) -> float:
    """Give the fewest candidate requests on average for any test at this level and these margins (docs/judge.md)."""
    worse, floor = 1.0 + settings.worse_than_percent / 100.0, settings.and_percent / 100.0

    def information(rate: float) -> float:
        allowed = min(worse * rate + floor, 1.0 - 1e-12)
        return share * _divergence(candidate, allowed) + (1.0 - share) * _divergence(stable, rate)

    cheapest = min(information(1e-5 * 1.005**step) for step in range(2280))
    return share * log_needed / cheapest


def _divergence(p: float, q: float) -> float:
    return sum(a * math.log(a / b) for a, b in ((p, q), (1.0 - p, 1.0 - q)) if a > 0.0)


def _reading(counts: dict[str, list[int]], start_s: float, end_s: float) -> Reading:
    return Reading(
        tallies=tuple(
            Tally(version=v, criterion="errors", unit=unit, start_s=start_s, end_s=end_s, total=total, bad=bad)
            for v, (total, bad) in counts.items()
            if total
            for unit in (Unit.REQUEST, Unit.CLUSTER)
        )
    )
