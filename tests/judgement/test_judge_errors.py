"""Errors, by the cluster key and by placebo rounds: how fast the guilty, and how rarely the innocent, are found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from math import log
from statistics import mean

import pytest
from judge_traffic import (
    CANDIDATE,
    KEYED,
    KEYLESS,
    Answer,
    batches,
    bernoulli,
    binomial_limit,
    follow,
    information_bound,
    reading,
    start,
    tally,
)

from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Verdict
from sternway.domain.tallies import Reading, Unit
from sternway.judgement import begin_exposure, judge, question
from sternway.judgement.budget import budget
from sternway.judgement.rounds import STAKES, race_evidence

FIRST_WORD = frozenset({Verdict.SUSPECT, Verdict.HARMFUL})


@pytest.mark.parametrize(("settings", "keyed"), [(KEYED, True), (KEYLESS, False)], ids=["with a key", "without"])
def test_total_failure_at_ten_percent_is_suspected_within_four_failures(
    *, settings: JudgeSettings, keyed: bool
) -> None:
    """Mean of 40 seeded releases at 200 requests/s: 4 failed requests at most, half a second in the median."""
    ended = []
    for seed in range(40):
        answers = bernoulli(
            random.Random(seed), rate_per_s=200, share=0.1, stable=0.001, candidate=1.0, keyed=keyed, arms=9
        )
        ended.append(follow(settings, answers, share=0.1, for_s=60, until=FIRST_WORD))
    assert all(one.verdict in FIRST_WORD for one in ended)
    assert mean(one.bad for one in ended) <= 4.0
    assert sorted(one.seconds for one in ended)[20] < 0.5


def test_the_information_bound_is_the_published_one() -> None:
    """At 10 % of the traffic and 1 in 200: 1,585, 57.6 and 1.7 candidate requests for the three steps."""
    bounds = [information_bound(0.1, 0.001, bad, log_needed=5.298317, margins=False) for bad in (0.005, 0.05, 1.0)]
    assert bounds == pytest.approx([1585, 57.6, 1.7], rel=0.03)


def test_five_percent_errors_are_condemned_near_the_information_bound() -> None:
    """0.1 % to 5 % with a key: the mean of 60 releases needs at most 1.5 times what any valid test needs."""
    bound = information_bound(0.1, 0.001, 0.05, log_needed=log(budget(KEYED).keyed), margins=True)
    ended = []
    for seed in range(60):
        answers = bernoulli(random.Random(seed), rate_per_s=200, share=0.1, stable=0.001, candidate=0.05, keyed=True)
        ended.append(follow(KEYED, answers, share=0.1, for_s=300, withdraw_s=2.0))
    assert all(one.verdict is Verdict.HARMFUL for one in ended)
    assert mean(one.requests for one in ended) <= 1.5 * bound
    assert max(one.withdrawals for one in ended) <= 2


def test_a_total_failure_without_a_key_is_condemned_by_the_third_round() -> None:
    """Three rounds won against nine placebo arms reach the rounds' share of the budget; users pay a dozen requests."""
    ended = []
    for seed in range(8):
        answers = bernoulli(
            random.Random(seed), rate_per_s=200, share=0.1, stable=0.001, candidate=1.0, keyed=False, arms=9
        )
        ended.append(follow(KEYLESS, answers, share=0.1, for_s=200, withdraw_s=10.0))
    assert all(one.verdict is Verdict.HARMFUL for one in ended)
    assert {one.judgement.rounds for one in ended} <= {(3, 3), (4, 3), (4, 4), (5, 4)}
    assert mean(one.bad for one in ended) <= 15.0
    assert "rounds against placebo arms" in ended[0].judgement.sentence


@pytest.mark.parametrize(("every_s", "wakes"), [(0.2, False), (1.0, True)])
def test_releases_at_the_edge_of_what_is_tolerated_are_condemned_no_more_often_than_promised(
    *, every_s: float, wakes: bool
) -> None:
    """50 releases whose candidate has 1.1 p + 0.01 points, at any batching: within the binomial limit of the rate."""
    settings = replace(KEYED, false_rollback_rate=0.2)
    rate = 0.03
    condemned = 0
    for seed in range(50):
        answers = bernoulli(
            random.Random(seed), rate_per_s=60, share=0.3, stable=rate, candidate=1.1 * rate + 1e-4, keyed=True
        )
        ended = follow(settings, answers, share=0.3, for_s=30, every_s=every_s, wakes=wakes, withdraw_s=1.0)
        condemned += ended.verdict is Verdict.HARMFUL
    assert condemned <= binomial_limit(50, 0.2)


def _bursts(rng: random.Random, *, candidate_bad: float, stable_bad: float, share: float) -> Iterator[Answer]:
    """Clients that meet an error repeat it some ten times within five seconds, in the arm that they are in.

    A key tells them apart: only the first bad answer of a client counts by the key.
    """
    waiting: list[Answer] = []
    for answer in bernoulli(
        rng, rate_per_s=60, share=share, stable=stable_bad, candidate=candidate_bad, keyed=True, arms=9
    ):
        waiting.sort(key=lambda one: one.at_s)
        while waiting and waiting[0].at_s <= answer.at_s:
            yield waiting.pop(0)
        yield answer
        while answer.bad and rng.random() < 0.9:
            later = replace(answer, at_s=answer.at_s + rng.uniform(0, 5), keyed=False)
            waiting.append(later)


def test_retry_storms_do_not_condemn_a_healthy_release_with_a_key() -> None:
    """16 healthy releases with clusters of ten: none beyond the binomial limit, though each retry counted would be."""
    settings = replace(KEYED, false_rollback_rate=0.1)
    condemned = naive = 0
    for seed in range(16):
        answers = _bursts(random.Random(seed), candidate_bad=0.004, stable_bad=0.004, share=0.1)
        condemned += follow(settings, answers, share=0.1, for_s=90, wakes=False).verdict is Verdict.HARMFUL
        answers = (
            replace(one, keyed=True)
            for one in _bursts(random.Random(seed), candidate_bad=0.004, stable_bad=0.004, share=0.1)
        )
        naive += follow(settings, answers, share=0.1, for_s=90, wakes=False).verdict is Verdict.HARMFUL
    assert condemned <= binomial_limit(16, 0.1)
    assert naive > binomial_limit(16, 0.1), "the traffic must be hard enough to break a count without the key"


def test_retry_storms_do_not_condemn_a_healthy_release_without_a_key() -> None:
    """10 healthy releases with clusters of ten, judged by rounds: within the binomial limit, though rounds do end."""
    settings = replace(KEYLESS, false_rollback_rate=0.2)
    condemned = withdrawals = rounds = 0
    for seed in range(10):
        answers = (
            replace(one, keyed=False)
            for one in _bursts(random.Random(seed), candidate_bad=0.004, stable_bad=0.004, share=0.1)
        )
        ended = follow(settings, answers, share=0.1, for_s=150, wakes=True, withdraw_s=8.0)
        condemned += ended.verdict is Verdict.HARMFUL
        withdrawals += ended.withdrawals
        rounds += ended.judgement.rounds[0]
    assert condemned <= binomial_limit(10, 0.2)
    assert rounds >= 15, "rounds must finish for this to say anything"
    assert withdrawals <= binomial_limit(rounds, 0.1) + 1


def test_the_bets_of_a_round_are_fair_at_one_in_k() -> None:
    """With K equal arms, a win at 1 in K and a loss otherwise leave every stake's wealth as it was on average."""
    for arms in (1, 3, 9):
        for stake in STAKES:
            chance = 1.0 / (arms + 1)
            assert chance * (1 + arms * stake) + (1 - chance) * (1 - stake) == pytest.approx(1.0)


@pytest.mark.parametrize(("settings", "keyed"), [(KEYED, True), (KEYLESS, False)], ids=["with a key", "without"])
def test_trouble_that_hits_both_versions_blames_nobody(*, settings: JudgeSettings, keyed: bool) -> None:
    """A shared outage, everything failing from the tenth second on: one look whether stable recovers, and no blame."""
    rng = random.Random(5)
    answers = (
        replace(one, bad=one.bad or one.at_s > 1_000_010)
        for one in bernoulli(rng, rate_per_s=200, share=0.1, stable=0.001, candidate=0.001, keyed=keyed, arms=9)
    )
    ended = follow(settings, answers, share=0.1, for_s=80)
    assert ended.bad > 400
    assert ended.withdrawals == 1
    assert ended.verdict not in FIRST_WORD


def _seconds(bad: int, *, at_s: float, keyed: bool = True, candidate: int = 20) -> Reading:
    units = [Unit.REQUEST, *([Unit.CLUSTER] if keyed else [])]
    return Reading(
        tallies=tuple(
            tally(candidate=ours, total=candidate if ours else 180, bad=bad if ours else 0, at_s=at_s, unit=unit)
            for unit in units
            for ours in (True, False)
            if ours is False or candidate
        )
    )


def test_suspicion_needs_new_evidence_after_a_withdrawal() -> None:
    """What raised suspicion once does not raise it again; what the next exposure shows adds up to a condemnation."""
    evidence, judgement = judge(KEYED, start(KEYED), _seconds(2, at_s=1001), now_s=1001)
    assert (judgement.verdict, judgement.criterion) == (Verdict.SUSPECT, "errors")
    evidence, judgement = judge(KEYED, evidence, _seconds(0, at_s=1002, candidate=0), now_s=1002)
    assert judgement.verdict is Verdict.SUSPECT, "it stands until the next exposure"
    evidence = begin_exposure(evidence)
    evidence, judgement = judge(KEYED, evidence, _seconds(0, at_s=1003), now_s=1003)
    assert judgement.verdict is Verdict.UNDECIDED
    evidence, judgement = judge(KEYED, evidence, _seconds(2, at_s=1004), now_s=1004)
    assert judgement.verdict is Verdict.HARMFUL
    assert "4 of 60 separate callers' answers" in judgement.sentence


def test_without_room_for_placebo_arms_requests_suspect_but_never_condemn() -> None:
    """At 90 % of the traffic nothing is left to cut arms from, and the sentence says so."""
    evidence, at_s, judgement = start(KEYLESS), 1000.0, None
    assert question(KEYLESS, evidence, candidate_percent=90).arms == 0
    for _ in range(6):
        evidence = begin_exposure(evidence)
        for _ in range(3):
            at_s += 1
            seen = Reading(
                tallies=(
                    tally(candidate=True, total=180, bad=90, at_s=at_s),
                    tally(candidate=False, total=20, bad=0, at_s=at_s),
                )
            )
            evidence, judgement = judge(KEYLESS, evidence, seen, now_s=at_s)
        assert judgement.verdict is Verdict.SUSPECT
        assert "suspects, but cannot condemn" in judgement.sentence
    assert race_evidence(evidence.race) == pytest.approx(1.0)


def test_a_placebo_arm_that_is_first_costs_the_bet_and_withdraws_nothing() -> None:
    """A burst in one of stable's arms ends the round against the accusation."""
    tallies = [
        tally(candidate=True, total=20, bad=0, at_s=1001),
        tally(candidate=False, total=180, bad=5, at_s=1001),
        *(tally(candidate=False, total=20, bad=5 if arm == 3 else 0, at_s=1001, arm=arm) for arm in range(9)),
    ]
    evidence, judgement = judge(KEYLESS, start(KEYLESS), Reading(tallies=tuple(tallies)), now_s=1001)
    assert (judgement.verdict, judgement.rounds) == (Verdict.UNDECIDED, (1, 0))
    assert race_evidence(evidence.race) < 1.0


def test_a_tie_goes_to_the_placebo_arm() -> None:
    """Without margins, the same numbers in the candidate and in an arm blame nobody."""
    even = replace(KEYLESS, worse_than_percent=0.0, and_percent=0.0)
    tallies = [
        tally(candidate=True, total=20, bad=9, at_s=1001),
        tally(candidate=False, total=180, bad=9, at_s=1001),
        *(tally(candidate=False, total=20, bad=9 if arm == 3 else 0, at_s=1001, arm=arm) for arm in range(9)),
    ]
    _, judgement = judge(even, start(even), Reading(tallies=tuple(tallies)), now_s=1001)
    assert (judgement.verdict, judgement.rounds) == (Verdict.UNDECIDED, (1, 0))


def test_a_storm_that_goes_on_in_a_placebo_arm_is_one_bet_only() -> None:
    """The arm that was first rests for a round, so that its next errors end no second round."""
    evidence, at_s, rounds = start(KEYLESS), 1000.0, []
    for _ in range(4):
        at_s += 1
        tallies = [
            tally(candidate=True, total=20, bad=0, at_s=at_s),
            tally(candidate=False, total=180, bad=5, at_s=at_s),
            *(tally(candidate=False, total=20, bad=5 if arm == 3 else 0, at_s=at_s, arm=arm) for arm in range(9)),
        ]
        evidence, judgement = judge(KEYLESS, evidence, Reading(tallies=tuple(tallies)), now_s=at_s)
        rounds.append(judgement.rounds)
    assert rounds == [(1, 0)] * 4
    assert [arm.index for arm in evidence.race.arms] == [-1, 0, 1, 2, 4, 5, 6, 7, 8]


def test_an_arm_that_comes_late_does_not_run_in_the_round() -> None:
    """It would start behind, and so be paid for as a rival without being one."""
    evidence, at_s = start(KEYLESS), 1000.0
    for arms in (3, 9):
        at_s += 1
        tallies = [
            tally(candidate=True, total=20, bad=0, at_s=at_s),
            tally(candidate=False, total=180, bad=0, at_s=at_s),
            *(tally(candidate=False, total=20, bad=0, at_s=at_s, arm=arm) for arm in range(arms)),
        ]
        evidence, _ = judge(KEYLESS, evidence, Reading(tallies=tuple(tallies)), now_s=at_s)
    assert [arm.index for arm in evidence.race.arms] == [-1, 0, 1, 2]
    evidence, _ = judge(KEYLESS, begin_exposure(evidence), Reading(tallies=tuple(tallies)), now_s=at_s + 1)
    assert len(evidence.race.arms) == 10


def test_arms_that_leave_are_no_longer_counted() -> None:
    """When the step rises and six of nine arms go, a win pays for three rivals, not for nine."""

    def second(at_s: float, arms: int, bad: int) -> Reading:
        return Reading(
            tallies=(
                tally(candidate=True, total=20, bad=bad, at_s=at_s),
                tally(candidate=False, total=180, bad=0, at_s=at_s),
                *(tally(candidate=False, total=20, bad=0, at_s=at_s, arm=arm) for arm in range(arms)),
            )
        )

    wealth = []
    for arms in (9, 3):
        evidence, _ = judge(KEYLESS, start(KEYLESS), second(1001, 9, 0), now_s=1001)
        evidence, judgement = judge(KEYLESS, evidence, second(1002, arms, 3), now_s=1002)
        assert judgement.rounds == (1, 1)
        wealth.append(race_evidence(evidence.race))
    assert wealth == pytest.approx([6.4, 2.8])  # the means of 1 + 9 x and 1 + 3 x


@pytest.mark.parametrize("every_s", [0.01, 0.2, 1.0])
def test_batching_leaves_the_evidence_nearly_the_same(every_s: float) -> None:
    """The same 40 s of 2 % against 0.2 % errors, cut at any length: within 1.2 of one another in the logarithm."""
    asked = question(KEYED, start(KEYED), candidate_percent=10)

    def found(length_s: float, *, wakes: bool) -> float:
        answers = []
        for one in bernoulli(random.Random(8), rate_per_s=200, share=0.1, stable=0.002, candidate=0.02, keyed=True):
            if one.at_s > 1_000_040:
                break
            answers.append(one)
        evidence, judgement, before_s = start(KEYED), None, 1_000_000.0
        for now_s, batch in batches(answers, length_s, wakes=wakes):
            seen = reading(batch, asked, start_s=before_s, end_s=now_s)
            evidence, judgement = judge(KEYED, evidence, seen, now_s=now_s)
            before_s = now_s
        (keyed,) = [one for one in judgement.criteria if (one.name, one.unit) == ("errors", "cluster")]
        return log(keyed.e_value)

    reference = found(0.5, wakes=False)
    assert reference > 5.0
    assert found(every_s, wakes=False) == pytest.approx(reference, abs=1.2)
    assert found(every_s, wakes=True) == pytest.approx(reference, abs=1.2)


def test_the_sentence_says_who_answered_how_badly_and_how_sure_it_is() -> None:
    """Numbers, versions and odds stand in one line."""
    _, judgement = judge(KEYED, start(KEYED), _seconds(6, at_s=1001), now_s=1001)
    assert judgement.verdict is Verdict.HARMFUL
    assert judgement.sentence.startswith(f"6 of 20 separate callers' answers of {CANDIDATE} were errors, against 0 of")
    assert "to 1 (needs 170 to 1)" in judgement.sentence
    assert "\n" not in judgement.sentence
