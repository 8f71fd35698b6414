"""Harm to something shared: both versions suffer while the candidate is exposed, and recover while it is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp

import pytest
from judge_traffic import CANDIDATE, KEYED, KEYLESS, STABLE, binomial_limit, start, tally

from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.tallies import Reading, Unit
from sternway.judgement import begin_exposure, judge
from sternway.judgement.crossover import STAKES, WINDOW_S, crossover_evidence

AWAY_S = 30.0


def _follow(
    rng: random.Random,
    errors: Callable[[float, bool], float],
    *,
    settings: JudgeSettings = KEYLESS,
    seconds: int = 400,
) -> tuple[Judgement, int]:
    """Follow a release second by second; `errors(second, exposed)` is the error rate of both versions."""
    evidence, away_until, withdrawals = start(settings), 20, 0
    for second in range(seconds):
        exposed = second >= away_until
        rate, now_s = errors(second, exposed), 1_000_000.0 + second
        tallies = [
            _side(rng, 90, rate, now_s, candidate=False),
            *([_side(rng, 10, rate, now_s, candidate=True)] * exposed),
        ]
        arms = [_side(rng, 10, rate, now_s, candidate=False, arm=arm) for arm in range(9)]
        keyed = [_side(rng, 90, rate, now_s, candidate=False, unit=Unit.CLUSTER)] if settings.cluster_key else []
        evidence, judgement = judge(settings, evidence, Reading(tallies=(*tallies, *arms, *keyed)), now_s=now_s)
        if judgement.verdict is Verdict.HARMFUL:
            break
        if judgement.verdict is Verdict.SUSPECT and exposed:
            away_until, withdrawals = second + AWAY_S, withdrawals + 1
        elif not exposed and second + 1 >= away_until:
            evidence = begin_exposure(evidence)
    return judgement, withdrawals


def _side(rng: random.Random, total: int, rate: float, now_s: float, **more: object):
    return tally(total=total, bad=sum(rng.random() < rate for _ in range(total)), at_s=now_s, **more)


@pytest.mark.parametrize("delay_s", [0, 2])
def test_a_candidate_that_harms_something_shared_is_condemned_after_some_exposures(delay_s: int) -> None:
    """Half of all answers of both versions fail some seconds after each exposure, and none without it."""
    for seed in range(2):
        since = {"on": 0}

        def errors(_: float, exposed: bool, since: dict[str, int] = since) -> float:
            since["on"] = since["on"] + 1 if exposed else 0
            return 0.5 if since["on"] > delay_s else 0.001

        judgement, withdrawals = _follow(random.Random(seed), errors)
        assert (judgement.verdict, judgement.criterion) == (Verdict.HARMFUL, "shared")
        assert 2 <= withdrawals <= 8
        assert f"{STABLE} itself began to answer badly while {CANDIDATE} was exposed" in judgement.sentence


def test_an_outage_that_has_nothing_to_do_with_the_candidate_costs_one_look_and_condemns_nobody() -> None:
    """Ten minutes of trouble from the sixtieth second on: withdrawn once to see, exposed again, not blamed."""
    judgement, withdrawals = _follow(random.Random(1), lambda second, _: 0.5 if second >= 60 else 0.001)
    assert judgement.verdict is not Verdict.HARMFUL
    assert withdrawals == 1
    assert judgement.common_trouble is not None


def test_trouble_that_comes_and_goes_by_itself_condemns_no_more_often_than_promised() -> None:
    """12 releases of ten minutes in which something shared fails for 20 s every two minutes or so; 20 % promised."""
    settings = JudgeSettings(latency_quantiles=(), false_rollback_rate=0.2)
    condemned = 0
    for seed in range(12):
        rng, until = random.Random(seed), {"next": 0.0, "end": -1.0}

        def errors(second: float, _: bool, rng: random.Random = rng, until: dict[str, float] = until) -> float:
            if second >= until["next"]:
                until["end"], until["next"] = second + 20, second + 20 + rng.expovariate(1 / 100)
            return 0.5 if 20 < second < until["end"] else 0.001

        condemned += _follow(rng, errors, settings=settings, seconds=600)[0].verdict is Verdict.HARMFUL
    assert condemned <= binomial_limit(12, 0.2)


def test_a_beginning_at_any_constant_rate_is_no_gain_on_average() -> None:
    """By the exact chances of a Poisson process: away for L seconds, then W seconds of exposure that pay L / W."""
    for rate in (1e-4, 0.01, 0.1, 1.0):
        for off_s in (5.0, 25.0, 300.0):
            away, soon = 1 - exp(-rate * off_s), exp(-rate * off_s) * (1 - exp(-rate * WINDOW_S))
            expected = 1.0 - STAKES * away + STAKES * soon * off_s / WINDOW_S
            assert max(expected) <= 1.0 + 1e-12


def test_with_a_key_it_is_seen_as_well() -> None:
    """What is shared shows in all requests, whatever they carry."""
    judgement, _ = _follow(random.Random(2), lambda _, exposed: 0.5 if exposed else 0.001, settings=KEYED)
    assert (judgement.verdict, judgement.criterion) == (Verdict.HARMFUL, "shared")


def test_nothing_is_staked_before_anything_began() -> None:
    """A calm release leaves the crossover as it was."""
    evidence = start(KEYLESS)
    assert crossover_evidence(evidence.crossover) == pytest.approx(1.0)
