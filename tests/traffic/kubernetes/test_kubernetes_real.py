"""Every golden case on a real API server: what we write is taken, stands there as written, and goes without a trace.

Kinds that the server does not serve are skipped by name (in CI: not those of Istio and the Gateway API).
STERNWAY_TEST_CRDS names a folder of resource definitions that are installed first.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_world import WAIT_S, World, real_world
from kube_traffic_world import GOLDEN, cases, plan

from sternway.domain.traffic import TrafficPlan
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Patch, Resource, name_of
from sternway.kubernetes.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS
from sternway.traffic.kubernetes.changes import kind_of, within
from sternway.traffic.kubernetes.dialect import Standing, Witness
from sternway.traffic.kubernetes.gateway_api import HTTP_ROUTES
from sternway.traffic.kubernetes.istio import VIRTUAL_SERVICES
from sternway.traffic.kubernetes.registry import DIALECTS, services_of
from sternway.traffic.kubernetes.router import KubernetesRouter
from sternway.traffic.kubernetes.service import ENDPOINT_SLICES

pytestmark = [pytest.mark.kubernetes]
NAMES = [f"{path.parent.name}/{path.name.removesuffix('.in.yaml')}" for path in sorted(GOLDEN.glob("*/*.in.yaml"))]
_installed: set[str] = set()
"""Folders whose definitions this process has installed."""
MUST = {"networking.istio.io", "gateway.networking.k8s.io", "networking.k8s.io"}
"""In CI these are there; the others' definitions may be."""
NOT_CUSTOM = {"apps", "", "discovery.k8s.io", "networking.k8s.io"}


@dataclass
class Counted:
    """The API, with a record of what was written."""

    api: Any
    writes: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)

    async def patch(self, resource: Resource, name: str, patch: Any, **given: Any) -> Object | None:
        """See Api."""
        self.writes.append(f"{resource.plural} {name}")
        return await self.api.patch(resource, name, patch, **given)

    async def delete(self, resource: Resource, name: str, namespace: str = "", **given: Any) -> None:
        """See Api."""
        self.writes.append(f"{resource.plural} {name}")
        await self.api.delete(resource, name, namespace, **given)


class Trusting:
    """A mesh whose controllers are not there, and not asked."""

    def __init__(self, mesh: Any) -> None:
        self._mesh = mesh

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mesh, name)

    def read(self, *given: Any) -> Standing | None:
        """See Dialect."""
        found = self._mesh.read(*given)
        return Standing(shares=found.shares) if found else None


@dataclass
class Shop:
    """A golden case in a namespace of the real API."""

    world: World
    name: str
    trust: bool = True
    known: dict[Resource, list[Object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.case = next(one for one in cases(self.world.namespace) if one.path == GOLDEN / f"{self.name}.in.yaml")
        self.api = Counted(self.world.api)
        self.mesh = Trusting(self.case.dialect) if self.trust else self.case.dialect
        self.service = self.case.wish.key

    async def start(self) -> None:
        """Put there what the user has, and an owner for what is ours."""
        for kind in self.mesh.reads:
            if not await self.world.api.serves(kind):
                if os.environ.get("CI") and kind.group in MUST:
                    pytest.fail(f"CI has no {kind.plural}: set STERNWAY_TEST_CRDS")
                pytest.skip(f"the cluster does not serve {kind.plural} in {kind.api_version}")
        settings = await self.world.api.create(CONFIG_MAPS, self.world.config("owner"))
        self.owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": settings["metadata"]["uid"]}
        for obj in self.case.seen:
            await self.world.api.create(kind_of(obj, self.mesh.reads), deepcopy(obj))
        self.router = self.new_router()
        await self.learn()

    def new_router(self) -> KubernetesRouter:
        """A router that has told nothing yet."""
        return KubernetesRouter(
            self.api,
            reader=self,
            dialects=[self.mesh],
            dialect=lambda _: self.mesh,
            backends=lambda _: self.case.wish.backends,
            owner=lambda _: self.owner,
            patience_s=0.05,
        )

    async def learn(self) -> None:
        """Read everything, as a reflector would have by now; nothing of our own writes is remembered."""
        namespace = self.world.namespace
        for kind in self.mesh.reads:
            self.known[kind] = list((await self.world.api.list(kind, namespace=namespace)).items)
        self.router._fresh.clear()

    def about(self, resource: Resource, service: str) -> list[Object]:
        """See Reader."""
        return [obj for obj in self.known.get(resource, ()) if service in services_of(obj)]

    async def apply(self, wanted: TrafficPlan) -> list[str]:
        """Apply; what was written."""
        self.api.writes.clear()
        await self.router.apply(wanted)
        return list(self.api.writes)

    def specs(self) -> dict[str, Any]:
        """What stands there, by name, but for a Service: that is the platform's to give back."""
        found = (obj for kind, objects in self.known.items() for obj in objects if kind.plural != "services")
        return {f"{obj['kind']} {name_of(obj)}": obj.get("spec") for obj in found}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Give a namespace of the real API, with the resource definitions that were asked for."""
    async with real_world() as found:
        folder = os.environ.get("STERNWAY_TEST_CRDS")
        if folder and folder not in _installed:
            await _install(found, Path(folder))
            _installed.add(folder)
        yield found


async def _install(world: World, folder: Path) -> None:
    """Install the definitions of what our dialects read, once, and wait until they are served."""
    wanted = {f"{kind.plural}.{kind.group}": kind for one in DIALECTS for kind in one.reads}
    wanted = {name: kind for name, kind in wanted.items() if kind.group not in NOT_CUSTOM}
    missing = {name: kind for name, kind in wanted.items() if not await world.api.serves(kind)}
    if not missing:
        return
    definitions = [one for one in _definitions(folder) if name_of(one) in missing]
    for one in definitions:
        await world.api.patch(CUSTOM_RESOURCE_DEFINITIONS, name_of(one), one, how=Patch.APPLY, force=True)
    installed = [missing[name_of(one)] for one in definitions]
    async with asyncio.timeout(3 * WAIT_S):
        for kind in installed:
            while not await _answers(world, kind):
                await asyncio.sleep(0.1)


def _definitions(folder: Path) -> list[Object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = [one for path in sorted(folder.rglob("*.yaml")) for one in yaml.load_all(path.read_text(), Loader=loader)]
    return [one for one in found if one and one["kind"] == "CustomResourceDefinition"]


async def _answers(world: World, kind: Resource) -> bool:
    try:
        await world.api.list(kind, namespace=world.namespace)
    except Exception:  # noqa: BLE001 - whatever it says while the group comes up
        return False
    return await world.api.serves(kind)


async def shop(world: World, name: str, *, trust: bool = True) -> Shop:
    """A case that has begun."""
    made = Shop(world, name, trust)
    await made.start()
    return made


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_written_is_taken_and_stands_as_it_was_written(world: World, name: str):
    """No field is refused, pruned or spelled otherwise: the plan is observed, and written no second time."""
    here = await shop(world, name)
    wanted = here.case.plan
    before = [obj for objects in here.known.values() for obj in objects]
    assert await here.apply(wanted)
    await here.learn()
    there = {(obj["kind"], name_of(obj)): obj for objects in here.known.values() for obj in objects}
    for obj in here.mesh.write(here.router._wish(wanted), before):
        found = there[obj["kind"], name_of(obj)]
        assert within(obj.get("spec"), found.get("spec")), found
        assert within(obj["metadata"].get("annotations", {}), found["metadata"].get("annotations", {}))
    assert await here.router.observe(here.service) == wanted
    assert await here.apply(wanted) == []


@pytest.mark.parametrize("name", NAMES)
async def test_the_way_back_is_one_write_a_route_and_the_end_leaves_no_trace(world: World, name: str):
    """A rollback writes what carries the split and nothing else; without the Guard all is as before."""
    here = await shop(world, name)
    before = here.specs()
    await here.apply(plan(10, namespace=world.namespace))
    await here.learn()
    back = await here.apply(plan(0, namespace=world.namespace))
    assert len(back) == len(set(back)) == (2 if name == "gateway-api/own-grpc" else 1)
    await here.learn()
    assert await here.router.observe(here.service) == plan(0, namespace=world.namespace)
    here.router = here.new_router()
    await here.router.release(here.service)
    await here.learn()
    assert here.specs() == before


async def test_a_stale_look_is_answered_with_a_conflict_and_read_again(world: World):
    """Somebody was quicker: the server says so, and the next write has their change and ours."""
    here = await shop(world, "istio/users-route")
    await here.apply(plan(10, namespace=world.namespace))
    await here.learn()
    labels = {"metadata": {"labels": {"team": "edge"}}}
    await world.api.patch(VIRTUAL_SERVICES, "shop", labels, namespace=world.namespace, manager="kubectl")
    assert await here.apply(plan(0, namespace=world.namespace)) == ["virtualservices shop", "virtualservices shop"]
    await here.learn()
    found = here.known[VIRTUAL_SERVICES][0]
    assert found["metadata"]["labels"] == {"team": "edge"}
    assert [one["weight"] for one in found["spec"]["http"][2]["route"]] == [80, 0, 20]


async def test_a_user_who_applies_the_text_from_git_again_keeps_it(world: World):
    """Server-side apply by another manager puts the user's text back; the split is written into that."""
    here = await shop(world, "gateway-api/users-route")
    await here.apply(plan(10, namespace=world.namespace))
    text = deepcopy(here.case.seen[0])
    text["spec"]["rules"][2]["timeouts"]["request"] = "9s"
    given = {"namespace": world.namespace, "how": Patch.APPLY, "manager": "flux", "force": True}
    await world.api.patch(HTTP_ROUTES, "shop", text, **given)
    await here.learn()
    assert await here.router.observe(here.service) is None
    await here.apply(plan(10, namespace=world.namespace))
    await here.learn()
    rule = here.known[HTTP_ROUTES][0]["spec"]["rules"][2]
    assert rule["timeouts"]["request"] == "9s"
    assert [one["weight"] for one in rule["backendRefs"]] == [9, 1, 10]
    await here.router.release(here.service)
    await here.learn()
    assert within(text["spec"], here.known[HTTP_ROUTES][0]["spec"])


async def test_a_route_counts_when_its_controller_has_taken_this_generation(world: World):
    """The real status of a route, with real generations: awaited, then confirmed, then awaited again."""
    here = await shop(world, "gateway-api/users-route", trust=False)
    wanted = plan(10, namespace=world.namespace)
    with pytest.raises(NotApplied, match="no controller has taken"):
        await here.router.apply(wanted)
    await _take(here)
    await here.router.apply(wanted)
    assert await here.router.observe(here.service) == wanted
    standing = here.router.standing(here.service)
    assert standing is not None
    assert standing.witness is Witness.CONFIRMED
    with pytest.raises(NotApplied, match="has not read the route again"):
        await here.router.apply(plan(20, namespace=world.namespace))


async def _take(here: Shop) -> None:
    """Play the controller of the route as it stands."""
    await here.learn()
    route = here.known[HTTP_ROUTES][0]
    said = {
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "observedGeneration": route["metadata"]["generation"],
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    parent = {
        "controllerName": "example.org/test",
        "parentRef": route["spec"]["parentRefs"][0],
        "conditions": [{"type": name, **said} for name in ("Accepted", "ResolvedRefs")],
    }
    patch = {"status": {"parents": [parent]}}
    given = {"namespace": here.world.namespace, "subresource": "status", "manager": "controller"}
    await here.world.api.patch(HTTP_ROUTES, name_of(route), patch, **given)
    await here.learn()


def test_slices_are_the_one_kind_that_older_servers_lack():
    """Kubernetes 1.21 serves them in v1; on an older one, a plain Service is not tested here."""
    assert ENDPOINT_SLICES.version == "v1"
