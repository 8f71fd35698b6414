"""Kinds of errors that count alone: 4xx answers by default, where there are very many more of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judge_traffic import CANDIDATE, KEYED, KEYLESS, start, tally

from sternway.domain.guards import Alone, JudgeSettings
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.tallies import ErrorClass, Reading, Unit
from sternway.judgement import begin_exposure, judge, question

CLIENT = ErrorClass.CLIENT.criterion


def _second(settings: JudgeSettings, at_s: float, *, candidate: int, stable: int, arm: int = 0) -> Reading:
    """20 answers of the candidate and 180 of stable, so many of them 4xx; no other errors."""
    units = (Unit.REQUEST, Unit.CLUSTER) if settings.cluster_key else (Unit.REQUEST,)
    numbers = ((True, 20, candidate), (False, 180, stable))
    return Reading(
        tallies=(
            *(
                tally(candidate=ours, total=total, bad=bad, at_s=at_s, criterion=criterion, unit=unit)
                for ours, total, wrong in numbers
                for criterion, bad in (("errors", 0), (CLIENT, wrong))
                for unit in units
            ),
            *(tally(candidate=False, total=20, bad=arm, at_s=at_s, criterion=CLIENT, arm=index) for index in range(9)),
            *(tally(candidate=False, total=20, bad=0, at_s=at_s, arm=index) for index in range(9)),
        )
    )


def _follow(settings: JudgeSettings, *, candidate: int, stable: int, arm: int = 0, seconds: int = 60) -> Judgement:
    evidence, at_s = start(settings), 1000.0
    for _ in range(seconds):
        at_s += 1.0
        seen = _second(settings, at_s, candidate=candidate, stable=stable, arm=arm)
        evidence, judgement = judge(settings, evidence, seen, now_s=at_s)
        if judgement.verdict is Verdict.HARMFUL:
            break
        if judgement.verdict is Verdict.SUSPECT:
            evidence = begin_exposure(evidence)
    return judgement


@pytest.mark.parametrize("settings", [KEYED, KEYLESS], ids=["with a key", "without"])
def test_a_version_that_refuses_everybody_is_condemned_for_client_errors_alone(settings: JudgeSettings) -> None:
    """Every answer is 401: no error of the server, and yet taken back, in words that say why."""
    judgement = _follow(settings, candidate=20, stable=2)
    assert (judgement.verdict, judgement.criterion) == (Verdict.HARMFUL, CLIENT)
    assert "were client errors (4xx)" in judgement.sentence
    assert CANDIDATE in judgement.sentence


@pytest.mark.parametrize("settings", [KEYED, KEYLESS], ids=["with a key", "without"])
def test_some_more_client_errors_are_no_harm(settings: JudgeSettings) -> None:
    """5 % become 10 %: a stricter check of what callers send, say. It is within twice as many and five points."""
    judgement = _follow(settings, candidate=2, stable=9, arm=1)
    assert judgement.verdict is not Verdict.HARMFUL
    assert next(one.e_value for one in judgement.criteria if one.name == CLIENT) < 2.0


def test_the_question_asks_for_what_counts_alone() -> None:
    """Signals count what the Guard wants to see, and nothing where it wants nothing."""
    assert question(KEYLESS, start(KEYLESS), candidate_percent=10).alone == (ErrorClass.CLIENT,)
    none = replace(KEYLESS, alone=())
    assert question(none, start(none), candidate_percent=10).alone == ()


def test_margins_are_the_guards() -> None:
    """Time-outs that may not rise at all are condemned where the default margins would bear them."""
    strict = replace(KEYED, alone=(Alone(kind=ErrorClass.CLIENT, worse_than_percent=0.0, and_percent=0.0),))
    assert _follow(strict, candidate=4, stable=9).criterion == CLIENT
