"""The arena's releases: the same for every rule, and what their shapes say."""

from dataclasses import replace

import numpy as np
import pytest
from bench.arena.chance import Drawn, generator
from bench.arena.durations import EDGES_MS, above, quantile_ms
from bench.arena.measures import at_share, interval, median
from bench.arena.rates import rates
from bench.arena.shapes import Cluster, Load, Replicas, Shape, Slow, Spells, healthy
from bench.arena.streams import World, arms_that_fit

SHAPES = {
    "independent": Shape(rate_per_s=50.0, stable=0.02, candidate=0.1),
    "clustered": Shape(rate_per_s=50.0, stable=0.02, candidate=0.1, cluster=Cluster.RETRY),
    "timed": Shape(rate_per_s=50.0, timed=True, slow=Slow.P99, spells=Spells.DRIFT),
}


def world(shape: Shape, *, size: int = 6, horizon_s: float = 60.0, fine_s: float = 0.0) -> World:
    """Releases of a shape with a seed."""
    return World(shape, seed=7, size=size, horizon_s=horizon_s, fine_s=fine_s)


def sums(one: World, share: float) -> dict[str, np.ndarray]:
    """All that was answered at one share, added up over releases and ticks."""
    found: dict[str, np.ndarray] = {}
    for tick in range(one.ticks):
        told = one.answers(tick, np.full(one.size, share))
        seen = told.seen
        slower = np.zeros(1) if seen.slower is None else seen.slower.sum(axis=0)
        parts = {"errors": seen.errors, "keyed": seen.keyed, "arms": seen.arms, "hurt": told.hurt}
        for name, part in parts.items():
            found[name] = found.get(name, 0) + part.sum(axis=0)
        found["slower"] = found.get("slower", 0) + slower
    return found


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_what_a_release_answers_depends_on_its_own_share_alone(shape: Shape):
    """Another rule that takes the traffic of the others away changes nothing for this one, now or later."""
    one, other = world(shape), world(shape)
    for tick in range(one.ticks):
        steady = np.full(6, 0.2)
        moved = np.array([0.2, *np.random.default_rng(tick).choice([0.0, 0.05, 0.5], 5)])
        a, b = one.answers(tick, steady), other.answers(tick, moved)
        for field in ("errors", "keyed", "arms"):
            np.testing.assert_array_equal(getattr(a.seen, field)[0], getattr(b.seen, field)[0])
        assert a.hurt[0] == b.hurt[0]
        if a.seen.slower is not None:
            np.testing.assert_array_equal(a.seen.slower[0], b.seen.slower[0])


def test_rules_that_ask_for_the_same_share_are_told_the_very_same():
    """One answer a tick and share, however many ask."""
    one = world(SHAPES["independent"])
    assert one.answers(0, np.full(6, 0.1)) is one.answers(0, np.full(6, 0.1))


@pytest.mark.parametrize("cluster", Cluster)
def test_rates_are_as_the_shape_says(cluster: Cluster):
    """400,000 requests, 10 % the candidate's: its share, both error rates and the arms' lie near what was stated."""
    shape = Shape(rate_per_s=200.0, stable=0.02, candidate=0.06, cluster=cluster)
    found = sums(world(shape, size=20, horizon_s=100.0), 0.1)
    ours, bad, theirs, their_bad = found["errors"].tolist()
    assert ours / (ours + theirs) == pytest.approx(0.1, rel=0.1)
    assert bad / ours == pytest.approx(0.06, rel=0.3)
    assert their_bad / theirs == pytest.approx(0.02, rel=0.2)
    arms = found["arms"]
    assert arms[:, 0] == pytest.approx(np.full(9, ours), rel=0.1)
    assert arms[:, 1].sum() / arms[:, 0].sum() == pytest.approx(0.02, rel=0.2)
    assert found["hurt"] / ours == pytest.approx(0.04, rel=0.4)
    assert found["keyed"][3] <= their_bad
    if cluster is Cluster.RETRY:
        assert found["keyed"][3] == pytest.approx(their_bad / 6, rel=0.2)


def test_retries_come_when_they_are_due_and_stay_in_their_arm():
    """A single cluster: six bad answers at 0, 1, 3, 7, 15 and 31 s, all on one side, one of them for the key."""
    shape = Shape(rate_per_s=1.0, stable=0.02, candidate=0.02, cluster=Cluster.RETRY)
    one = world(shape, size=40, horizon_s=100.0)
    told = [one.answers(tick, np.full(40, 0.5)).seen for tick in range(one.ticks)]
    bad = np.array([seen.errors[:, 1] + seen.errors[:, 3] for seen in told])
    (single,) = np.nonzero((bad.sum(axis=0) == 6) & (bad[:60].sum(axis=0) == 6))[0][:1]
    when = np.nonzero(bad[:, single])[0]
    assert (when - when[0]).tolist() == [0, 1, 3, 7, 15, 31]
    assert 6 in np.array([seen.errors[single, [1, 3]] for seen in told]).sum(axis=0)
    assert np.array([seen.keyed[single, [1, 3]] for seen in told]).sum() == 1


@pytest.mark.parametrize("cluster", [Cluster.NONE, Cluster.PARETO, Cluster.SPREAD])
def test_a_healthy_candidate_hurts_nobody(cluster: Cluster):
    """What stable would have got wrong as well is no harm of the candidate's."""
    found = sums(world(replace(healthy(0.02), cluster=cluster), size=20), 0.3)
    assert found["errors"][1] > 0
    assert found["hurt"] == 0


def test_arms_are_as_many_as_fit():
    """Nine up to a tenth, three at a quarter, one at a half, none beyond or without traffic."""
    assert arms_that_fit(np.array([0.0, 0.01, 0.1, 0.25, 0.33, 0.5, 0.51, 1.0])).tolist() == [0, 9, 9, 3, 2, 1, 0, 0]


def test_ticks_of_a_tenth_of_a_second_say_the_same():
    """Fine ticks first, then seconds; together they last as long, and hold as much."""
    fine = world(SHAPES["independent"], size=20, fine_s=30.0)
    assert (fine.ticks, fine.ends_s[-1], fine.lasts_s[[0, -1]].tolist()) == (330, 60.0, [0.1, 1.0])
    both = [sums(one, 0.1)["errors"] for one in (fine, world(SHAPES["independent"], size=20))]
    assert both[0] == pytest.approx(both[1], rel=0.15)


def test_an_incident_and_bursts_hit_both_versions_alike():
    """x50 from minute 20 to 30 in stable's and the candidate's rate; a moving load has its mean, and its peaks."""
    found = rates(healthy(0.001, incident=50.0, load=Load.MOVING), 3, 50, 3600.0)
    np.testing.assert_array_equal(found.stable, found.candidate)
    inside = found.stable[1200:1800].mean() / found.stable[:1200].mean()
    assert inside == pytest.approx(50.0, rel=0.3)
    assert found.load.mean() == pytest.approx(200.0, rel=0.3)
    assert found.load.max() > 1000.0


def test_a_warm_up_fades_and_a_bad_replica_stays():
    """Ten times as many errors at once, hardly any after two minutes; one of three replicas makes the rate 7.3 times."""
    warm = rates(healthy(0.002, warm_up=10.0), 3, 4, 200.0)
    assert (warm.candidate / warm.stable)[[0, 120], 0] == pytest.approx([10.0, 1.02], rel=0.01)
    one_bad = rates(healthy(0.002, replicas=Replicas.ONE_BAD), 3, 10, 10.0)
    times = (one_bad.candidate / one_bad.stable)[0]
    assert times == pytest.approx([22 / 3, 1, 1, 1, 1] * 2)
    found = sums(world(healthy(0.02, replicas=Replicas.ONE_BAD), size=1, horizon_s=100.0), 0.5)["errors"]
    assert found[1] / found[0] == pytest.approx(0.02 * 22 / 3, rel=0.1)


def test_durations_are_as_stated():
    """50, 10, 1 and 0.2 % above 60, 128, 293 and 500 ms; the slowest 2 % doubled leave the body where it was."""
    one = world(replace(SHAPES["timed"], rate_per_s=2000.0, spells=Spells.NO), size=10)
    found = sums(one, 0.5)
    totals = found["errors"][[0, 2]]
    at = [above(quantile_ms(share)) for share in (0.5, 0.9, 0.99)] + [above(500.0)]
    ours, theirs = (found["slower"][version][at] / totals[version] for version in (0, 1))
    assert theirs == pytest.approx([0.5, 0.1, 0.01, 0.0021], rel=0.1)
    assert ours == pytest.approx([0.5, 0.1, 0.02, 0.0157], rel=0.1)
    assert EDGES_MS[at] == pytest.approx([60, 128, 292.6, 500], rel=0.001)


@pytest.mark.parametrize("mean", [0.0, 0.02, 3.0, 11.9, 12.1, 200.0])
def test_counts_have_the_mean_and_variance_of_a_poisson_count(mean: float):
    """A million counts, on either side of where inversion gives way to the expansion."""
    counts = Drawn(generator(5, 1), (1000, 1000)).poisson(mean)
    assert counts.mean() == pytest.approx(mean, rel=0.0005, abs=5.0 * (mean / 1e6) ** 0.5)
    assert counts.var() == pytest.approx(mean, rel=0.02, abs=1e-9)
    assert (counts == 0).mean() == pytest.approx(np.exp(-mean), rel=0.05, abs=1e-4)


def test_limits_are_those_of_clopper_and_pearson():
    """Published: 0 of 10 is at most 30.85 %, 1 of 20 lies in 0.127 to 24.87 %, 10 of 10 is at least 69.15 %."""
    assert interval(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert interval(1, 20) == pytest.approx((0.00127, 0.2487), abs=1e-4)
    assert interval(10, 10) == pytest.approx((0.6915, 1.0), abs=1e-4)


def test_what_never_happens_comes_last():
    """A median over times of which half never came is no time."""
    assert median(np.array([np.nan, 3.0, 1.0])) == 3.0
    assert np.isnan(median(np.array([np.nan, np.nan, 1.0])))
    assert at_share(np.arange(100.0), 0.95) == 95.0
