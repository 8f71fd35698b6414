"""Sternway's row of the arena is Sternway: the arrays do what the engine does, release by release."""

from dataclasses import replace

import numpy as np
import pytest
from bench.arena.fields import ERRORS_ALONE, WITH_KEY
from bench.arena.ours import Sternway, fixed
from bench.arena.play import play
from bench.arena.scalar import OneByOne
from bench.arena.shapes import Cluster, Shape
from bench.arena.streams import World

from sternway.domain.guards import Canary, CanaryStep, Guard, adaptive_steps

QUICK = Guard(service="arena", judge=replace(WITH_KEY, warm_up_s=12.0), withdraw_s=5.0, bake_s=30.0)
KEYLESS = replace(ERRORS_ALONE, warm_up_s=12.0)
AT_ONCE = Canary(steps=(CanaryStep(percent=10, min_requests=20),))
GUARDS = {
    "key, soon in the bake": replace(QUICK, strategy=AT_ONCE),
    "key, adaptive": QUICK,
    "key, warm at once": replace(QUICK, judge=replace(WITH_KEY, warm_up_s=0.0)),
    "no key, adaptive": replace(QUICK, judge=KEYLESS),
    "no key, a fixed tenth": replace(QUICK, judge=KEYLESS, strategy=Canary(steps=fixed(10.0))),
    "no key, impatient": replace(QUICK, judge=KEYLESS, strategy=Canary(steps=adaptive_steps(within_s=20.0))),
}
SHAPES = {
    "a step": Shape(rate_per_s=60.0, stable=0.002, candidate=0.04),
    "a small step, suspected again and again in the bake": Shape(rate_per_s=300.0, stable=0.01, candidate=0.018),
    "hardly any traffic": Shape(rate_per_s=1.5, stable=0.01, candidate=0.5),
    "trouble in common": Shape(rate_per_s=200.0, stable=0.3, candidate=0.3),
    "storms": Shape(rate_per_s=60.0, stable=0.02, candidate=0.02, cluster=Cluster.RETRY),
    "total failure": Shape(rate_per_s=200.0, candidate=1.0),
    "healthy": Shape(rate_per_s=120.0),
    "healthy, much traffic": Shape(rate_per_s=15_000.0),
}
HORIZON_S = 200.0
FIELDS = ("condemned_s", "back_s", "shipped_s", "asked", "withdrawals", "hurt", "requests", "exposed_s")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS.keys())
def test_the_arrays_do_what_the_engine_does(guard: Guard, shape: Shape):
    """Same answers for three minutes: the same withdrawals, verdicts and promotions at the same time, the same cost."""
    world = World(shape, seed=5, size=2, horizon_s=HORIZON_S)
    found = play(world, {"arrays": Sternway(guard), "engine": OneByOne(guard)})
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found["arrays"], field), getattr(found["engine"], field), field)


def test_these_releases_come_to_every_end():
    """The comparison above holds something: some are withdrawn, condemned, promoted."""
    guard = GUARDS["no key, adaptive"]
    found = [
        play(World(shape, seed=5, size=2, horizon_s=HORIZON_S), {"": Sternway(guard)})[""] for shape in SHAPES.values()
    ]
    assert sum(one.withdrawals.sum() for one in found) > 5
    assert sum(one.condemned.sum() for one in found) > 2
    assert sum((~np.isnan(one.shipped_s)).sum() for one in found) > 1
