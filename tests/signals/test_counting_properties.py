"""What holds for any outcomes, in any order, at any batching."""

from collections import Counter as Sums
from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from outcomes_by_hand import turn

from sternway.domain.tallies import ClusterKey, LatencyThreshold, Question, Unit
from sternway.signals.counting import Counter, Outcome

QUESTION = Question(
    stable="v1",
    candidate="v2",
    cluster_key=ClusterKey(header="x-user", mute_s=5.0),
    latency=(
        LatencyThreshold(criterion="latency-p50", stable_ms=20.0, candidate_ms=22.0),
        LatencyThreshold(criterion="latency-p99", stable_ms=80.0, candidate_ms=88.0),
    ),
    arms=4,
    arm_share=0.2,
)
STATUSES = [200, 200, 200, 404, 500, 503, 504, 101, 0]


@st.composite
def streams(draw):
    """Draw outcomes in the order of time."""
    gaps = draw(st.lists(st.floats(0.0, 3.0), max_size=60))
    at_s = 1_000.0
    outcomes = []
    for gap in gaps:
        at_s += gap
        status = draw(st.sampled_from(STATUSES))
        outcomes.append(
            Outcome(
                service="orders",
                version=draw(st.sampled_from(["v1", "v2", "v3"])),
                at_s=at_s,
                duration_ms=draw(st.floats(0.0, 120.0)),
                status=status,
                attempts=draw(st.integers(0, 2)),
                route=draw(st.sampled_from(["split", "pin", "mirror", "preview"])),
                rescued=draw(st.booleans()),
                client_gone=status == 0,
                key=draw(st.sampled_from([None, "ada", "bob", "cy"])),
                request_id=draw(st.sampled_from(["", "r1", "r2", "r3", "r4", "r5"])),
            )
        )
    return outcomes


def sums(readings):
    """Add up tallies over readings."""
    totals = Sums()
    for reading in readings:
        for tally in reading.tallies:
            place = (tally.criterion, tally.version, tally.unit, tally.arm)
            totals[place, "total"] += tally.total
            totals[place, "bad"] += tally.bad
    return totals


def run(outcomes, cuts=frozenset()):
    """Read after the outcomes at these places, and at the end."""
    counter = Counter("orders")
    turn(counter, 1_000.0, QUESTION)
    readings = []
    for place, outcome in enumerate(outcomes):
        counter.add(outcome)
        if place in cuts:
            readings.append(turn(counter, outcome.at_s, QUESTION))
    readings.append(turn(counter, 2_000.0, QUESTION))
    return readings


@given(streams(), st.frozensets(st.integers(0, 60)))
def test_any_batching_gives_the_same_sums(outcomes, cuts):
    """Tallies add up to the same, however often they are drained, muted clusters included."""
    assert sums(run(outcomes, cuts)) == sums(run(outcomes))


@given(streams(), st.frozensets(st.integers(0, 60)))
def test_the_same_outcomes_and_reads_give_the_same_readings(outcomes, cuts):
    """Two counters agree to the last bit."""
    assert run(outcomes, cuts) == run(outcomes, cuts)


@given(streams(), st.frozensets(st.integers(0, 60)))
def test_a_change_of_question_loses_nothing(outcomes, cuts):
    """Question by question, the errors of a version that all of them name add up to the same."""
    counter = Counter("orders")
    counter.ask(1_000.0, QUESTION)
    for place, outcome in enumerate(outcomes):
        counter.add(outcome)
        if place in cuts:
            counter.ask(outcome.at_s, replace(QUESTION, arms=place % 5, latency=()))
    totals, expected = sums([counter.read(2_000.0)]), sums(run(outcomes))
    for version, unit in product(("v1", "v2"), Unit):
        errors = ("errors", version, unit, None)
        assert totals[errors, "total"] == expected[errors, "total"]
        assert totals[errors, "bad"] == expected[errors, "bad"]


@given(streams())
def test_clusters_and_arms_never_hold_more_than_all_requests(outcomes):
    """Clusters and arms are parts of a version's traffic; arms are disjoint, so even their sum is."""
    (reading,) = run(outcomes)
    whole = {(t.criterion, t.version): t for t in reading.tallies if t.unit is Unit.REQUEST and t.arm is None}
    arms = Sums()
    for tally in reading.tallies:
        place = (tally.criterion, tally.version)
        assert tally.total <= whole[place].total
        assert tally.bad <= whole[place].bad
        if tally.arm is not None:
            assert tally.version == "v1"
            arms[place] += tally.total
    assert all(arms[place] <= whole[place].total for place in arms)


@given(streams())
def test_users_hurt_are_never_more_than_the_failures(outcomes):
    """Every bad answer that reached a caller is a failure of the version too."""
    totals = sums(run(outcomes))
    for version in ("v1", "v2"):
        hurt = ("hurt", version, Unit.REQUEST, None)
        errors = ("errors", version, Unit.REQUEST, None)
        assert totals[hurt, "bad"] <= totals[errors, "bad"]
        assert totals[hurt, "total"] <= totals[errors, "total"]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 30), st.floats(0.2, 1.0), st.text(max_size=5))
def test_each_arm_gets_about_its_share(arms, filled, salt):
    """4,000 requests fall into the arms within six standard deviations of their share."""
    share = filled / arms
    counter = Counter("orders")
    question = Question(stable="v1", arms=arms, arm_share=share)
    turn(counter, 1_000.0, question)
    for number in range(4_000):
        counter.add(
            Outcome(
                service="orders",
                version="v1",
                at_s=1_000.0,
                duration_ms=1.0,
                status=200,
                request_id=f"{salt}{number}",
            )
        )
    sizes = {t.arm: t.total for t in turn(counter, 1_001.0, question).tallies if t.criterion == "errors"}
    assert sizes.pop(None) == 4_000
    deviation = (4_000 * share * (1 - share)) ** 0.5
    assert all(abs(sizes.get(arm, 0) - 4_000 * share) <= 6 * deviation for arm in range(arms))
