"""Absolute objectives, trouble that is common, and the comparison with history after a switch."""

from __future__ import annotations

import pytest
from judge_traffic import CANDIDATE, KEYLESS, STABLE, start, tally

from sternway.domain.evidence import Counts, Evidence
from sternway.domain.guards import JudgeSettings, Objectives
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.tallies import ClusterKey, LatencyThreshold, Reading
from sternway.judgement import begin_exposure, judge, question
from sternway.judgement.budget import budget, count_objectives
from sternway.judgement.limits import allowed_by_history

OBJECTIVE = JudgeSettings(
    latency_quantiles=(), objectives=Objectives(availability_percent=99.0), worse_than_percent=10_000.0
)


def _run(
    settings: JudgeSettings,
    evidence: Evidence,
    *,
    at_s: float,
    seconds: int,
    candidate: tuple[int, int],
    stable: tuple[int, int],
    criterion: str = "errors",
    concurrent: bool = True,
) -> tuple[Evidence, Judgement, float]:
    judgement = None
    for _ in range(seconds):
        at_s += 1.0
        tallies = tuple(
            tally(candidate=ours, total=total, bad=bad, at_s=at_s, criterion=criterion)
            for ours, (total, bad) in ((True, candidate), (False, stable))
            if total
        )
        evidence, judgement = judge(settings, evidence, Reading(tallies=tallies), now_s=at_s, concurrent=concurrent)
        if judgement.verdict is Verdict.HARMFUL:
            break
    assert judgement
    return evidence, judgement, at_s


def test_a_candidate_that_misses_the_objective_alone_is_suspected_then_condemned() -> None:
    """10 % errors where 1 % may be: the first exposure suspects, the second condemns, by the objective alone."""
    evidence, judgement, at_s = _run(
        OBJECTIVE, start(OBJECTIVE), at_s=1000, seconds=10, candidate=(40, 4), stable=(160, 0)
    )
    assert (judgement.verdict, judgement.criterion) == (Verdict.SUSPECT, "errors-objective")
    assert "where the objective allows 1 %" in judgement.sentence
    _, judgement, _ = _run(
        OBJECTIVE, begin_exposure(evidence), at_s=at_s, seconds=10, candidate=(40, 4), stable=(160, 0)
    )
    assert (judgement.verdict, judgement.criterion) == (Verdict.HARMFUL, "errors-objective")


def test_when_both_miss_the_objective_it_is_common_trouble_and_nobody_is_blamed() -> None:
    """10 % errors on both sides: no suspicion however long it lasts, and a sentence that says so."""
    _, judgement, _ = _run(OBJECTIVE, start(OBJECTIVE), at_s=1000, seconds=60, candidate=(40, 4), stable=(160, 16))
    assert judgement.verdict not in (Verdict.SUSPECT, Verdict.HARMFUL)
    assert judgement.common_trouble
    assert STABLE in judgement.common_trouble
    assert CANDIDATE in judgement.common_trouble
    assert "not to blame" in judgement.common_trouble


def test_common_trouble_that_is_over_is_no_longer_said() -> None:
    """After five minutes of good answers the sentence is gone."""
    evidence, judgement, at_s = _run(
        OBJECTIVE, start(OBJECTIVE), at_s=1000, seconds=20, candidate=(40, 4), stable=(160, 16)
    )
    assert judgement.common_trouble
    _, judgement, _ = _run(OBJECTIVE, evidence, at_s=at_s, seconds=300, candidate=(40, 0), stable=(160, 0))
    assert judgement.common_trouble is None


def test_a_latency_objective_is_asked_for_and_judged() -> None:
    """p99 under 500 ms: the question carries the limit for both versions; 10 % above it raises suspicion."""
    settings = JudgeSettings(latency_quantiles=(), objectives=Objectives(latency_ms=((0.99, 500.0),)))
    evidence = start(settings)
    assert question(settings, evidence, candidate_percent=5).latency == (
        LatencyThreshold(criterion="objective-p99", stable_ms=500.0, candidate_ms=500.0),
    )
    _, judgement, _ = _run(
        settings, evidence, at_s=1000, seconds=60, candidate=(40, 4), stable=(160, 1), criterion="objective-p99"
    )
    assert (judgement.verdict, judgement.criterion) == (Verdict.SUSPECT, "objective-p99")
    assert "took longer than 500 ms" in judgement.sentence


def test_after_a_switch_a_total_failure_is_suspected_by_history_in_the_first_reading() -> None:
    """Stable's record of 2 in 2,000 stands in for the control group; ten failures of ten are enough."""
    evidence, _, at_s = _run(KEYLESS, start(KEYLESS), at_s=1000, seconds=10, candidate=(0, 0), stable=(200, 0))
    evidence, judgement, _ = _run(
        KEYLESS, evidence, at_s=at_s, seconds=1, candidate=(10, 10), stable=(0, 0), concurrent=False
    )
    assert (judgement.verdict, judgement.criterion) == (Verdict.SUSPECT, "errors-history")
    assert f"of {STABLE} before it" in judgement.sentence


def test_after_a_switch_only_a_second_exposure_condemns() -> None:
    """The first can be a coincidence with common trouble; stable's answers in between tell."""
    evidence, _, at_s = _run(KEYLESS, start(KEYLESS), at_s=1000, seconds=10, candidate=(0, 0), stable=(200, 0))
    evidence, judgement, at_s = _run(
        KEYLESS, evidence, at_s=at_s, seconds=20, candidate=(200, 200), stable=(0, 0), concurrent=False
    )
    assert judgement.verdict is Verdict.SUSPECT
    calm, _, later_s = _run(KEYLESS, evidence, at_s=at_s, seconds=10, candidate=(0, 0), stable=(200, 0))
    _, judgement, _ = _run(
        KEYLESS, begin_exposure(calm), at_s=later_s, seconds=2, candidate=(200, 200), stable=(0, 0), concurrent=False
    )
    assert (judgement.verdict, judgement.criterion) == (Verdict.HARMFUL, "errors-history")
    common, _, later_s = _run(KEYLESS, evidence, at_s=at_s, seconds=10, candidate=(0, 0), stable=(200, 190))
    _, judgement, _ = _run(
        KEYLESS, begin_exposure(common), at_s=later_s, seconds=2, candidate=(200, 100), stable=(0, 0), concurrent=False
    )
    assert judgement.verdict is Verdict.UNDECIDED, "stable was as bad meanwhile"


def test_after_a_switch_an_equal_error_rate_is_not_suspected() -> None:
    """1 % before and 1 % after, for a quarter of an hour."""
    evidence, _, at_s = _run(KEYLESS, start(KEYLESS), at_s=1000, seconds=60, candidate=(0, 0), stable=(200, 2))
    _, judgement, _ = _run(
        KEYLESS, evidence, at_s=at_s, seconds=900, candidate=(200, 2), stable=(0, 0), concurrent=False
    )
    assert judgement.verdict is Verdict.UNDECIDED


def test_without_history_nothing_is_said_after_a_switch() -> None:
    """No recorded answer of stable: everything is allowed, nothing is suspected."""
    assert allowed_by_history(KEYLESS, budget(KEYLESS), Counts(), slow=False) >= 1.0
    _, judgement, _ = _run(
        KEYLESS, start(KEYLESS), at_s=1000, seconds=5, candidate=(200, 200), stable=(0, 0), concurrent=False
    )
    assert judgement.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    "settings",
    [
        JudgeSettings(),
        JudgeSettings(cluster_key=ClusterKey(header="x-user")),
        JudgeSettings(latency_quantiles=()),
        JudgeSettings(objectives=Objectives(availability_percent=99.9, latency_ms=((0.99, 500.0), (0.5, 50.0)))),
    ],
    ids=["default", "key", "errors alone", "objectives"],
)
def test_one_error_budget_is_shared_among_all_that_condemn(settings: JudgeSettings) -> None:
    """The chances of all criteria that can condemn sum to the promised rate, not more."""
    spent = budget(settings)
    quantiles = len(settings.latency_quantiles)
    parts = [
        1.0 / spent.keyed if settings.cluster_key else 0.0,
        1.0 / spent.rounds,
        len(settings.alone) * (2 if settings.cluster_key else 1) / spent.alone,
        quantiles * 1.0 / spent.latency,
        count_objectives(settings) * 1.0 / spent.objective,
        (1 + quantiles) * 1.0 / spent.history,
        1.0 / spent.shared,
    ]
    assert sum(parts) == pytest.approx(settings.false_rollback_rate)
