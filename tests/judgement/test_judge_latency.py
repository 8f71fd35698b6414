"""Latency: slower than stable's own quantiles, with warm-up borne and spells of slowness capped."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from judge_traffic import QUANTILES, Answer, Ended, follow, start, tally

from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Verdict
from sternway.domain.tallies import Reading
from sternway.judgement import begin_exposure, judge, question
from sternway.stats.wealth import added

SETTINGS = JudgeSettings()
MEDIAN_MS, SIGMA = 60.0, math.log(290.0 / 60.0) / 2.3263  # p50 60 ms, p99 290 ms, log-normal


def _answers(
    rng: random.Random,
    *,
    body: float = 1.0,
    tail: float = 1.0,
    warm_up: float = 0.0,
    pauses: bool = False,
    rate_per_s: float = 300.0,
) -> Iterator[Answer]:
    """Endless requests, 20 % to a candidate: its body or slowest 2 % slower by a factor, or warming up.

    With `pauses`, each replica (6 of stable, 3 of the candidate) stands still for a second about once a minute and
    its speed wanders slowly.
    """
    at_s = begun_s = 1_000_000.0
    phase = [rng.uniform(0, 60) for _ in range(9)]
    wander = [0.0] * 9
    second = 0
    while True:
        at_s += rng.expovariate(rate_per_s)
        ours = rng.random() < 0.2
        replica = rng.randrange(3) if ours else 3 + rng.randrange(6)
        draw = rng.gauss(0, 1)
        ms = MEDIAN_MS * math.exp(SIGMA * draw)
        if ours:
            ms *= body * (tail if draw > 2.054 else 1.0) * (1.0 + warm_up * math.exp(-(at_s - begun_s) / 2.0))
        if pauses:
            while second < at_s - begun_s:
                second += 1
                wander = [0.9 * one + rng.gauss(0, 0.044) for one in wander]
            ms *= math.exp(wander[replica]) * (4.0 if (at_s + phase[replica]) % 60.0 < 1.0 else 1.0)
        yield Answer(at_s=at_s, candidate=ours, ms=ms)


def _follow(answers: Iterator[Answer], for_s: float) -> Ended:
    return follow(SETTINGS, answers, share=0.2, for_s=for_s, stable_ms=QUANTILES, withdraw_s=5.0, wakes=False)


def test_a_slower_body_is_condemned_within_some_seventy_seconds() -> None:
    """Everything 1.5 times as slow: three seeded releases, each condemned for latency in 70 s of simulated time."""
    ended = [_follow(_answers(random.Random(seed), body=1.5), 70) for seed in range(3)]
    assert all(one.verdict is Verdict.HARMFUL for one in ended)
    assert all((one.judgement.criterion or "").startswith("latency-") for one in ended)
    assert "were slower than" in ended[0].judgement.sentence


def test_a_slower_tail_is_condemned_by_the_tail_quantile() -> None:
    """Only the slowest 2 % take twice as long: condemned by p99 within three minutes of simulated time."""
    ended = [_follow(_answers(random.Random(seed), tail=2.0), 180) for seed in range(3)]
    assert [one.judgement.criterion for one in ended] == ["latency-p99"] * 3
    assert all(one.verdict is Verdict.HARMFUL for one in ended)


def test_a_healthy_release_with_slow_spells_is_not_condemned() -> None:
    """Replicas that pause and wander, three on one side and six on the other: three releases of five minutes pass."""
    ended = [_follow(_answers(random.Random(seed), pauses=True, rate_per_s=100), 300) for seed in range(3)]
    assert [one.verdict for one in ended if one.verdict is Verdict.HARMFUL] == []


def test_a_warm_up_is_borne() -> None:
    """A candidate that starts six times as slow and is warm after some seconds is not even suspected."""
    ended = [_follow(_answers(random.Random(seed), warm_up=5.0), 40) for seed in range(3)]
    assert [(one.verdict, one.withdrawals) for one in ended] == [(Verdict.UNDECIDED, 0)] * 3


def _slow_second(at_s: float, *, bad: int = 50, **more: object) -> Reading:
    return Reading(
        tallies=(
            tally(candidate=True, total=50, bad=bad, at_s=at_s, criterion="latency-p99", **more),
            tally(candidate=False, total=450, bad=5, at_s=at_s, criterion="latency-p99", **more),
        )
    )


@pytest.mark.parametrize("every_s", [0.05, 0.5, 1.0])
def test_two_seconds_of_slowness_at_most_double_the_evidence_at_any_batching(every_s: float) -> None:
    """However the time is cut and however slow it is, ten seconds multiply every bet by at most two to the sixth."""
    evidence, at_s = start(SETTINGS, QUANTILES), 1000.0
    evidence, _ = judge(SETTINGS, evidence, _slow_second(at_s, bad=0), now_s=at_s)
    warm_s = at_s = 1100.0  # long past the grace of a fresh candidate
    while at_s < warm_s + 10.0:
        at_s += every_s
        evidence, _ = judge(SETTINGS, evidence, _slow_second(at_s, start_s=at_s - every_s), now_s=at_s)
    (p99,) = [one for one in evidence.compared if one.name == "latency-p99"]
    assert 2.0**3.5 < added(p99.wealth) <= 2.0**6


def test_thresholds_are_stables_quantiles_and_a_margin_and_never_move() -> None:
    """Ten percent above stable's quantile, at least a millisecond; unknown ones are fixed by a later reading."""
    asked = question(SETTINGS, start(SETTINGS, QUANTILES), candidate_percent=5)
    assert [(one.criterion, one.stable_ms) for one in asked.latency] == [
        ("latency-p50", 60.0),
        ("latency-p90", 130.0),
        ("latency-p99", 290.0),
    ]
    assert [one.candidate_ms for one in asked.latency] == pytest.approx([66.0, 143.0, 319.0])
    evidence = start(SETTINGS)
    assert question(SETTINGS, evidence, candidate_percent=5).latency == ()
    for stable_ms in (((0.5, 2.0), (0.99, 40.0)), ((0.5, 900.0), (0.9, 901.0), (0.99, 902.0))):
        evidence, _ = judge(SETTINGS, evidence, Reading(stable_ms=stable_ms), now_s=1000)
    thresholds = {one.criterion: one.candidate_ms for one in question(SETTINGS, evidence, candidate_percent=5).latency}
    assert thresholds["latency-p50"] == 3.0
    assert thresholds["latency-p99"] == pytest.approx(44.0)
    assert 30.0 < thresholds["latency-p90"] < 40.0, "between its neighbours"


def test_the_first_ten_seconds_of_a_candidate_are_counted_but_not_weighed() -> None:
    """Everything slow: the numbers show it from the start, the evidence moves only after the grace."""
    evidence, at_s, moved = start(SETTINGS, QUANTILES), 1000.0, []
    for _ in range(20):
        at_s += 1
        evidence, judgement = judge(SETTINGS, evidence, _slow_second(at_s), now_s=at_s)
        (p99,) = [one for one in judgement.criteria if one.name == "latency-p99"]
        assert p99.candidate_bad == 50 * (at_s - 1000)
        if p99.e_value > 1.01:
            moved.append(at_s - 1000)
    assert 10 < moved[0] <= 14


def test_a_second_exposure_has_no_grace() -> None:
    """After a withdrawal the candidate is no longer fresh: its slowness weighs at once."""
    evidence, at_s = start(SETTINGS, QUANTILES), 1000.0
    evidence, _ = judge(SETTINGS, evidence, _slow_second(at_s, bad=0), now_s=at_s)
    evidence, at_s = begin_exposure(evidence), 1100.0
    for _ in range(4):
        at_s += 1
        evidence, _ = judge(SETTINGS, evidence, _slow_second(at_s), now_s=at_s)
    (p99,) = [one for one in evidence.compared if one.name == "latency-p99"]
    assert added(p99.exposure_wealth) > 1.35
