"""Policies in a cluster: a freeze, an approval, a bound on Guards, and what the API itself refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cluster_world import World
from operator_world import Cluster, Patient, cluster, install

from sternway.domain.releases import Verb
from sternway.kubernetes.api import Object
from sternway.kubernetes.errors import Invalid
from sternway.kubernetes.resources import POLICIES
from sternway.manifests.models.status import CommandStatus
from sternway.operator.people import command

EVERY_DAY = {"from": "00:00", "to": "24:00"}


@pytest.fixture
async def shop(world: World, tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    """Give a cluster with the service, and its Prometheus."""
    async with cluster(world, tmp_path / "state") as found:
        yield found


@pytest.fixture
async def patient(world: World, tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    """Give one whose release stays exposed until somebody or something ends it."""
    async with cluster(world, tmp_path / "state", Patient) as found:
        yield found


def policy(world: World, name: str, **spec: Any) -> Object:
    """A Policy in the namespace of the test."""
    return {
        "apiVersion": POLICIES.api_version,
        "kind": POLICIES.kind,
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": spec,
    }


async def say(world: World, verb: Verb, reason: str = "") -> CommandStatus:
    """Tell the operator, as `kubectl sternway` does."""
    return await command(world.api, world.namespace, "orders", verb, by="ada", reason=reason, patience_s=60)


def condition(found: Object | None, kind: str) -> Object:
    """A condition of an object; {} while it has none."""
    listed = ((found or {}).get("status") or {}).get("conditions") or ()
    return next((one for one in listed if one["type"] == kind), {})


async def test_a_frozen_version_waits_until_it_is_overridden_and_a_person_takes_it_back_in_the_freeze(
    patient: tuple[Cluster, str],
) -> None:
    """The Guard names the policy; the Policy tells that it is frozen; a word with a reason starts it, and no freeze ends that."""
    here, address = patient
    world = here.world
    async with here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await world.api.create(POLICIES, policy(world, "year-end", freeze=[EVERY_DAY]))
        seen = await world.until(POLICIES, "year-end", lambda one: condition(one, "Frozen").get("status") == "True")
        assert seen is not None
        assert seen["status"]["frozen"] is True
        assert seen["status"]["governs"] == 1
        assert condition(seen, "Ready")["reason"] == "InForce"
        await here.image("orders:2")
        await here.until(lambda s: "frozen until further notice by policy year-end" in s.get("message", ""))
        assert not await here.releases()
        assert not (await say(world, Verb.OVERRIDE)).accepted
        reply = await say(world, Verb.OVERRIDE, "a fix")
        assert reply.accepted, reply.message
        await here.until(lambda s: s.get("phase") == "exposed")
        assert (await say(world, Verb.ROLLBACK)).accepted
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
        await here.settled("orders:1")


async def test_a_guard_beyond_a_bound_is_said_to_be_invalid_and_releases_nothing(shop: tuple[Cluster, str]) -> None:
    """What runs is governed all the same; when the policy goes, the version that waited is released."""
    here, address = shop
    world = here.world
    async with here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await world.api.create(POLICIES, policy(world, "long-bakes", require={"bake": "10m"}))
        status = await here.until(lambda s: s["conditions"][0]["reason"] == "Invalid")
        assert "spec.bake.for" in status["conditions"][0]["message"]
        assert "policy long-bakes" in status["conditions"][0]["message"]
        await here.image("orders:2")
        await here.until(lambda s: "its Guard is refused" in s.get("message", ""))
        assert not await here.releases()
        await world.api.delete(POLICIES, "long-bakes", world.namespace)
        await here.until(lambda s: (s.get("stable") or {}).get("image") == "registry/orders:2" and s["phase"] == "idle")


@pytest.mark.kubernetes
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"services": ["orders"]}, "this policy says nothing"),
        ({"services": [], "approve": {"before": "exposure"}}, "services must not be empty"),
        ({"freeze": [{"from": "fri 16:00", "to": "08:00"}]}, "from and to are written alike"),
        ({"freeze": [{"from": "fri 16:00", "to": "mon 08:00", "days": ["fri"]}]}, "days goes with times of the day"),
        ({"freeze": [{"from": "2026-12-18T18:00", "to": "2026-12-01T08:00"}]}, "it ends before it begins"),
        ({"freeze": [{"from": "24:00", "to": "08:00"}]}, "nothing begins at 24:00"),
        ({"freeze": [{"from": "25:00", "to": "26:00"}]}, "spec.freeze"),
        ({"approve": {"before": "lunch"}}, "spec.approve.before"),
    ],
)
async def test_the_api_refuses_what_makes_no_sense(real: World, spec: Object, said: str) -> None:
    """CEL rules and the schema speak at `kubectl apply`, before the operator reads anything."""
    await install(real)
    with pytest.raises(Invalid, match=said):
        await real.api.create(POLICIES, policy(real, "nonsense", **spec))


@pytest.mark.kubernetes
async def test_the_api_takes_every_form_of_a_policy(real: World) -> None:
    """What the docs write is admitted by the schema."""
    await install(real)
    freeze = [
        {"from": "2026-12-18T18:00", "to": "2027-01-04T08:00", "timeZone": "Europe/Berlin"},
        {"from": "fri 16:00", "to": "mon 08:00", "underWay": "finish"},
        {"from": "18:00", "to": "09:00", "days": ["mon", "tue"]},
    ]
    require = {"strategies": ["canary"], "firstStep": "10%", "bake": "5m", "falseRollbackRate": 0.01, "automatic": True}
    spec = {"services": ["*.shop"], "except": ["a"], "freeze": freeze, "require": {**require, "blindThen": ["hold"]}}
    made = await real.api.create(POLICIES, policy(real, "whole", **spec, approve={"before": "promotion"}))
    assert made["metadata"]["generation"] == 1
