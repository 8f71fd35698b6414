"""Which Guards a policy refuses."""

from dataclasses import replace

import pytest

from sternway.domain.guards import ABTest, BlueGreen, Canary, CanaryStep, Guard, JudgeSettings, Mode, Then
from sternway.domain.policies import Policy, Requirements
from sternway.domain.tallies import ClusterKey
from sternway.policy import breaches

GUARD = Guard(service="orders", strategy=Canary(steps=(CanaryStep(percent=5), CanaryStep(percent=50))))
KEYED = JudgeSettings(cluster_key=ClusterKey(header="x-user"))


@pytest.mark.parametrize(
    ("asked", "guard", "field"),
    [
        ({"strategies": ("blueGreen",)}, GUARD, "spec.strategy"),
        ({"first_step_percent": 4.0}, GUARD, "spec.strategy"),
        ({"first_step_percent": 20.0}, replace(GUARD, strategy=BlueGreen()), "spec.strategy"),
        ({"first_step_percent": 20.0}, replace(GUARD, strategy=Canary(), judge=KEYED), "spec.strategy"),
        ({"bake_s": 301.0}, GUARD, "spec.bake.for"),
        ({"false_rollback_rate": 0.001}, GUARD, "spec.judge.falseRollbackRate"),
        ({"automatic": True}, replace(GUARD, mode=Mode.ASK), "spec.mode"),
        ({"blind_then": (Then.ROLLBACK, Then.HOLD)}, replace(GUARD, blind_then=Then.PROMOTE), "spec.blind.then"),
    ],
)
def test_a_guard_beyond_a_bound_is_refused_at_its_field(asked: dict[str, object], guard: Guard, field: str):
    """With the policy's name, what it asks for, and a fix."""
    policy = Policy(name="sound", require=Requirements(**asked))  # type: ignore[arg-type]
    (breach,) = breaches(policy, guard)
    assert breach.field == field
    assert "policy sound asks for" in breach.message
    assert breach.fix


def test_a_guard_within_every_bound_passes():
    """At the bound itself too."""
    asked = Requirements(
        strategies=("canary", "ab"),
        first_step_percent=5.0,
        bake_s=300.0,
        false_rollback_rate=0.01,
        automatic=True,
        blind_then=(Then.HOLD,),
    )
    assert not breaches(Policy(name="sound", require=asked), GUARD)


def test_users_who_are_chosen_are_no_share():
    """An A/B test exposes whom its header names: a bound on shares says nothing about it."""
    asked = Requirements(first_step_percent=1.0)
    assert not breaches(Policy(name="sound", require=asked), replace(GUARD, strategy=ABTest(header=("x", "y"))))


def test_a_step_in_requests_counts_as_the_share_that_it_may_become():
    """Where there is little traffic five requests a second are 10 % without a cluster key."""
    asked = Policy(name="sound", require=Requirements(first_step_percent=10.0))
    assert not breaches(asked, replace(GUARD, strategy=Canary()))
