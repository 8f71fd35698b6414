"""What a fresh version shows may pass: it withdraws, and does not condemn. What it shows once it is warm does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judge_traffic import start, tally

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings, Objectives
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.tallies import ClusterKey, Reading, Unit
from sternway.judgement import begin_exposure, judge
from sternway.judgement.comparison import FIRST_BAD

KEYED = JudgeSettings(cluster_key=ClusterKey(header="x-user"), latency_quantiles=(), alone=(), warm_up_s=60.0)
BEGAN_S = 1000.0


def second(at_s: float, *, total: int, bad: int) -> Reading:
    """A second's answers: so many of the candidate, and 180 good ones of stable."""
    counts = ((True, total, bad), (False, 180, 0))
    return Reading(
        tallies=tuple(
            tally(candidate=ours, total=total, bad=bad, at_s=at_s, start_s=at_s - 1.0, unit=unit)
            for unit in (Unit.REQUEST, Unit.CLUSTER)
            for ours, total, bad in counts
            if total
        )
    )


def seen(
    settings: JudgeSettings, evidence: Evidence, seconds: range, *, total: int, bad: int
) -> tuple[Evidence, Judgement]:
    """Follow some seconds after the first answer; suspected, it is exposed again at once."""
    judgement = None
    for at in seconds:
        reading = second(BEGAN_S + at, total=total, bad=bad)
        evidence, judgement = judge(settings, evidence, reading, now_s=BEGAN_S + at)
        if judgement.verdict is Verdict.SUSPECT:
            evidence = begin_exposure(evidence)
    assert judgement is not None
    return evidence, judgement


def evidence_of(judgement: Judgement) -> float:
    """The evidence by the key."""
    return next(one.e_value for one in judgement.criteria if one.unit == Unit.CLUSTER.value)


def test_a_cold_version_is_suspected_and_not_condemned() -> None:
    """Half of its answers are bad for half a minute: suspected again and again, with no evidence that condemns."""
    evidence, judgement = seen(KEYED, start(KEYED), range(1, 31), total=20, bad=10)
    assert evidence.withdrawals > 5
    assert evidence_of(judgement) == pytest.approx(1.0)
    told = [
        judge(replace(KEYED, warm_up_s=0.0), start(KEYED), second(BEGAN_S + 1, total=20, bad=10), now_s=BEGAN_S + 1)
    ]
    assert told[0][1].verdict is Verdict.HARMFUL, "without a warm-up one second of it condemns"


def test_once_warm_it_is_condemned_as_if_nothing_had_been() -> None:
    """Bad while cold and after: the same number of bad answers condemns as one that was good while cold."""
    needed = {}
    for cold_bad in (0, 10):
        evidence, _ = seen(KEYED, start(KEYED), range(1, 61), total=20, bad=cold_bad)
        for at in range(61, 80):
            evidence, judgement = seen(KEYED, evidence, range(at, at + 1), total=20, bad=2)
            if judgement.verdict is Verdict.HARMFUL:
                needed[cold_bad] = at
                break
    assert needed[10] == needed[0] <= 63


def test_a_version_that_was_bad_while_cold_and_is_well_now_is_never_condemned() -> None:
    """An hour of good answers after a bad minute leaves the evidence where it began, or lower."""
    evidence, _ = seen(KEYED, start(KEYED), range(1, 60), total=20, bad=15)
    evidence, judgement = seen(KEYED, evidence, range(60, 600), total=20, bad=0)
    assert judgement.verdict is not Verdict.HARMFUL
    assert evidence_of(judgement) <= 1.0


def test_of_the_first_requests_a_few_may_fail_whenever_they_come() -> None:
    """A cache that is filled by requests: hardly asked in its first minute, the first bad answers still condemn nothing."""
    evidence, _ = judge(KEYED, start(KEYED), second(BEGAN_S + 1, total=1, bad=0), now_s=BEGAN_S + 1)
    for at in range(FIRST_BAD):
        evidence, judgement = judge(
            KEYED, evidence, second(BEGAN_S + 100 + at, total=1, bad=1), now_s=BEGAN_S + 100 + at
        )
        assert judgement.verdict is Verdict.SUSPECT
        assert evidence_of(judgement) == pytest.approx(1.0)
        evidence = begin_exposure(evidence)
    for at in range(200, 204):
        evidence, judgement = judge(KEYED, evidence, second(BEGAN_S + at, total=1, bad=1), now_s=BEGAN_S + at)
    assert judgement.verdict is Verdict.HARMFUL, "what goes on condemns"


def test_a_version_that_was_asked_often_gets_no_bad_answers_for_free() -> None:
    """Well through its first minute and three hundred requests: its next bad answers count from the first on."""
    evidence, _ = seen(KEYED, start(KEYED), range(1, 70), total=20, bad=0)
    _, judgement = judge(KEYED, evidence, second(BEGAN_S + 70, total=20, bad=FIRST_BAD - 1), now_s=BEGAN_S + 70)
    assert judgement.verdict is Verdict.HARMFUL


def test_an_objective_is_missed_only_by_a_warm_version() -> None:
    """Suspected twice for its availability within a minute, it is not condemned for that; after the minute it is."""
    settings = JudgeSettings(
        latency_quantiles=(), alone=(), objectives=Objectives(availability_percent=99.0), warm_up_s=60.0
    )
    evidence, judgement = seen(settings, start(settings), range(1, 59), total=20, bad=8)
    assert evidence.withdrawals > 3
    assert {one.name for one in judgement.criteria} >= {"errors-objective"}
    assert next(one.e_value for one in judgement.criteria if one.name == "errors-objective") == pytest.approx(1.0)
    _, judgement = seen(settings, evidence, range(62, 66), total=20, bad=8)
    assert next(one.e_value for one in judgement.criteria if one.name == "errors-objective") > 1000.0
