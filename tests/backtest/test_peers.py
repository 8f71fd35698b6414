"""The rules of Flagger, Argo Rollouts and Kayenta against timelines computed by hand."""

import pytest
from recordings import replay, ruled, steady

from sternway.backtest import choose_rules
from sternway.errors import InvalidInput


def all_bad(second: int) -> int:
    """Every answer of the candidate fails."""
    return 20


def timed(seconds: int, *, slow_every: int, ms: float = 600.0):
    """Ten good answers a second on each side; of the candidate's, each `slow_every`-th takes `ms`."""
    number = 0
    for second in range(seconds):
        for part in range(10):
            number += 1
            at_s = second + part / 10
            took_ms = ms if number % slow_every == 0 else 20.0 + part
            yield {"release": "a", "t": at_s, "role": "stable", "status": 200, "duration_ms": 20.0 + part}
            yield {"release": "a", "t": at_s, "role": "candidate", "status": 200, "duration_ms": took_ms}


@pytest.mark.parametrize(
    ("rule", "decided_s"),
    [
        ("flagger", 360),
        ("flagger:threshold=1", 120),
        ("flagger:interval=10s,threshold=1", 20),
        ("flagger:interval=10s", 60),
        ("flagger:interval=1s,threshold=1", 20),
        ("flagger:interval=30s,threshold=0", 60),
    ],
)
def test_flagger_takes_a_dead_release_back_one_interval_after_the_last_failure(rule: str, decided_s: int):
    """(threshold + 1) x interval; an interval below ten seconds is ten seconds, a threshold of 0 is 1."""
    assert ruled(steady(range(400), bad=all_bad), rule) == ("harmful", decided_s, 20.0 * decided_s)


def test_flagger_counts_failures_that_do_not_follow_each_other():
    """Bad in minutes 1, 3 and 5: the third failed check is at 300 s, the rollback at 360 s."""
    told = steady(range(600), bad=lambda second: 20 if second // 60 % 2 == 0 else 0)
    assert ruled(told, "flagger:threshold=3")[:2] == ("harmful", 360)


def test_flagger_forgives_one_percent_and_no_more():
    """99 % of good answers pass, less does not: one of a hundred answers a second, then two."""
    assert ruled(steady(range(200), bad=lambda _: 1, total=100), "flagger:threshold=1")[:2] == ("healthy", None)
    assert ruled(steady(range(200), bad=lambda _: 2, total=100), "flagger:threshold=1")[:2] == ("harmful", 120)


def test_flagger_takes_the_absence_of_data_for_failure():
    """One answer, then none for the candidate: the window of the second check holds nothing, nor do the next four."""
    told = [*steady(range(1), bad=lambda _: 0), *steady(range(1, 500), bad=lambda _: 0, total=0)]
    assert ruled(told, "flagger")[:2] == ("harmful", 60 * 7)


def test_flagger_looks_at_p99():
    """Two answers of a hundred above 500 ms fail the check, one passes."""
    assert ruled(timed(130, slow_every=50), "flagger:threshold=1")[:2] == ("harmful", 120)
    assert ruled(timed(130, slow_every=100), "flagger:threshold=1")[:2] == ("healthy", None)
    assert ruled(timed(130, slow_every=50, ms=499.0), "flagger:threshold=1")[:2] == ("healthy", None)


def test_flaggers_window_can_be_stated():
    """Bad in the first 20 s alone: a window of a minute still fails at 60 s, one of ten seconds passes."""
    told = list(steady(range(130), bad=lambda second: 20 if second < 20 else 0))
    assert ruled(told, "flagger:threshold=1")[:2] == ("harmful", 120)
    assert ruled(told, "flagger:threshold=1,window=10s")[:2] == ("healthy", None)


def test_argo_needs_four_failures_so_a_quarter_of_an_hour_from_the_first():
    """First measurement when two scrapes are there, at 15 s; then 315, 615, 915 s."""
    assert ruled(steady(range(1000), bad=all_bad), "argo") == ("harmful", 915, 20.0 * 915)


@pytest.mark.parametrize(
    ("rule", "decided_s"), [("argo:failureLimit=0", 15), ("argo:interval=1m", 195), ("argo:interval=10s", 45)]
)
def test_argos_settings_can_be_stated(rule: str, decided_s: int):
    """15 s + failureLimit x interval."""
    assert ruled(steady(range(300), bad=all_bad), rule)[:2] == ("harmful", decided_s)


def test_argo_sees_the_last_two_scrapes_alone():
    """Bad for four minutes and good whenever it is measured: healthy. 5 % of errors are allowed, 10 % are not."""
    told = steady(range(400), bad=lambda second: 20 if 15 <= second < 290 else 0)
    assert ruled(told, "argo:failureLimit=0")[:2] == ("healthy", None)
    assert ruled(steady(range(60), bad=lambda _: 1), "argo:failureLimit=0")[:2] == ("healthy", None)
    assert ruled(steady(range(60), bad=lambda _: 2), "argo:failureLimit=0")[:2] == ("harmful", 15)


def test_argo_takes_nan_for_failure():
    """No request in the window of the second measurement: 0/0 is no success."""
    told = [*steady(range(30), bad=lambda _: 0), *steady(range(30, 100), bad=lambda _: 0, total=0)]
    assert ruled(told, "argo:interval=1m,failureLimit=0")[:2] == ("harmful", 75)


def test_a_peer_whose_last_word_was_failure_is_undecided():
    """Fourteen minutes of total failure are too short for Argo's rule, but it has not called the release healthy."""
    assert ruled(steady(range(840), bad=all_bad), "argo")[:2] == ("undecided", None)
    assert ruled(steady(range(340), bad=all_bad), "flagger")[:2] == ("undecided", None)


def test_kayenta_judges_when_the_hour_is_over():
    """5 % of errors in each minute against none: High, a score of 0 for the only metric, at 3600 s and not before."""
    assert ruled(steady(range(3599), bad=lambda _: 1), "kayenta")[:2] == ("undecided", None)
    assert ruled(steady(range(3600), bad=lambda _: 1), "kayenta") == ("harmful", 3600, 3600.0)
    assert ruled(steady(range(3600), bad=lambda _: 0), "kayenta")[:2] == ("healthy", None)


def test_kayenta_fails_fast_at_an_interval_and_passes_at_the_lifetime():
    """Intervals of ten minutes in an hour; errors that begin after the half are seen once they outweigh the first."""
    told = list(steady(range(3600), bad=lambda second: 1 if second >= 600 else 0))
    assert ruled(told, "kayenta:interval=10m")[0:2] == ("harmful", 1800)
    assert ruled(steady(range(1300), bad=lambda _: 0), "kayenta:interval=10m,lifetime=20m")[:2] == ("healthy", None)


def test_kayenta_sees_latency_and_one_of_three_metrics_ends_it():
    """Every tenth answer takes 600 ms: mean and p99 are High, errors are equal; 33 is below the marginal score."""
    (found,) = replay(timed(600, slow_every=10), compare="kayenta:interval=10m,lifetime=10m")
    ((_, said),) = found.compare
    assert (said.verdict, said.decided_s) == ("harmful", 600)
    assert said.reason == "score 33: mean duration, p99 High"
    assert ruled(timed(600, slow_every=10**9), "kayenta:interval=10m,lifetime=10m")[0] == "healthy"


def test_kayenta_without_data_scores_nothing():
    """No stable answers at all: half of the metrics or more hold no data."""
    told = steady(range(600), bad=lambda _: 0, stable=0)
    (found,) = replay(told, compare="kayenta:interval=5m,lifetime=10m")
    ((_, said),) = found.compare
    assert (said.decided_s, said.reason) == (300, "score 0: no data")


def test_peers_see_the_recording_without_our_withdrawals():
    """Sternway takes the traffic away within a second; the peers' rules are charged for every answer until theirs."""
    (found,) = replay(steady(range(400), bad=all_bad), compare="flagger")
    assert found.hurt == 60.0
    assert found.compare[0][1].hurt == 7200.0


def test_a_peer_begins_with_the_candidates_first_answer():
    """Ten minutes of stable alone come first: the clock of every rule starts after them."""
    told = [*steady(range(600), bad=lambda _: 0, total=0), *steady(range(600, 1000), bad=all_bad)]
    assert ruled(told, "flagger")[:2] == ("harmful", 960)
    assert ruled(told, "argo:failureLimit=0")[:2] == ("harmful", 615)


def test_rules_are_chosen_with_settings_and_labels():
    """A comma parts rules and settings alike; a rule that stands twice is labelled by its settings."""
    chosen = choose_rules(["flagger:interval=10s,threshold=1,argo", "flagger:threshold=2"])
    assert [one.label for one in chosen] == ["flagger", "argo", "flagger:threshold=2"]
    assert choose_rules([]) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flager", "'flager' is no rule (did you mean `flagger`?)"),
        ("spinnaker", "'spinnaker' is no rule (there is: flagger, argo, kayenta)"),
        ("argo:interval=5", "argo: interval cannot be '5' (write for example `30s` or `5m`)"),
        ("argo:interval=0s", "argo: interval cannot be '0s' (write for example `30s` or `5m`)"),
        ("argo:failurelimit=1", "argo has no setting 'failurelimit' (did you mean `failureLimit`?)"),
        ("flagger:threshold=many", "flagger: threshold cannot be 'many' (write a number)"),
        ("kayenta:confidence=2", "kayenta: confidence cannot be '2' (write a number)"),
        ("argo,argo", "'argo' stands there twice (take one of them out)"),
    ],
)
def test_a_rule_that_is_not_understood_is_refused(text: str, said: str):
    """The nearest name, or an example."""
    with pytest.raises(InvalidInput) as caught:
        choose_rules([text])
    assert str(caught.value) == f"--compare: {said}"
