"""Many releases side by side: each gets the same bits as alone."""

from __future__ import annotations

import numpy as np
import pytest
from judge_traffic import STABLE, start, tally

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings, Objectives
from sternway.domain.judgements import Verdict
from sternway.domain.tallies import ClusterKey, Reading, Tally, Unit
from sternway.judgement import begin_exposure, columns, judge
from sternway.judgement.budget import budget
from sternway.judgement.counting import count

QUANTILES = ((0.5, 60.0), (0.9, 130.0), (0.99, 290.0))
SETTINGS = {
    "without a key": JudgeSettings(),
    "with a key": JudgeSettings(cluster_key=ClusterKey(header="x-user")),
    "objectives": JudgeSettings(objectives=Objectives(availability_percent=99.0, latency_ms=((0.99, 400.0),))),
}
RELEASES, LOOKS = 12, 60


def _reading(rng: np.random.Generator, settings: JudgeSettings, *, bad: float, now_s: float) -> Reading:
    """A second of 200 requests, 10 % of them the candidate's, with nine arms; sometimes a burst."""
    burst = int(rng.integers(0, 30)) if rng.random() < 0.1 else 0
    units = [Unit.REQUEST, *([Unit.CLUSTER] if settings.cluster_key and rng.random() < 0.9 else [])]
    ours = int(rng.poisson(20))
    arms = rng.binomial(20, 0.01, 9)
    arms[0] = min(20, arms[0] + burst)
    both = ((True, ours, int(rng.binomial(ours, bad))), (False, 180, int(arms.sum())))
    slow = ("latency-p50", "latency-p90", "latency-p99", "objective-p99")

    def told(candidate: bool, total: int, wrong: int, **more: object) -> Tally:
        return tally(candidate=candidate, total=total, bad=wrong, at_s=now_s, start_s=now_s - 1, **more)

    tallies = [told(*counted, unit=unit) for counted in both for unit in units]
    tallies += [told(False, 20, wrong, arm=arm) for arm, wrong in enumerate(arms.tolist())]
    tallies += [
        told(candidate, total, int(rng.binomial(total, 0.1)), criterion=criterion)
        for criterion in slow
        for candidate, total, _ in both
    ]
    return Reading(tallies=tuple(tallies))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_release_gets_the_same_bits_alone_and_in_a_batch(settings: JudgeSettings) -> None:
    """Twelve releases over a minute, good and bad, exposed again and again: equal evidence, equal verdicts."""
    spent = budget(settings)
    alone: list[Evidence] = [start(settings, QUANTILES) for _ in range(RELEASES)]
    packed = columns.pack(alone)
    rngs = [np.random.default_rng(seed) for seed in range(RELEASES)]
    verdicts: set[Verdict] = set()
    for look in range(LOOKS):
        now_s, concurrent = 1_000_001.0 + look, np.arange(RELEASES) % 5 != look % 7
        readings = [_reading(rng, settings, bad=0.01 * (1 + 4 * (i % 3)), now_s=now_s) for i, rng in enumerate(rngs)]
        batches = [count(one, seen, now_s=now_s) for one, seen in zip(alone, readings, strict=True)]
        batch = columns.Batch(
            **{name: np.concatenate([getattr(one, name) for one in batches]) for name in columns.Batch.__slots__}
        )
        times = np.full(RELEASES, now_s)
        packed = columns.fold(settings, spent, packed, batch, now_s=times, concurrent=concurrent)
        standing = columns.stand(spent, packed, concurrent=concurrent)
        packed = columns.suspect(packed, standing.suspected)
        for i in range(RELEASES):
            alone[i], said = judge(settings, alone[i], readings[i], now_s=now_s, concurrent=bool(concurrent[i]))
            verdicts.add(said.verdict)
            assert standing.harmful[i] == (said.verdict is Verdict.HARMFUL)
            assert standing.suspected[i] == bool(alone[i].suspected)
            assert standing.healthy[i] == (said.verdict is Verdict.HEALTHY)
            assert columns.unpack(packed, alone[i], i) == alone[i]
        if look % 9 == 8:
            packed = columns.expose(packed, standing.suspected)
            alone = [begin_exposure(one) if one.suspected else one for one in alone]
    assert {Verdict.SUSPECT, Verdict.UNDECIDED, Verdict.HARMFUL} <= verdicts
    assert alone[0].stable == STABLE
