"""What is called healthy: by callers where there is a key, and where not, by how bad answers come together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judge_traffic import CANDIDATE, start, tally

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Verdict
from sternway.domain.tallies import ClusterKey, Reading, Unit
from sternway.judgement import begin_exposure, judge

KEYLESS = JudgeSettings(latency_quantiles=(), alone=())
KEYED = replace(KEYLESS, cluster_key=ClusterKey(header="x-user"))
BEGAN_S = 1000.0


def healthy_after(settings: JudgeSettings, *, storms_every_s: int, storm: int, keyed_bad: int = 1) -> int | None:
    """How many seconds of 20 good answers each it takes, while so many of stable's 180 a second are bad now and then."""
    evidence = start(settings)
    for at in range(1, 1200):
        bad = storm if at % storms_every_s == storms_every_s - 1 else 0
        counts = {Unit.REQUEST: bad, Unit.CLUSTER: min(bad, keyed_bad)}
        tallies = [
            tally(
                candidate=ours,
                total=20 if ours else 180,
                bad=0 if ours else counts[unit],
                at_s=BEGAN_S + at,
                start_s=BEGAN_S + at - 1,
                unit=unit,
            )
            for unit in (Unit.REQUEST, *([Unit.CLUSTER] if settings.cluster_key else []))
            for ours in (True, False)
        ]
        evidence, judgement = judge(settings, evidence, Reading(tallies=tuple(tallies)), now_s=BEGAN_S + at)
        if judgement.verdict is Verdict.HEALTHY:
            return at
    return None


def test_with_a_key_callers_count_and_not_requests() -> None:
    """Stable's errors by ten at a time: it takes as long as if each storm were one bad answer, not ten."""
    storms = healthy_after(KEYED, storms_every_s=20, storm=10)
    single = healthy_after(KEYED, storms_every_s=20, storm=1)
    assert storms is not None
    assert single is not None
    assert abs(storms - single) <= 2
    assert healthy_after(KEYED, storms_every_s=20, storm=10, keyed_bad=10) < single, "each request counted would hurry"


def test_without_a_key_storms_of_stable_make_it_careful() -> None:
    """The same number of stable's bad answers, one by one or by twenty: by twenty it takes at least twice as long."""
    single = healthy_after(KEYLESS, storms_every_s=3, storm=1)
    storms = healthy_after(KEYLESS, storms_every_s=60, storm=20)
    assert single is not None
    assert storms is not None
    assert storms >= 2 * single


def test_bad_answers_that_come_alone_slow_nothing_down() -> None:
    """Poisson errors of 1 %, twenty seeds: nine in ten are healthy within a quarter of the time that the windows allow."""
    rng = np.random.default_rng(3)
    took = []
    for _ in range(20):
        evidence: Evidence = start(KEYLESS)
        for at in range(1, 400):
            counts = ((True, 20, int(rng.binomial(20, 0.01))), (False, 180, int(rng.binomial(180, 0.01))))
            tallies = [
                tally(candidate=ours, total=total, bad=bad, at_s=BEGAN_S + at, start_s=BEGAN_S + at - 1)
                for ours, total, bad in counts
            ]
            evidence, judgement = judge(KEYLESS, evidence, Reading(tallies=tuple(tallies)), now_s=BEGAN_S + at)
            if judgement.verdict is Verdict.HEALTHY:
                took.append(at)
                break
    assert len(took) >= 18
    assert np.median(took) < 60


def test_a_suspected_version_must_be_shown_healthy_again() -> None:
    """Nothing is ruled out in the exposure after a withdrawal, though much had been before it."""
    evidence = start(KEYLESS)
    for at in range(1, 200):
        bad = 20 if at == 199 else 0
        counts = ((True, 20, bad), (False, 180, 0))
        tallies = tuple(
            tally(candidate=ours, total=total, bad=wrong, at_s=BEGAN_S + at, start_s=BEGAN_S + at - 1)
            for ours, total, wrong in counts
        )
        evidence, judgement = judge(KEYLESS, evidence, Reading(tallies=tallies), now_s=BEGAN_S + at)
    assert judgement.verdict is Verdict.SUSPECT
    assert evidence.candidate == CANDIDATE
    again, judged = judge(KEYLESS, begin_exposure(evidence), Reading(), now_s=BEGAN_S + 201)
    assert judged.excess_percent == pytest.approx(100.0)
    assert again.bounded.events == evidence.bounded.events, "what stable showed is kept"
