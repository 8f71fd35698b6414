"""What each kind of outcome counts for."""

import pytest
from outcomes_by_hand import GOOD, QUESTION, bad, counts, good, turn

from sternway.domain.blame import KINDS_AT_MOST
from sternway.domain.tallies import ClusterKey, ErrorClass, LatencyThreshold, Question, Unit
from sternway.signals.counting import Counter, Outcome, _Muted, is_of
from sternway.signals.running import RecentTraffic

SLOWER = LatencyThreshold(criterion="latency-p99", stable_ms=100.0, candidate_ms=110.0)
TIMED = Question(stable="v1", candidate="v2", latency=(SLOWER,))
KEYED = Question(stable="v1", candidate="v2", cluster_key=ClusterKey(header="x-user", mute_s=60.0))


@pytest.fixture
def counter():
    """Ask the plain question at second 90."""
    counter = Counter("orders")
    turn(counter, 90.0, QUESTION)
    return counter


def asked(question, *outcomes):
    """Count these outcomes by this question."""
    counter = Counter("orders")
    turn(counter, 90.0, question)
    for outcome in outcomes:
        counter.add(outcome)
    return counts(turn(counter, 110.0, question))


@pytest.mark.parametrize(
    ("outcome", "errors", "hurt"),
    [
        pytest.param(good("v2"), (1, 0), (1, 0), id="a good answer"),
        pytest.param(good("v2", status=404), (1, 0), (1, 0), id="the caller's own mistake"),
        pytest.param(bad(), (1, 1), (1, 1), id="a server error"),
        pytest.param(bad(status=504), (1, 1), (1, 1), id="a time-out"),
        pytest.param(good("v2", broken_off=True), (1, 1), (1, 1), id="an answer that broke off"),
        pytest.param(good("v2", attempts=2), (1, 1), (1, 0), id="good at the second attempt"),
        pytest.param(bad(attempts=2), (1, 1), (1, 1), id="bad at the second attempt too"),
        pytest.param(good("v2", attempts=2, rescued=True), (1, 1), (1, 0), id="rescued"),
        pytest.param(good("v2", attempts=1, rescued=True), (1, 1), (1, 0), id="rescued without an attempt"),
        pytest.param(good("v2", route="pin"), (1, 0), (1, 0), id="pinned"),
        pytest.param(bad(route="mirror"), (1, 1), None, id="mirrored"),
        pytest.param(bad(route="preview"), None, None, id="a person looking"),
        pytest.param(good("v2", status=0, client_gone=True), None, None, id="the caller left"),
        pytest.param(good("v2", status=0, client_gone=True, attempts=2), None, None, id="the caller left a retry"),
        pytest.param(bad("v0"), None, None, id="another version"),
        pytest.param(good("v2", grpc_status=0), (1, 0), (1, 0), id="gRPC OK"),
        pytest.param(good("v2", grpc_status=5), (1, 0), (1, 0), id="gRPC NOT_FOUND"),
        pytest.param(good("v2", grpc_status=8), (1, 0), (1, 0), id="gRPC RESOURCE_EXHAUSTED"),
        *(
            pytest.param(good("v2", grpc_status=status), (1, 1), (1, 1), id=f"gRPC {name}")
            for name, status in {
                "UNKNOWN": 2,
                "DEADLINE_EXCEEDED": 4,
                "UNIMPLEMENTED": 12,
                "INTERNAL": 13,
                "UNAVAILABLE": 14,
                "DATA_LOSS": 15,
            }.items()
        ),
    ],
)
def test_an_outcome_counts_for_errors_and_for_users_hurt(outcome, errors, hurt):
    """`errors` is what the version did, `hurt` is what callers got."""
    expected = {"errors": errors, "hurt": hurt}
    assert asked(QUESTION, outcome) == {
        (criterion, "v2", "request"): pair for criterion, pair in expected.items() if pair
    }


def test_a_retry_counts_against_stable_as_it_counts_against_the_candidate():
    """First attempts are compared, so retries favour neither version."""
    tallies = asked(QUESTION, good("v1", attempts=2), good("v2", attempts=2))
    assert tallies["errors", "v1", "request"] == tallies["errors", "v2", "request"] == (1, 1)


@pytest.mark.parametrize(
    ("outcome", "slow"),
    [
        pytest.param(good("v1", duration_ms=100.0), (1, 0), id="stable at its threshold"),
        pytest.param(good("v1", duration_ms=100.1), (1, 1), id="stable above its threshold"),
        pytest.param(good("v2", duration_ms=110.0), (1, 0), id="the candidate at its own threshold"),
        pytest.param(good("v2", duration_ms=110.1), (1, 1), id="the candidate above it"),
        pytest.param(bad("v2", duration_ms=500.0), None, id="a slow failure is a failure"),
        pytest.param(good("v2", duration_ms=500.0, attempts=2), None, id="a retried request"),
        pytest.param(bad("v2", status=504, duration_ms=50.0), (1, 1), id="a time-out is slow at any duration"),
        pytest.param(good("v2", grpc_status=4, duration_ms=50.0), (1, 1), id="a gRPC deadline is a time-out"),
        pytest.param(good("v2", status=0, client_gone=True, duration_ms=50.0), None, id="left too early to tell"),
        pytest.param(good("v2", status=0, client_gone=True, duration_ms=200.0), (1, 1), id="left when it was slow"),
        pytest.param(good("v2", status=101, duration_ms=60_000.0), None, id="an upgraded connection"),
        pytest.param(good("v2", route="mirror", duration_ms=200.0), (1, 1), id="mirrored"),
        pytest.param(good("v2", route="preview", duration_ms=200.0), None, id="a person looking"),
    ],
)
def test_an_outcome_counts_for_latency(outcome, slow):
    """Slowness is told from failure, and each version has its own threshold."""
    assert asked(TIMED, outcome).get(("latency-p99", outcome.version, "request")) == slow


def test_only_a_failure_of_the_candidate_calls_for_a_look_at_once(counter):
    """Stable's failures and slow answers can wait for the next look."""
    assert counter.add(bad("v2"))
    assert counter.add(good("v2", attempts=2))
    assert not counter.add(bad("v1"))
    assert not counter.add(good("v2", duration_ms=9_000.0))
    assert not counter.add(bad("v2", route="preview"))
    turn(counter, 110.0, None)
    assert not counter.add(bad("v2"))


def test_a_read_drains_by_the_question_that_was_in_force(counter):
    """A question is about the interval after it, never about the one before."""
    counter.add(bad("v2"))
    first = turn(counter, 110.0, Question(stable="v2", candidate="v3"))
    assert counts(first)["errors", "v2", "request"] == (1, 1)
    counter.add(good("v3"))
    second = turn(counter, 120.0, None)
    assert counts(second) == {("errors", "v3", "request"): (1, 0), ("hurt", "v3", "request"): (1, 0)}
    counter.add(good("v3"))
    assert turn(counter, 130.0, QUESTION).tallies == ()


def test_a_read_goes_on_by_the_same_question(counter):
    """Nothing needs to be asked twice."""
    counter.read(95.0)
    counter.add(good("v1"))
    assert counts(counter.read(110.0))["errors", "v1", "request"] == (1, 0)


def test_what_was_counted_before_a_new_question_is_kept_for_the_next_read(counter):
    """Each interval is told by its own question, and none is lost."""
    counter.add(bad("v2"))
    counter.ask(101.0, Question(stable="v1", candidate="v2", latency=(SLOWER,)))
    counter.add(bad("v2"))
    counter.add(good("v2", duration_ms=200.0))
    errors = [t for t in counter.read(110.0).tallies if t.criterion in ("errors", "latency-p99")]
    assert [(t.criterion, t.start_s, t.end_s, t.total, t.bad) for t in errors] == [
        ("errors", 90.0, 101.0, 1, 1),
        ("errors", 101.0, 110.0, 2, 1),
        ("latency-p99", 101.0, 110.0, 1, 1),
    ]


def test_asking_the_same_question_again_changes_nothing(counter):
    """Every pass asks; only another question begins another interval."""
    counter.add(bad("v2"))
    counter.ask(101.0, Question(stable="v1", candidate="v2"))
    counter.add(bad("v2"))
    (errors, _) = counter.read(110.0).tallies
    assert (errors.start_s, errors.end_s, errors.total) == (90.0, 110.0, 2)


def test_the_dates_of_an_earlier_candidate_are_not_told_of_the_next(counter):
    """A new release does not begin with the failures of the last one."""
    counter.add(bad("v2", at_s=100.0))
    counter.ask(101.0, Question(stable="v1", candidate="v3"))
    counter.add(bad("v3", at_s=105.0, duration_ms=0.0))
    reading = counter.read(110.0)
    assert (reading.first_bad_s, reading.last_candidate_s) == (105.0, 105.0)
    assert counts(reading)["errors", "v2", "request"] == (1, 1)


def test_tallies_cover_the_interval_between_two_reads(counter):
    """An interval begins where the last one ended."""
    turn(counter, 95.0, QUESTION)
    counter.add(good("v1"))
    (tally, _) = turn(counter, 101.5, QUESTION).tallies
    assert (tally.start_s, tally.end_s) == (95.0, 101.5)


def test_the_first_failure_and_the_last_request_of_the_candidate_are_dated(counter):
    """The first failure by its end, the last request by its start; stable's do not matter; a read forgets both."""
    counter.add(bad("v1", at_s=99.0))
    counter.add(good("v2", at_s=100.0, duration_ms=1_000.0))
    counter.add(bad("v2", at_s=101.0, duration_ms=200.0))
    counter.add(bad("v2", at_s=100.5, duration_ms=200.0))
    reading = turn(counter, 110.0, QUESTION)
    assert reading.first_bad_s == 100.5
    assert reading.last_candidate_s == pytest.approx(100.8)
    reading = turn(counter, 120.0, QUESTION)
    assert (reading.first_bad_s, reading.last_candidate_s) == (None, None)


def test_the_candidates_bad_answers_are_told_by_how_by_whom_and_to_whom(counter):
    """What looks alike is added up; stable's are left out; a read forgets them."""
    counter.add(bad("v1"))
    counter.add(bad(at_s=100.0, caller="web", replica="r1"))
    counter.add(bad(at_s=102.0, caller="web", replica="r1"))
    counter.add(bad(at_s=101.0, status=504, caller="cart", replica="r2"))
    counter.add(good("v2", grpc_status=14))
    counter.add(good("v2", broken_off=True))
    counter.add(good("v2", attempts=2))
    counter.add(bad(rescued=True))
    found = turn(counter, 110.0, QUESTION).bad_answers
    assert {(one.how, one.replica, one.caller): (one.count, one.first_s, one.last_s) for one in found} == {
        ("500", "r1", "web"): (2, 100.0, 102.0),
        ("time-out", "r2", "cart"): (1, 101.0, 101.0),
        ("gRPC 14", "", ""): (1, 100.0, 100.0),
        ("200, broken off", "", ""): (1, 100.0, 100.0),
        ("good at a second attempt", "", ""): (1, 100.0, 100.0),
        ("answered by stable instead", "", ""): (1, 100.0, 100.0),
    }
    assert turn(counter, 120.0, QUESTION).bad_answers == ()


def test_slow_answers_of_the_candidate_are_told_by_their_criterion():
    """A slow answer is nobody's error, and is told as slow."""
    counter = Counter("orders")
    turn(counter, 90.0, TIMED)
    counter.add(good("v2", duration_ms=500.0, replica="r1"))
    counter.add(good("v1", duration_ms=500.0, replica="r0"))
    (one,) = turn(counter, 110.0, TIMED).bad_answers
    assert (one.criterion, one.how, one.replica, one.count) == ("latency-p99", "slow", "r1", 1)


def test_kinds_of_bad_answers_are_bounded(counter):
    """A thousand callers are not told one by one: their number stays right."""
    for number in range(1000):
        counter.add(bad(caller=f"c{number}"))
    found = turn(counter, 110.0, QUESTION).bad_answers
    assert len(found) <= KINDS_AT_MOST + 1
    assert sum(one.count for one in found) == 1000


def test_a_cluster_counts_until_its_first_failure_and_again_after_the_mute():
    """A storm of retries by one caller is one piece of evidence; its requests before it count in full."""
    storm = [bad("v2", key="ada", at_s=100.0 + second) for second in range(0, 60, 10)]
    tallies = asked(KEYED, good("v2", key="ada"), *storm, bad("v2", key="ada", at_s=160.0))
    assert tallies["errors", "v2", "cluster"] == (3, 2)
    assert tallies["errors", "v2", "request"] == (8, 7)


def test_a_muted_cluster_counts_on_neither_version():
    """A caller who failed on stable tells nothing new on the candidate, good or bad."""
    tallies = asked(KEYED, bad("v1", key="ada"), bad("v2", key="ada"), good("v1", key="ada"), good("v2", key="bob"))
    assert tallies["errors", "v1", "cluster"] == (1, 1)
    assert tallies["errors", "v2", "cluster"] == (1, 0)


def test_a_cluster_stays_muted_over_reads_until_its_key_stands_elsewhere():
    """Muting belongs to the caller, not to the interval; another header means other keys."""
    counter = Counter("orders")
    turn(counter, 90.0, KEYED)
    counter.add(bad("v2", key="ada"))
    turn(counter, 101.0, KEYED)
    counter.add(bad("v2", key="ada", at_s=102.0))
    reading = turn(counter, 103.0, Question(stable="v1", candidate="v2", cluster_key=ClusterKey(cookie="session")))
    assert ("errors", "v2", "cluster") not in counts(reading)
    counter.add(bad("v2", key="ada", at_s=104.0))
    assert counts(turn(counter, 105.0, KEYED))["errors", "v2", "cluster"] == (1, 1)


def test_each_criterion_mutes_for_itself():
    """A slow answer does not hide the failure that follows it."""
    question = Question(stable="v1", candidate="v2", latency=(SLOWER,), cluster_key=ClusterKey(header="x-user"))
    tallies = asked(question, good("v2", key="ada", duration_ms=900.0), bad("v2", key="ada"), good("v2", key="ada"))
    assert tallies["latency-p99", "v2", "cluster"] == (1, 1)
    assert tallies["errors", "v2", "cluster"] == (2, 1)


def test_requests_without_a_key_are_in_no_cluster():
    """A missing key is no common key."""
    assert not [place for place in asked(KEYED, bad("v2"), good("v2")) if "cluster" in place]


def test_users_hurt_are_counted_by_request_alone():
    """`hurt` is a bill, not evidence: neither clusters nor placebo arms."""
    question = Question(stable="v1", candidate="v2", cluster_key=ClusterKey(header="x"), arms=1, arm_share=1.0)
    tallies = asked(question, good("v1", key="ada"), bad("v2", key="ada"))
    assert {place[2] for place in tallies if place[0] == "hurt"} == {"request"}
    assert {place[2] for place in tallies if place[0] == "errors"} == {"request", "cluster", 0}


def test_muted_keys_are_bounded_and_expire(monkeypatch):
    """Whatever callers put into the key, memory ends; a key whose time is over is forgotten."""
    monkeypatch.setattr(_Muted, "LIMIT", 3)
    muted = _Muted()
    for key in range(5):
        muted.add(key, 100.0, 160.0)
    assert [muted.holds(key, 101.0) for key in range(5)] == [False, False, True, True, True]
    muted.add(9, 170.0, 230.0)
    assert list(muted._until_s) == [9]


def test_placebo_arms_are_cut_from_stable_alone():
    """The candidate is never its own placebo; every arm counts what it was dealt, in each criterion."""
    question = Question(stable="v1", candidate="v2", latency=(SLOWER,), arms=1, arm_share=1.0)
    tallies = asked(question, good("v1"), bad("v1"), bad("v2"), good("v1", duration_ms=200.0))
    assert tallies["errors", "v1", 0] == tallies["errors", "v1", "request"] == (3, 1)
    assert tallies["latency-p99", "v1", 0] == (2, 1)
    assert ("errors", "v2", 0) not in tallies


def test_a_cluster_falls_into_one_arm_whole():
    """With a key the arm is dealt to the caller, not to the request."""
    question = Question(stable="v1", candidate="v2", cluster_key=ClusterKey(header="x"), arms=10, arm_share=0.1)
    tallies = asked(question, *(good("v1", key="ada", request_id=str(number)) for number in range(50)))
    assert [tally for place, tally in tallies.items() if isinstance(place[2], int)] == [(50, 0)]


def test_arms_fall_alike_on_every_machine():
    """The hash has no seed: these places are fixed for good."""
    question = Question(stable="v1", candidate="v2", arms=4, arm_share=0.2)
    tallies = asked(question, *(good("v1", request_id=f"request-{number}") for number in range(20)))
    assert {place[2]: tally[0] for place, tally in tallies.items() if isinstance(place[2], int)} == {
        0: 2,
        1: 2,
        2: 3,
        3: 5,
    }


def test_arms_that_do_not_fit_are_a_mistake_of_the_asker():
    """Ten arms of a fifth each would overlap; starving some of them silently would bend the judge's odds."""
    with pytest.raises(ValueError, match="do not fit"):
        turn(Counter("orders"), 90.0, Question(stable="v1", arms=10, arm_share=0.2))


def test_the_rate_is_unknown_for_a_second_then_follows_the_traffic_down_to_zero():
    """The last ten seconds, all versions, without mirrored requests and previews."""
    counter = Counter("orders")
    assert turn(counter, 100.0, QUESTION).rate_per_s is None
    for number in range(40):
        at_s = 100.0 + number / 20
        counter.add(good("v1" if number % 2 else "v2", at_s=at_s))
        counter.add(good("v2", route="mirror", at_s=at_s))
        counter.add(good("v2", route="preview", at_s=at_s))
    assert turn(counter, 100.9, QUESTION).rate_per_s is None
    assert turn(counter, 102.0, QUESTION).rate_per_s == pytest.approx(20.0)
    assert turn(counter, 109.0, QUESTION).rate_per_s == pytest.approx(40 / 9)
    assert turn(counter, 110.0, QUESTION).rate_per_s == pytest.approx(30 / 9.5)
    assert turn(counter, 113.0, QUESTION).rate_per_s == 0.0


def test_no_traffic_is_a_rate_of_zero_and_no_blindness():
    """Silence is an observation."""
    counter = Counter("orders")
    turn(counter, 100.0, QUESTION)
    reading = turn(counter, 105.0, QUESTION)
    assert (reading.rate_per_s, reading.blind_since_s) == (0.0, None)


def test_blindness_makes_the_rate_unknown_until_a_second_was_seen_again():
    """What was not seen is not zero."""
    counter = Counter("orders")
    turn(counter, 100.0, QUESTION)
    counter.add(good("v1", at_s=101.0))
    counter.blind(103.0)
    reading = turn(counter, 105.0, QUESTION)
    assert (reading.rate_per_s, reading.blind_since_s) == (None, 103.0)
    counter.sighted(106.0)
    assert turn(counter, 106.5, QUESTION).rate_per_s is None
    counter.add(good("v1", at_s=107.0))
    assert turn(counter, 108.0, QUESTION).rate_per_s == 0.5


def test_stables_quantiles_need_200_good_answers_and_count_no_others():
    """Failures, retries, rescues, callers who left and upgraded connections tell nothing of stable's pace."""
    counter = Counter("orders")
    counter.ask(90.0, QUESTION)
    for other in (
        bad("v1"),
        good("v1", attempts=2),
        good("v1", status=0, client_gone=True),
        good("v1", status=101),
        good("v1", route="preview"),
        good("v2"),
    ):
        for _ in range(200):
            counter.add(other)
    for milliseconds in range(1, 200):
        counter.add(good("v1", duration_ms=float(milliseconds)))
    assert turn(counter, 100.0, QUESTION).stable_ms == ()
    counter.add(good("v1", duration_ms=200.0))
    assert turn(counter, 100.1, QUESTION).stable_ms == (
        (0.5, 100.0),
        (0.75, 150.0),
        (0.9, 180.0),
        (0.95, 190.0),
        (0.99, 198.0),
        (0.999, 200.0),
    )


def test_stables_quantiles_are_of_the_last_5000_and_renewed_every_five_seconds():
    """Old durations give way; a look in between costs nothing; a new stable is looked at once."""
    counter = Counter("orders")
    counter.ask(90.0, QUESTION)
    for _ in range(5_000):
        counter.add(good("v1", duration_ms=1.0))
    assert counter.read(100.0).stable_ms[0] == (0.5, 1.0)
    for _ in range(2_501):
        counter.add(good("v1", duration_ms=2.0))
        counter.add(good("v2", duration_ms=7.0))
    assert counter.read(104.9).stable_ms[0] == (0.5, 1.0)
    assert counter.read(105.0).stable_ms[0] == (0.5, 2.0)
    for _ in range(2_499):
        counter.add(good("v1", duration_ms=2.0))
    assert counter.read(110.0).stable_ms == tuple((q, 2.0) for q in (0.5, 0.75, 0.9, 0.95, 0.99, 0.999))
    counter.ask(110.1, Question(stable="v2"))
    assert counter.read(110.1).stable_ms[0] == (0.5, 7.0)


def test_durations_are_kept_for_few_versions_and_always_for_those_judged():
    """A service that is released often does not collect versions."""
    counter = Counter("orders")
    turn(counter, 90.0, QUESTION)
    for version in ("v1", "v2", *(f"old-{number}" for number in range(20))):
        counter.add(good(version))
    assert len(counter._durations) == Counter.VERSIONS_KEPT
    assert {"v1", "v2"} <= set(counter._durations)


def test_the_catalogue_tells_callers_versions_and_replicas_apart():
    """Callers are told what they got, versions what they did, replicas what they answered."""
    counter = Counter("orders")
    for second in range(10):
        at_s = 100.0 + second
        counter.add(good("v1", caller="web", replica="10.0.0.1:80", at_s=at_s, duration_ms=10.0))
        counter.add(bad("v2", caller="", replica="10.0.0.2:80", at_s=at_s, duration_ms=1_000.0))
        rescued = {"attempts": 2, "rescued": True, "replica": "10.0.0.1:80"}
        counter.add(good("v2", caller="web", at_s=at_s, duration_ms=1_000.0, **rescued))
    outside, web = counter.edges(110.0)
    assert (outside.caller, outside.callee, outside.figures.requests, outside.figures.bad) == ("", "orders", 10, 10)
    assert (web.caller, web.figures.requests, web.figures.bad, web.last_s) == ("web", 20, 0, 109.0)
    assert web.figures.rate_per_s == pytest.approx(2.0)
    assert web.figures.p50_ms == pytest.approx(10.0, rel=0.05)
    assert web.figures.p99_ms == pytest.approx(1_000.0, rel=0.05)
    stable, candidate = counter.traffic(110.0)
    assert (stable.version, stable.figures.requests, stable.figures.bad) == ("v1", 10, 0)
    assert (candidate.version, candidate.figures.requests, candidate.figures.bad) == ("v2", 20, 20)
    assert [(one.replica, one.figures.requests, one.figures.bad) for one in stable.replicas] == [("10.0.0.1:80", 10, 0)]
    assert [one.replica for one in candidate.replicas] == ["10.0.0.2:80"]


def test_the_catalogue_forgets_figures_after_a_minute_and_callers_never():
    """Who calls whom outlasts a quiet minute; figures do not."""
    counter = Counter("orders")
    counter.add(good("v1", caller="web", at_s=100.0, duration_ms=0.2))
    assert counter.edges(119.0)[0].figures.p50_ms == pytest.approx(0.2, rel=0.05)
    assert counter.edges(149.0)[0].figures.requests == 1
    counter.add(good("v1", caller="web", at_s=151.0))
    (edge,) = counter.edges(241.0)
    assert (edge.caller, edge.last_s, edge.figures.requests, edge.figures.rate_per_s) == ("web", 151.0, 0, 0.0)
    assert counter.traffic(241.0) == ()


def test_tallies_come_in_a_fixed_order():
    """Equal inputs give equal readings, to the last bit."""
    question = Question(stable="v1", candidate="v2", latency=(SLOWER,), cluster_key=ClusterKey(header="x"))
    counter = Counter("orders")
    turn(counter, 90.0, question)
    counter.add(bad("v2", key="b"))
    counter.add(good("v1", key="a"))
    order = [(tally.criterion, tally.version, tally.unit) for tally in turn(counter, 110.0, question).tallies]
    assert order == [
        ("errors", "v1", Unit.REQUEST),
        ("errors", "v2", Unit.REQUEST),
        ("errors", "v1", Unit.CLUSTER),
        ("errors", "v2", Unit.CLUSTER),
        ("hurt", "v1", Unit.REQUEST),
        ("hurt", "v2", Unit.REQUEST),
        ("latency-p99", "v1", Unit.REQUEST),
        ("latency-p99", "v1", Unit.CLUSTER),
    ]
    assert GOOD.bad_answer is False


@pytest.mark.parametrize(
    ("outcome", "kinds"),
    [
        ({"status": 404, "replica": "a:1"}, {ErrorClass.CLIENT}),
        ({"status": 500, "replica": "a:1"}, {ErrorClass.SERVER}),
        ({"status": 503, "replica": None}, {ErrorClass.CONNECTION}),
        ({"status": 504, "replica": "a:1"}, {ErrorClass.TIMEOUT}),
        ({"status": 200, "replica": "a:1", "broken_off": True}, {ErrorClass.CONNECTION}),
        ({"status": 200, "replica": "a:1", "grpc_status": 13}, {ErrorClass.GRPC}),
        ({"status": 200, "replica": "a:1"}, set()),
        ({"status": 404, "replica": "a:1", "rescued": True}, set()),
    ],
    ids=["404", "500", "no replica", "504", "broken off", "gRPC INTERNAL", "good", "another version's answer"],
)
def test_an_error_is_of_one_kind(outcome: dict[str, object], kinds: set[ErrorClass]):
    """By the answer that the version itself gave; what another version answered in its place tells nothing of it."""
    ended = Outcome(service="orders", version="v2", at_s=1.0, duration_ms=2.0, **outcome)
    assert {kind for kind in ErrorClass if is_of(ended, kind)} == kinds


def test_of_very_many_callers_those_who_called_last_are_kept():
    """Names of callers come from outside: what is kept of them is bounded."""
    traffic = RecentTraffic("orders")
    for number in range(RecentTraffic.CALLERS_KEPT + 5):
        traffic.add((f"caller-{number}", "v1", "r"), 100.0, 10.0, failed=False, bad=False)
        traffic.add(("web", "v1", "r"), 100.0, 10.0, failed=False, bad=False)
    callers = {edge.caller for edge in traffic.edges(100.0)}
    assert len(callers) == RecentTraffic.CALLERS_KEPT
    assert {"web", f"caller-{RecentTraffic.CALLERS_KEPT + 4}"} <= callers
    assert "caller-0" not in callers
