"""Evidence as a value: exact in JSON, the same from the same readings, calm when clocks jump; and the question."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_traffic import CANDIDATE, QUANTILES, STABLE, batches, bernoulli, reading, start, tally
from pydantic import TypeAdapter

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings, Objectives
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.tallies import ClusterKey, Reading, Unit
from sternway.judgement import begin_exposure, judge, question

FULL = JudgeSettings(
    cluster_key=ClusterKey(header="x-user"),
    objectives=Objectives(availability_percent=99.5, latency_ms=((0.99, 400.0),)),
)
CODEC = TypeAdapter(Evidence)


def _readings(seed: int, seconds: float = 12.0) -> list[tuple[float, Reading]]:
    rng = random.Random(seed)
    asked = replace(question(FULL, start(FULL, QUANTILES), candidate_percent=10), arms=9)
    seen, before_s = [], 1_000_000.0
    answers = bernoulli(rng, rate_per_s=100, share=0.1, stable=0.01, candidate=0.05, keyed=True, arms=9)
    timed = (replace(one, ms=rng.lognormvariate(4.1, 0.7), keyed=rng.random() < 0.7) for one in answers)
    for now_s, batch in batches(timed, 0.3, wakes=True):
        if now_s > 1_000_000 + seconds:
            break
        seen.append((now_s, reading(batch, asked, start_s=before_s, end_s=now_s)))
        before_s = now_s
    return seen


def _fold(seen: list[tuple[float, Reading]], *, through_json: bool = False) -> tuple[Evidence, list[Judgement]]:
    evidence, said = start(FULL, QUANTILES), []
    for at, (now_s, one) in enumerate(seen):
        if at % 17 == 16:
            evidence = begin_exposure(evidence)
        evidence, judgement = judge(FULL, evidence, one, now_s=now_s, concurrent=at % 5 != 4)
        said.append(judgement)
        if through_json:
            evidence = CODEC.validate_json(CODEC.dump_json(evidence))
    return evidence, said


@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_evidence_goes_through_json_bit_for_bit(seed: int) -> None:
    """Stored and read back after every reading, evidence and judgements equal those that never left memory."""
    seen = _readings(seed)
    kept, stored = _fold(seen), _fold(seen, through_json=True)
    assert kept == stored
    assert repr(kept[0]) == repr(stored[0])
    assert "inf" not in CODEC.dump_json(kept[0]).decode()
    assert "nan" not in CODEC.dump_json(kept[0]).decode().lower()


def test_the_same_readings_give_the_same_bits() -> None:
    """A second fold of the same readings is equal in every digit."""
    assert repr(_fold(_readings(1))) == repr(_fold(_readings(1)))


def test_a_very_long_outage_keeps_every_number_finite() -> None:
    """A million failures in one reading are a large number, not an infinity."""
    evidence = start(FULL, QUANTILES)
    for at_s in (1001.0, 1002.0, 1003.0):
        seen = Reading(
            tallies=tuple(
                tally(candidate=ours, total=1_000_000, bad=1_000_000 if ours else 0, at_s=at_s, unit=unit)
                for ours in (True, False)
                for unit in Unit
            )
        )
        evidence, judgement = judge(FULL, evidence, seen, now_s=at_s)
        evidence = CODEC.validate_json(CODEC.dump_json(evidence))
    assert judgement.verdict is Verdict.HARMFUL
    assert "more than 500 billion to 1" in judgement.sentence


def test_an_empty_reading_changes_nothing_but_the_time() -> None:
    """No tallies: the evidence is the same object in every part."""
    evidence, _ = _fold(_readings(2))
    after, _ = judge(FULL, evidence, Reading(), now_s=evidence.now_s + 0.01)
    assert replace(after, now_s=evidence.now_s) == evidence


def test_tallies_of_other_versions_are_left_out() -> None:
    """A version that is neither stable nor candidate is nobody's evidence."""
    strange = replace(tally(candidate=True, total=50, bad=50, at_s=1001), version="0.9.0-cccccc")
    evidence, judgement = judge(FULL, start(FULL), Reading(tallies=(strange,)), now_s=1001)
    assert evidence.race.release.candidate_total == 0
    assert judgement.sentence == f"{CANDIDATE} has answered nothing yet"


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_neither_blames_nor_blinds(jump_s: float) -> None:
    """A day forwards or backwards: healthy stays undecided, and total failure is found right after the jump."""
    evidence, at_s = start(FULL, QUANTILES), 1_000_000.0
    for _ in range(5):
        at_s += 1
        evidence, judgement = judge(FULL, evidence, _errors(at_s, bad=0), now_s=at_s)
    at_s += jump_s
    for _ in range(5):
        at_s += 1
        evidence, judgement = judge(FULL, evidence, _errors(at_s, bad=0), now_s=at_s)
        assert judgement.verdict is Verdict.UNDECIDED
    evidence, judgement = judge(FULL, evidence, _errors(at_s + 1, bad=20), now_s=at_s + 1)
    assert judgement.verdict is Verdict.HARMFUL
    slow = Reading(
        tallies=(
            tally(candidate=True, total=50, bad=50, at_s=at_s, criterion="latency-p99"),
            tally(candidate=False, total=450, bad=4, at_s=at_s, criterion="latency-p99"),
        )
    )
    before = next(one for one in evidence.compared if one.name == "latency-p99")
    for second in range(12):
        evidence, _ = judge(FULL, evidence, slow, now_s=at_s + 2 + second)
    after = next(one for one in evidence.compared if one.name == "latency-p99")
    assert after.wealth != before.wealth, "latency is still weighed after the jump"


def _errors(at_s: float, *, bad: int) -> Reading:
    return Reading(
        tallies=tuple(
            tally(candidate=ours, total=20 if ours else 180, bad=bad if ours else 0, at_s=at_s, unit=unit)
            for ours in (True, False)
            for unit in Unit
        )
    )


@pytest.mark.parametrize(
    ("percent", "arms", "share"),
    [(0.0, 9, 1 / 9), (1.0, 9, 1 / 99), (10.0, 9, 1 / 9), (25.0, 3, 1 / 3), (50.0, 1, 1.0), (51.0, 0, 0.0)],
)
def test_placebo_arms_are_as_large_as_the_candidate(percent: float, arms: int, share: float) -> None:
    """Nine where they fit into stable's traffic, fewer where the candidate is large, none beyond a half; ready before it starts."""
    settings_ = JudgeSettings()
    asked = question(settings_, start(settings_), candidate_percent=percent)
    assert (asked.arms, asked.stable, asked.candidate) == (arms, STABLE, CANDIDATE)
    assert asked.arm_share == pytest.approx(share)
    assert asked.arms * asked.arm_share <= 1.0 + 1e-12


def test_no_arms_are_cut_while_requests_carry_the_key() -> None:
    """With the key on most requests errors are judged by the key; without it on any, by rounds."""
    evidence = start(FULL)
    assert question(FULL, evidence, candidate_percent=10).arms == 9
    keyed, judgement = judge(FULL, evidence, _errors(1001, bad=0), now_s=1001)
    assert question(FULL, keyed, candidate_percent=10).arms == 0
    assert question(FULL, keyed, candidate_percent=10).cluster_key == ClusterKey(header="x-user")
    assert {(one.name, one.unit) for one in judgement.criteria} >= {("errors", "cluster"), ("errors", "request")}


def test_an_evidence_can_be_made_before_anything_is_known() -> None:
    """The default value stands for "nothing yet" and goes through JSON like any other."""
    assert CODEC.validate_json(CODEC.dump_json(Evidence())) == Evidence()


def _keyed(at_s: float, *, start_s: float, candidate: int, stable: int, bad: int = 0) -> Reading:
    return Reading(
        tallies=(
            tally(candidate=True, total=candidate, bad=bad, at_s=at_s, start_s=start_s, unit=Unit.CLUSTER),
            tally(candidate=False, total=stable, bad=0, at_s=at_s, start_s=start_s, unit=Unit.CLUSTER),
        )
    )


def test_a_block_left_open_before_the_clock_fell_back_is_weighed_at_once() -> None:
    """A few answers waited for more; an hour's step back must not keep them waiting for an hour."""
    evidence, _ = judge(FULL, start(FULL), _keyed(5000, start_s=4999, candidate=2, stable=4, bad=2), now_s=5000)
    assert evidence.compared[0].since_s == 4999
    evidence, judgement = judge(FULL, evidence, _keyed(1400, start_s=1399, candidate=1, stable=1), now_s=1400)
    assert evidence.compared[0].since_s is None
    assert next(one.e_value for one in judgement.criteria if one.unit == "cluster") > 1.0


def test_intervals_that_overlap_let_no_time_pass_twice() -> None:
    """Tallies that claim the last ten seconds at every second move as much cash as those that claim one."""
    cash = []
    for claimed_s in (1.0, 10.0):
        evidence, at_s = start(FULL), 1000.0
        evidence, _ = judge(FULL, evidence, Reading(), now_s=at_s)
        for _ in range(30):
            at_s += 1
            seen = _keyed(at_s, start_s=at_s - claimed_s, candidate=20, stable=180)
            evidence, _ = judge(FULL, evidence, seen, now_s=at_s)
        cash.append(evidence.compared[0].wealth[0])
    assert cash[0] == cash[1]
