"""What the real judge says of recorded releases, and what it would have cost."""

from dataclasses import replace

import pytest
from recordings import SHORT, answers, replay, steady, tallies

from sternway.backtest.release import enough
from sternway.domain.guards import ABTest, BlueGreen, Canary, Guard, JudgeSettings
from sternway.domain.tallies import ClusterKey

LATENCY = replace(SHORT, judge=JudgeSettings())
KEYED = replace(SHORT, judge=JudgeSettings(cluster_key=ClusterKey(header="x-user"), latency_quantiles=()))


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_release_is_healthy(seed: int):
    """Two in a thousand bad on both sides, with errors and latency judged: no condemnation."""
    (found,) = replay(answers(seed), guard=LATENCY)
    assert (found.verdict, found.decided_s) == ("healthy", None)
    assert found.requests >= 100
    assert "no harm shown" in found.reason


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", [lambda told: told, tallies], ids=["outcomes", "tallies"])
def test_five_percent_of_errors_are_condemned_by_exposures(form, seed: int):
    """Without a key: withdrawn at least once, condemned, and few users hurt, told by outcomes or by tallies."""
    (found,) = replay(form(answers(seed, stable=0.001, candidate=0.05, for_s=200.0)))
    assert found.verdict == "harmful"
    assert found.withdrawals >= 1
    assert 0 < found.hurt <= 25
    assert "against" in found.reason


@pytest.mark.parametrize("form", [lambda told: told, tallies], ids=["outcomes", "tallies"])
def test_total_failure_is_withdrawn_in_a_second_and_condemned_after_three_looks(form):
    """First second: withdrawn. Each further look is a second too, so the end is known: 0, 6 and 12 s, each judged."""
    (found,) = replay(form(answers(1, stable=0.001, candidate=1.0)))
    assert found.verdict == "harmful"
    assert found.decided_s == 13.0 == 1.0 + 2 * (5.0 + 1.0)
    assert found.withdrawals == 2


def test_the_answers_of_a_withdrawn_candidate_are_left_out():
    """Twenty answers each second, all bad, three seconds of exposure: 60 users hurt, whatever the recording holds."""
    (found,) = replay(steady(range(30), bad=lambda _: 20))
    assert (found.decided_s, found.requests, found.hurt) == (13.0, 60, 60.0)


def test_hurt_is_what_goes_beyond_stables_rate():
    """Half of 400 answers are bad, and a tenth of stable's: 200 - 40 users were hurt by the release."""
    told = [
        {"release": "a", "t": 0, "role": "candidate", "criterion": "errors", "total": 400, "bad": 200},
        {"release": "a", "t": 0.5, "role": "stable", "criterion": "errors", "total": 3600, "bad": 360},
    ]
    (found,) = replay(told)
    assert found.hurt == 160.0


def test_a_slower_candidate_is_condemned_by_its_latency():
    """No errors at all, but 1.8 times the duration: thresholds are fixed from stable's recorded durations."""
    (found,) = replay(answers(3, stable=0.0, candidate=0.0, slower=1.8, for_s=120.0), guard=LATENCY)
    assert found.verdict == "harmful"
    assert "slower than" in found.reason
    assert found.hurt == 0.0


def test_tallied_latency_is_judged_by_its_name():
    """A third of the answers beyond stable's p50 too many, second after second: condemned without any threshold."""
    told = []
    for second in range(240):
        for role, total, slow in (("stable", 180, 90), ("candidate", 20, 20)):
            told += [
                {"release": "a", "t": second, "role": role, "criterion": "errors", "total": total, "bad": 0},
                {"release": "a", "t": second, "role": role, "criterion": "latency-p50", "total": total, "bad": slow},
            ]
    (found,) = replay(told, guard=LATENCY)
    assert found.verdict == "harmful"
    assert "bad by latency-p50" in found.reason


def test_keyed_errors_condemn_without_exposures():
    """With a key in the Guard and in the lines, sure evidence needs no placebo arm: sooner than by exposures."""
    told = list(answers(2, stable=0.001, candidate=0.3, keys=5000, for_s=120.0))
    (keyed,), (keyless,) = replay(told, guard=KEYED), replay(told)
    assert keyed.verdict == keyless.verdict == "harmful"
    assert keyed.decided_s is not None
    assert keyless.decided_s is not None
    assert keyed.decided_s < keyless.decided_s


def test_one_callers_storm_is_one_piece_of_evidence_with_a_key():
    """A single caller fails four hundred times on the candidate: with a key that is no reason to take it back."""
    storm = [{"release": "a", "t": 20.0, "role": "candidate", "status": 503, "duration_ms": 5, "key": "one"}] * 400
    quiet = list(answers(4, release="a", stable=0.01, candidate=0.01, keys=5000))
    told = sorted([*quiet, *storm], key=lambda one: one["t"])
    (found,) = replay(told, guard=KEYED)
    assert found.verdict == "healthy"


def test_clustered_errors_of_healthy_releases_do_not_condemn():
    """Ten bad answers at once, on both sides alike: of twenty releases at most one is condemned (1 % is promised)."""
    told = (
        one
        for number in range(20)
        for one in tallies(answers(number, release=f"r{number}", stable=0.001, candidate=0.001, again=10))
    )
    found = replay(told)
    assert len(found) == 20
    assert sum(one.verdict == "harmful" for one in found) <= 1


def test_trouble_common_to_both_is_nobodys_fault():
    """Both versions fail half of the time for a while: the release stays."""
    told = [
        {"release": "a", "t": t, "role": role, "criterion": "errors", "total": total, "bad": total // 2 * (20 < t < 60)}
        for t in range(90)
        for role, total in (("stable", 180), ("candidate", 20))
    ]
    (found,) = replay(told)
    assert found.verdict == "healthy"


def test_too_few_answers_leave_it_undecided():
    """The Guard's steps ask for a hundred answers; the recording holds sixty."""
    (found,) = replay(steady(range(3), bad=lambda _: 0))
    assert found.verdict == "undecided"
    assert found.reason == "the recording holds 60 answers of the candidate; the guard asks for 100"


def test_a_recording_that_ends_in_a_withdrawal_is_undecided():
    """Suspected is not condemned, and not healthy either."""
    (found,) = replay(steady(range(4), bad=lambda _: 20, total=200, stable=1800))
    assert (found.verdict, found.withdrawals) == ("undecided", 1)
    assert "while the candidate was withdrawn" in found.reason


def test_a_candidate_that_never_answers_is_undecided():
    """Nothing seen is not failure."""
    (found,) = replay(steady(range(20), bad=lambda _: 0, total=0))
    assert (found.verdict, found.requests, found.began_s) == ("undecided", 0, None)


def test_a_switch_without_control_is_suspected_by_stables_history_and_never_called_healthy():
    """Blue-green: stable alone, then the candidate alone, failing half. Only a live look back could condemn."""
    before = list(answers(5, share=0.0, stable=0.001, for_s=60.0))
    after = [{**one, "t": one["t"] + 60.0} for one in answers(6, share=1.0, candidate=0.5, for_s=60.0)]
    (found,) = replay([*before, *after], guard=replace(SHORT, strategy=BlueGreen()))
    assert (found.verdict, found.withdrawals, found.began_s) == ("undecided", 1, 60.0)
    assert "of stable before it" in found.reason


def test_a_pause_in_the_recording_changes_nothing_that_was_seen():
    """An idle month between two halves of a healthy release is skipped, and a withdrawal ends in it."""
    first = list(steady(range(1), bad=lambda _: 20))
    later = list(steady(range(3_000_000, 3_000_030), bad=lambda _: 0))
    (found,) = replay([*first, *later])
    assert (found.verdict, found.withdrawals) == ("healthy", 1)
    assert found.requests == 620


def test_the_same_lines_give_the_same_results():
    """Placebo arms, dealt or hashed, are no matter of chance."""
    told = list(answers(9, stable=0.01, candidate=0.03))
    assert replay(told) == replay(told)
    assert replay(tallies(told)) == replay(tallies(told))


def test_the_guard_says_how_much_evidence_is_enough():
    """A canary's steps add up; an A/B test states its number; a switch states none."""
    assert enough(Guard(service="a", strategy=Canary())) == 440
    assert enough(Guard(service="a", strategy=ABTest(header=("x-beta", "1"), min_requests=70))) == 70
    assert enough(Guard(service="a", strategy=BlueGreen())) == 1
