"""Metrics as criteria: promised rates under the null, power, thresholds as the peers count them, and blindness."""

import math
import random
from dataclasses import replace

import pytest
from judge_traffic import CANDIDATE, KEYLESS, STABLE, binomial_limit, start, tally

from sternway.domain.evidence import Checked, Counts, Shared
from sternway.domain.judgements import Verdict
from sternway.domain.metrics import Limits, Metric, Ratio, Sample, Slower, Unseen, Versus, Worse
from sternway.domain.tallies import Reading
from sternway.judgement import begin_exposure, find_unseen, judge
from sternway.judgement.budget import budget
from sternway.judgement.checked import check_sample, condemns, holds
from sternway.judgement.ranked import block_length, new_ranked, weigh_sample
from sternway.judgement.ratios import cluster_size, new_ratio, weigh_ratio
from sternway.stats.wealth import added

REFUSED = Metric(name="refused", interval_s=5.0, ratio=Ratio(bad="", total=""))
DEPTH = Metric(name="depth", interval_s=5.0, versus=Versus(query="", worse=Worse.HIGHER))
LOW = replace(DEPTH, versus=Versus(query="", worse=Worse.LOWER))
T0 = 1_000_000.0


def limits(**more: object) -> Metric:
    """Build a metric with limits."""
    return Metric(name="value", interval_s=5.0, limits=Limits(query="", **more))


def measure(metric: Metric, *values: float | None, stable: float | None = None) -> Checked:
    """Measure values one after the other."""
    known = Checked(name=metric.name)
    for at, value in enumerate(values):
        known = check_sample(metric, known, Sample(criterion=metric.name, at_s=T0 + at, candidate=value, stable=stable))
    return known


def ratio_run(rng: random.Random, *, candidate: float, stable: float, intervals: int, each: int = 20):
    """Judge a ratio until it is over; gives the verdict, the judgement and how many intervals it took."""
    settings = replace(KEYLESS, metrics=(REFUSED,))
    evidence = start(settings)
    for number in range(1, intervals + 1):
        now_s = T0 + 5.0 * number
        counts = [(True, each, candidate), (False, 4 * each, stable)]
        tallies = tuple(
            tally(
                candidate=ours,
                total=total,
                bad=sum(rng.random() < rate for _ in range(total)),
                at_s=now_s,
                criterion="refused",
            )
            for ours, total, rate in counts
        )
        evidence, judged = judge(settings, evidence, Reading(tallies=tallies), now_s=now_s)
        if judged.verdict is Verdict.HARMFUL:
            return judged, number
        if judged.verdict is Verdict.SUSPECT:
            evidence = begin_exposure(evidence)
    return judged, intervals


def test_a_ratio_that_is_worse_is_condemned_with_its_numbers():
    """Half of the candidate's orders are refused, one in a thousand of stable's: condemned, and it says how it counted."""
    judged, intervals = ratio_run(random.Random(1), candidate=0.5, stable=0.001, intervals=50)
    assert judged.verdict is Verdict.HARMFUL
    assert judged.criterion == "refused"
    assert "counting an interval as one" in judged.sentence
    assert 5 <= intervals <= 25


def test_healthy_ratios_are_condemned_no_more_often_than_promised():
    """30 healthy releases of 10 min at a common rate: the promise is 1 % for all criteria together."""
    rng = random.Random(20_260_101)
    wrong = sum(
        ratio_run(rng, candidate=0.05, stable=0.05, intervals=120, each=10)[0].verdict is Verdict.HARMFUL
        for _ in range(30)
    )
    assert wrong <= binomial_limit(30, 0.01)


def test_trouble_of_both_blames_nobody():
    """Both refuse everything: nothing moves."""
    judged, _ = ratio_run(random.Random(2), candidate=1.0, stable=1.0, intervals=60)
    assert judged.verdict is Verdict.UNDECIDED


def storm(now_s: float, *, candidate: int, stable: int) -> Reading:
    """Make a reading of 500 orders of each version, so many of them refused."""
    both = ((True, candidate), (False, stable))
    return Reading(
        tallies=tuple(tally(candidate=ours, total=500, bad=bad, at_s=now_s, criterion="refused") for ours, bad in both)
    )


def test_one_interval_however_bad_does_nothing_and_a_second_suspects():
    """All 500 orders of an interval refused: it may be one caller's storm. The next one as bad is not."""
    settings = replace(KEYLESS, metrics=(REFUSED,))
    evidence, judged = judge(settings, start(settings), storm(T0, candidate=500, stable=0), now_s=T0)
    assert judged.verdict is Verdict.UNDECIDED
    assert added(evidence.measured.ratios[0].wealth) <= 4.0
    _, judged = judge(settings, evidence, storm(T0 + 5, candidate=500, stable=0), now_s=T0 + 5)
    assert judged.verdict is Verdict.SUSPECT


HEALTHY = [
    ("storms, half of the traffic", 0.5, 1.0, 10, 0.0),
    ("storms, a tenth", 0.1, 6.0, 10, 0.0),
    ("storms over errors of their own", 0.3, 2.0, 20, 0.01),
    ("single errors, very many", 0.1, 0.0, 1, 0.5),
    ("single errors, most of the traffic", 0.9, 0.0, 1, 0.01),
]


def shared_run(
    rng: random.Random, share: float, per_min: float, size: int, base: float, *, times: float = 1.0
) -> Shared:
    """Weigh 20 min of 60 orders/s in intervals of 5 s; gives the evidence at its highest."""
    known = highest = new_ratio(REFUSED)

    def bad(total: int, part: float, more: float) -> int:
        storms = sum(rng.random() < per_min / 12 * part * more / 4 for _ in range(4))
        mean = total * min(1.0, base * more)
        single = sum(rng.random() < mean / total for _ in range(total)) if mean else 0
        return min(total, storms * size + single)

    for number in range(240):
        ours = int(300 * share)
        counts = Counts(
            candidate_total=ours,
            candidate_bad=bad(ours, share, times),
            stable_total=300 - ours,
            stable_bad=bad(300 - ours, 1.0 - share, 1.0),
        )
        known = weigh_ratio(REFUSED, known, counts, start_s=T0 + 5.0 * number, now_s=T0 + 5.0 * (number + 1))
        highest = known if added(known.wealth) > added(highest.wealth) else highest
    return highest


@pytest.mark.parametrize("shape", [row[1:] for row in HEALTHY], ids=[row[0] for row in HEALTHY])
def test_bad_events_that_come_together_condemn_no_healthy_release(shape):
    """30 healthy releases of each shape: evidence of 100 to 1 in no more of them than one in a hundred would give."""
    rng = random.Random(17)
    wrong = sum(added(shared_run(rng, *shape).wealth) >= 100.0 for _ in range(30))
    assert wrong <= binomial_limit(30, 0.01)


def test_how_bad_events_come_together_is_learnt_from_stable():
    """Storms of ten are about ten; single errors are about one; with nothing to learn from, an interval is one."""
    rng = random.Random(2)
    assert 6.0 < cluster_size(shared_run(rng, 0.3, 6.0, 10, 0.0, times=50.0)) < 14.0
    assert cluster_size(shared_run(rng, 0.3, 0.0, 1, 0.05, times=10.0)) < 2.0
    assert cluster_size(new_ratio(REFUSED)) is None


def test_storms_withdraw_a_healthy_candidate_seldom():
    """Ten refusals at once, each minute, on half of the traffic each: at most two withdrawals an hour, in three."""
    rng = random.Random(17)
    settings = replace(KEYLESS, metrics=(REFUSED,))
    evidence, withdrawals = start(settings), 0
    for number in range(1, 3 * 720):
        bad = [10 if rng.random() < 1 / 24 else 0 for _ in range(2)]
        now_s = T0 + 5.0 * number
        evidence, judged = judge(settings, evidence, storm(now_s, candidate=bad[0], stable=bad[1]), now_s=now_s)
        assert judged.verdict is not Verdict.HARMFUL
        if judged.verdict is Verdict.SUSPECT:
            withdrawals += 1
            evidence = begin_exposure(evidence)
    assert withdrawals <= 6


def correlated(rng: random.Random, *, r: float, shift: float = 0.0):
    """Give pairs of values without end: two independent series of one kind, each neighbour resembling the last by r."""
    stable = candidate = 0.0
    while True:
        spread = math.sqrt(1.0 - r * r)
        stable = r * stable + spread * rng.gauss(0, 1)
        candidate = r * candidate + spread * rng.gauss(0, 1)
        yield 100.0 + 10.0 * candidate + shift, 100.0 + 10.0 * stable


def depth_run(rng: random.Random, metric: Metric, *, r: float, shift: float = 0.0, readings: int = 240) -> float:
    """Give the greatest evidence that a value beside stable's ever reached."""
    metric = replace(metric, versus=replace(metric.versus, worse_than_percent=0.0))
    known, most = new_ranked(metric), 0.0
    for at, (candidate, stable) in zip(range(readings), correlated(rng, r=r, shift=shift), strict=False):
        sample = Sample(criterion="depth", at_s=T0 + 5.0 * at, candidate=candidate, stable=stable)
        known = weigh_sample(metric, known, sample, blamed=True)
        most = max(most, added(known.wealth))
    return most


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_a_value_that_is_no_worse_keeps_the_promise_however_long_it_lasts(r):
    """300 pairs of equal series, without any margin: evidence of 100 to 1 comes up in at most one of a hundred."""
    rng = random.Random(7)
    wrong = sum(depth_run(rng, DEPTH, r=r) >= 100.0 for _ in range(300))
    assert wrong <= binomial_limit(300, 0.01)


def test_without_blocks_the_same_values_would_break_the_promise():
    """The test before this one can fail: weighed one by one, values that last condemn too often."""
    rng = random.Random(7)
    metric = replace(DEPTH, versus=replace(DEPTH.versus, worse_than_percent=0.0))

    def run() -> float:
        known, most = new_ranked(metric), 0.0
        for at, (candidate, stable) in zip(range(240), correlated(rng, r=0.9), strict=False):
            sample = Sample(criterion="depth", at_s=T0 + at, candidate=candidate, stable=stable)
            known = weigh_sample(metric, replace(known, length=1), sample, blamed=True)
            most = max(most, added(known.wealth))
        return most

    assert sum(run() >= 100.0 for _ in range(60)) > binomial_limit(60, 0.01)


def test_the_length_of_a_block_follows_from_what_stable_shows():
    """Independent readings count one by one; the longer they last, the longer the block; a window is never undercut."""
    rng = random.Random(3)
    found = []
    for r in (0.0, 0.8):
        known = new_ranked(DEPTH)
        for at, (candidate, stable) in zip(range(400), correlated(rng, r=r), strict=False):
            sample = Sample(criterion="depth", at_s=T0 + at, candidate=candidate, stable=stable)
            known = weigh_sample(DEPTH, known, sample, blamed=True)
        found.append(block_length(DEPTH, known))
    assert found[0] <= 2
    assert 12 <= found[1] <= 26
    assert block_length(replace(DEPTH, spans_s=60.0), new_ranked(DEPTH)) == 12


@pytest.mark.parametrize(("metric", "shift", "harmful"), [(DEPTH, 60.0, True), (LOW, -60.0, True), (LOW, 60.0, False)])
def test_a_value_that_is_worse_is_found_in_its_direction_alone(metric, shift, harmful):
    """Six standard deviations above (or below): sure within the hour; the other way round it is never harm."""
    most = depth_run(random.Random(5), metric, r=0.5, shift=shift, readings=720)
    assert (most >= budget(replace(KEYLESS, metrics=(metric,))).measured) is harmful


def test_a_drift_of_both_blames_nobody():
    """A gauge that climbs for both alike, the candidate a little lower: no evidence against it."""
    known = new_ranked(DEPTH)
    for at in range(300):
        sample = Sample(criterion="depth", at_s=T0 + at, candidate=10.0 * at, stable=10.0 * at + 1)
        known = weigh_sample(DEPTH, known, sample, blamed=True)
    assert known.blocks > 0
    assert known.blocks_worse == 0


ARGO = [
    # docs/features/analysis.md of Argo Rollouts: successCondition result[0] >= 0.95, failureLimit 3, interval 5m
    ("argo: three failures are borne", {"min": 0.95, "failure_limit": 3}, [0.9] * 3, False, False),
    ("argo: the fourth is not", {"min": 0.95, "failure_limit": 3}, [0.9] * 4, True, False),
    (
        "argo: failures add up over successes",
        {"min": 0.95, "failure_limit": 3},
        [0.9, 1, 0.9, 1, 0.9, 1, 0.9],
        True,
        False,
    ),
    ("argo: failureLimit 0 is the default", {"min": 0.95}, [0.99, 0.9], True, False),
    # the same page, "Inconclusive Runs": success result[0] >= 0.90, failure result[0] < 0.50
    ("argo: between both it is inconclusive", {"min": 0.90, "fail_min": 0.50}, [0.7], False, True),
    ("argo: below both it fails", {"min": 0.90, "fail_min": 0.50}, [0.4], True, False),
    ("argo: inconclusiveLimit", {"min": 0.90, "fail_min": 0.50, "inconclusive_limit": 2}, [0.7, 0.7], False, False),
    ("argo: count ends it", {"min": 0.95, "count": 2}, [1, 1, 0.1], False, False),
    # docs/gitbook/tutorials/istio-progressive-delivery.md of Flagger: threshold 5, thresholdRange min 99
    ("flagger: threshold 5 bears four", {"min": 99.0, "failure_limit": 4}, [50.0] * 4, False, False),
    ("flagger: threshold 5 takes the fifth", {"min": 99.0, "failure_limit": 4}, [50.0] * 5, True, False),
    ("flagger: thresholdRange max 500", {"max": 500.0}, [500.0, 501.0], True, False),
    ("flagger: the limit itself is good", {"min": 99.0, "max": 500.0}, [99.0, 500.0], False, False),
]


@pytest.mark.parametrize(
    ("more", "values", "condemned", "held"), [row[1:] for row in ARGO], ids=[row[0] for row in ARGO]
)
def test_limits_count_as_the_peers_count(more, values, condemned, held):
    """Their documented examples come out as they say."""
    metric = limits(**more)
    known = measure(metric, *values)
    assert condemns(metric.limits, known) is condemned
    assert holds(metric.limits, known) is held


def test_no_value_is_no_failure():
    """Five errors in a row end an analysis of Argo Rollouts; here they are counted as errors, and blind it."""
    metric = limits(min=99.0)
    known = measure(metric, *[None] * 50)
    assert not condemns(metric.limits, known)
    assert known.errors == 50
    assert measure(metric, None, None, 99.5).errors == 0


def test_what_fails_for_stable_too_does_not_count():
    """Blame is comparative, for limits as well."""
    metric = limits(min=99.0)
    known = measure(metric, *[50.0] * 20, stable=50.0)
    assert not condemns(metric.limits, known)
    assert known.common == 20


def reading(*values: float, at_s: float = T0) -> Reading:
    """Make a reading with measurements of the candidate."""
    return Reading(samples=tuple(Sample(criterion="value", at_s=at_s, candidate=value) for value in values))


def test_a_withdrawn_candidate_is_not_measured():
    """Without traffic its values say nothing: they neither fail nor suspect."""
    settings = replace(KEYLESS, metrics=(limits(min=99.0),))
    evidence, judged = judge(settings, start(settings), reading(0.0), now_s=T0, exposed=False)
    assert judged.verdict is Verdict.UNDECIDED
    _, judged = judge(settings, evidence, reading(0.0), now_s=T0, exposed=True)
    assert judged.verdict is Verdict.HARMFUL


def test_a_value_that_looks_back_beyond_the_exposure_is_left_out():
    """rate(…[1m]) ten seconds after the exposure began is mostly about the time before it."""
    metric = replace(limits(min=99.0), spans_s=60.0)
    settings = replace(KEYLESS, metrics=(metric,))
    evidence, _ = judge(settings, start(settings), Reading(), now_s=T0)
    evidence, judged = judge(settings, evidence, reading(0.0, at_s=T0 + 10), now_s=T0 + 10)
    assert judged.verdict is Verdict.UNDECIDED
    _, judged = judge(settings, evidence, reading(0.0, at_s=T0 + 61), now_s=T0 + 61)
    assert judged.verdict is Verdict.HARMFUL


def test_every_measured_criterion_takes_its_part_of_the_one_budget():
    """The parts of all families add up to the promise, with metrics and without."""
    slower = Metric(name="slow", slower=Slower(histogram=""))
    for metrics in ((), (REFUSED,), (REFUSED, DEPTH, slower, limits(min=1.0))):
        settings = replace(KEYLESS, metrics=metrics)
        spent = budget(settings)
        e_processes = sum(metric.limits is None for metric in metrics)
        others = 1 / spent.rounds + 1 / spent.history + 1 / spent.alone + 1 / spent.shared
        whole = others + (e_processes / spent.measured if e_processes else 0.0)
        assert whole == pytest.approx(settings.false_rollback_rate)


MISSING = [
    ("everything", Unseen(criterion="value", since_s=1.0, why=""), True, True, True),
    ("everything, while withdrawn", Unseen(criterion="value", since_s=1.0, why=""), False, True, True),
    ("the candidate's", Unseen(criterion="value", since_s=1.0, why="", role="candidate"), True, True, True),
    (
        "the candidate's, without traffic",
        Unseen(criterion="value", since_s=1.0, why="", role="candidate"),
        False,
        True,
        False,
    ),
    ("stable's", Unseen(criterion="value", since_s=1.0, why="", role="stable"), True, True, True),
    ("stable's, after a switch", Unseen(criterion="value", since_s=1.0, why="", role="stable"), True, False, False),
]


@pytest.mark.parametrize(
    ("unseen", "exposed", "concurrent", "blind"), [row[1:] for row in MISSING], ids=[row[0] for row in MISSING]
)
def test_what_is_missing_matters_only_when_it_should_be_there(unseen, exposed, concurrent, blind):
    """A version without traffic need not have values."""
    settings = replace(KEYLESS, metrics=(limits(min=1.0),))
    found = find_unseen(settings, start(settings), Reading(unseen=(unseen,)), exposed=exposed, concurrent=concurrent)
    assert (found is not None) is blind


def test_limits_bear_a_few_measurements_without_a_value():
    """ConsecutiveErrorLimit 4: the fifth in a row blinds."""
    settings = replace(KEYLESS, metrics=(limits(min=1.0),))
    unseen = Unseen(criterion="value", since_s=T0, why="")
    evidence, _ = judge(settings, start(settings), reading(5.0), now_s=T0)
    blind = []
    for number in range(1, 7):
        none = (Sample(criterion="value", at_s=T0 + number),)
        seen = Reading(samples=none, unseen=(unseen,))
        evidence, _ = judge(settings, evidence, seen, now_s=T0 + number)
        blind.append(find_unseen(settings, evidence, seen, exposed=True, concurrent=True) is not None)
    assert blind == [False] * 4 + [True] * 2


def test_counts_of_other_versions_are_left_out():
    """A tally of a version that is neither is not counted for anybody."""
    settings = replace(KEYLESS, metrics=(REFUSED,))
    other = replace(tally(candidate=True, total=9, bad=9, at_s=T0, criterion="refused"), version="0.9.0-cccccc")
    evidence, _ = judge(settings, start(settings), Reading(tallies=(other,)), now_s=T0)
    assert evidence.measured.ratios[0].release == Counts()
    assert {STABLE, CANDIDATE}.isdisjoint({other.version})
