"""What was worked out of a cluster stands until something that it rests on changes, and no longer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from sternway.clock import SystemClock
from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.ours import named, split_key
from sternway.kubernetes.reading import follows, of_service, pod_labels, selected
from sternway.kubernetes.remembered import Basis, Remembered
from sternway.kubernetes.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from sternway.operator.stores import Stores
from sternway.platforms.kubernetes.scene import Scene, read_scene
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.istio import VIRTUAL_SERVICES
from sternway.traffic.kubernetes.registry import services_of

SPACE = "shop"
SHOP = ("orders", "stock")
FOLLOWERS = (HORIZONTAL_POD_AUTOSCALERS, POD_DISRUPTION_BUDGETS)
KINDS = (CONFIG_MAPS, DEPLOYMENTS, *FOLLOWERS, PODS, REPLICA_SETS, SERVICES)


def test_an_answer_stands_until_what_it_rests_on_changes() -> None:
    """Neither another question nor another service's answer lets it fall; `forget` does."""
    basis, worked_out = Basis(), []

    def find(service: str) -> int:
        basis.asked(service)
        worked_out.append(service)
        return len(worked_out)

    remembered: Remembered[int] = Remembered(basis)
    assert [remembered.get(one, find) for one in ("orders", "orders", "stock", "orders")] == [1, 1, 2, 1]
    basis.changed(["stock", "nobody's"])
    assert [remembered.get(one, find) for one in ("orders", "stock")] == [1, 3]
    remembered.forget("orders")
    assert [remembered.get(one, find) for one in ("orders", "stock")] == [4, 3]


def test_an_answer_stands_for_what_was_given_with_it() -> None:
    """What rests on more than the cluster is worked out anew when that differs; also what was made of it falls."""
    basis, worked_out = Basis(), []
    inner: Remembered[int] = Remembered(basis)
    outer: Remembered[int] = Remembered(basis)

    def find(_: str) -> int:
        worked_out.append("")
        return len(worked_out)

    assert [inner.get("orders", find, given) for given in ([1], [1], [2], [1])] == [1, 1, 2, 3]
    assert outer.get("orders", lambda one: inner.get(one, find, [1])) == 3
    inner.get("orders", find, [2])
    assert outer.get("orders", lambda one: inner.get(one, find, [2])) == 4


def test_what_rests_on_an_answer_falls_with_it() -> None:
    """However many steps away, and also when the answer was there already when it was used."""
    basis, worked_out = Basis(), []
    below: Remembered[int] = Remembered(basis)
    between: Remembered[int] = Remembered(basis)
    above: Remembered[int] = Remembered(basis)

    def read(_: str) -> int:
        basis.asked("object")
        worked_out.append("object")
        return len(worked_out)

    def get() -> int:
        return above.get("orders", lambda one: between.get(one, lambda same: below.get(same, read)))

    below.get("orders", read)
    assert (get(), get()) == (1, 1)
    basis.changed(["object"])
    assert (get(), get()) == (2, 2)
    below.forget("orders")
    assert get() == 3


def test_a_failure_is_not_remembered_but_rested_on() -> None:
    """Who made the best of a failure looks again when what failed reads otherwise."""
    basis, broken = Basis(), True
    inner: Remembered[str] = Remembered(basis)
    outer: Remembered[str] = Remembered(basis)

    def read(_: str) -> str:
        basis.asked("object")
        if broken:
            raise ValueError
        return "fine"

    def make_do(service: str) -> str:
        try:
            return inner.get(service, read)
        except ValueError:
            return "broken"

    assert outer.get("orders", make_do) == "broken"
    broken = False
    assert outer.get("orders", make_do) == "broken"
    basis.changed(["object"])
    assert outer.get("orders", make_do) == "fine"


def test_nothing_is_kept_of_what_has_fallen() -> None:
    """Objects come and go for months: what rests on nothing any more takes no room."""
    basis = Basis()
    remembered: Remembered[str] = Remembered(basis)
    user: Remembered[str] = Remembered(basis)

    def read(service: str) -> str:
        basis.asked("shared")
        basis.asked(service)
        return service

    for number in range(100):
        user.get(f"service-{number}", lambda one: remembered.get(one, read))
        basis.changed([f"service-{number}"])
    assert (len(basis._upon), len(remembered._found), len(user._found)) == (0, 0, 0)


class Followed:
    """A cluster that is followed; tells when a change has come."""

    def __init__(self) -> None:
        self.fake = FakeKubernetes(kinds=(VIRTUAL_SERVICES,), namespaces=(SPACE,))
        self.told = asyncio.Event()
        self.stores = Stores(self.fake, clock=SystemClock(), changed=lambda *_: self.told.set(), about=services_of)
        self.read: list[str] = []

    async def change(self, change: Callable[[], object]) -> None:
        """Change the cluster, and wait until it is known."""
        self.told.clear()
        before = self.fake.store.version
        change()
        if self.fake.store.version != before:
            async with asyncio.timeout(60):
                await self.told.wait()

    def put(self, kind: Resource, name: str, owner: Object | None = None, **fields: Any) -> None:
        """Put an object there, or put it in the place of the one that is there."""
        metadata: dict[str, Any] = {"name": name, "namespace": SPACE, "labels": fields.pop("labels", {})}
        if owner is not None:
            about = {"apiVersion": "apps/v1", "kind": owner["kind"], "name": name_of(owner), "controller": True}
            metadata["ownerReferences"] = [about | {"uid": owner["metadata"]["uid"]}]
        known = self.fake.store.get(kind, name, SPACE)
        if known is None:
            self.fake.store.create(kind, {"metadata": metadata, **fields})
        else:
            metadata["resourceVersion"] = known["metadata"]["resourceVersion"]
            self.fake.store.replace(kind, {"metadata": metadata, **fields})

    def drop(self, kind: Resource, name: str) -> None:
        """Take it away at once."""
        self.fake.store.delete(kind, name, SPACE, now=True)

    def scene(self, service: str) -> Scene:
        """Read a service as the platform does."""
        self.read.append(service)
        _, name = split_key(service)
        return read_scene(self.stores, service, name, FOLLOWERS, lambda obj: str(obj["metadata"]["resourceVersion"]))


def workload(name: str, image: str = "1", **labels: str) -> dict[str, Any]:
    """What a Deployment or ReplicaSet says."""
    container = {"name": name, "image": f"{name}:{image}", "envFrom": [{"configMapRef": {"name": name}}]}
    pods = {"app": name, "part": "shop", **labels}
    template = {"metadata": {"labels": pods}, "spec": {"containers": [container]}}
    return {"spec": {"replicas": 1, "selector": {"matchLabels": {"part": "shop"}}, "template": template}}


def scaler(name: str) -> dict[str, Any]:
    """What an autoscaler of a Deployment says."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {"spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3}}


def fill(here: Followed) -> None:
    """Two services with all that they are about."""
    for name in SHOP:
        here.put(CONFIG_MAPS, name, data={"colour": "blue"})
        here.put(SERVICES, name, spec={"selector": {"app": name}, "ports": [{"port": 80}]})
        here.put(DEPLOYMENTS, name, **workload(name))
        here.put(REPLICA_SETS, f"{name}-1", owner=here.fake.store.get(DEPLOYMENTS, name, SPACE), **workload(name))
        owner = here.fake.store.get(REPLICA_SETS, f"{name}-1", SPACE)
        here.put(PODS, f"{name}-1-a", owner=owner, spec={"containers": [{"name": name, "image": f"{name}:1"}]})
        here.put(HORIZONTAL_POD_AUTOSCALERS, name, **scaler(name))
        here.put(POD_DISRUPTION_BUDGETS, name, spec={"selector": {"matchLabels": {"app": name}}})


OTHERS: dict[str, Callable[[Followed], object]] = {
    "pod": lambda here: here.drop(PODS, "stock-1-a"),
    "replica set": lambda here: here.put(
        REPLICA_SETS, "stock-2", owner=here.fake.store.get(DEPLOYMENTS, "stock", SPACE), **workload("stock", "2")
    ),
    "deployment": lambda here: here.put(DEPLOYMENTS, "stock", **workload("stock", "2")),
    "new deployment": lambda here: here.put(DEPLOYMENTS, "billing", **workload("billing")),
    "service": lambda here: here.put(SERVICES, "stock", spec={"selector": {"app": "x"}, "ports": [{"port": 80}]}),
    "configuration": lambda here: here.put(CONFIG_MAPS, "stock", data={"colour": "red"}),
    "autoscaler": lambda here: here.put(HORIZONTAL_POD_AUTOSCALERS, "billing", **scaler("billing")),
    "budget": lambda here: here.put(
        POD_DISRUPTION_BUDGETS, "billing", spec={"selector": {"matchLabels": {"app": "billing"}}}
    ),
}
OWN: dict[str, Callable[[Followed], object]] = {
    "pod": lambda here: here.drop(PODS, "orders-1-a"),
    "replica set": lambda here: here.put(
        REPLICA_SETS, "orders-2", owner=here.fake.store.get(DEPLOYMENTS, "orders", SPACE), **workload("orders", "2")
    ),
    "deployment": lambda here: here.put(DEPLOYMENTS, "orders", **workload("orders", "2")),
    "twin": lambda here: here.put(DEPLOYMENTS, named("orders", "stable"), **workload("orders-stable")),
    "service": lambda here: here.put(SERVICES, "orders", spec={"selector": {"app": "x"}, "ports": [{"port": 80}]}),
    "configuration": lambda here: here.put(CONFIG_MAPS, "orders", data={"colour": "red"}),
    "autoscaler that comes to it": lambda here: here.put(HORIZONTAL_POD_AUTOSCALERS, "stock", **scaler("orders")),
    "autoscaler that goes": lambda here: here.put(HORIZONTAL_POD_AUTOSCALERS, "orders", **scaler("billing")),
    "budget of any pod": lambda here: here.put(
        POD_DISRUPTION_BUDGETS,
        "any",
        spec={"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
    ),
    "our copy": lambda here: here.put(
        HORIZONTAL_POD_AUTOSCALERS,
        "orders-stable",
        labels={"sternway.dev/service": "orders"},
        **scaler("orders-stable"),
    ),
}


@pytest.fixture
async def here() -> Any:
    """Follow a cluster with two services."""
    here = Followed()
    fill(here)
    await here.stores.start(KINDS, routes=(VIRTUAL_SERVICES,))
    yield here
    await here.stores.close()


@pytest.mark.parametrize("kind", OTHERS)
async def test_a_service_is_not_read_again_for_the_objects_of_another(here: Followed, kind: str) -> None:
    """They are in the same namespace and of the same kinds."""
    scenes: Remembered[Scene] = Remembered(here.stores.basis)
    before = scenes.get("orders.shop", here.scene)
    await here.change(lambda: OTHERS[kind](here))
    assert scenes.get("orders.shop", here.scene) is before
    assert here.read == ["orders.shop"]


@pytest.mark.parametrize("kind", OWN)
async def test_a_service_is_read_again_when_an_object_of_its_own_changed(here: Followed, kind: str) -> None:
    """Also one that was not there, or was about something else before."""
    scenes: Remembered[Scene] = Remembered(here.stores.basis)
    scenes.get("orders.shop", here.scene)
    await here.change(lambda: OWN[kind](here))
    found = scenes.get("orders.shop", here.scene)
    assert here.read == ["orders.shop", "orders.shop"]
    fresh = here.scene("orders.shop")
    assert (found.user, found.twin, found.config, found.followers, found.service) == (
        (fresh.user, fresh.twin, fresh.config, fresh.followers, fresh.service)
    )


NAMES = (*SHOP, "orders-1", "stock-1")


def some_change(draw: random.Random, here: Followed, owners: list[Object]) -> None:
    """Make, change or take away some object."""
    about, name, number = draw.choice(SHOP), draw.choice(NAMES), str(draw.random())
    labels = {"sternway.dev/service": about} if draw.random() < 0.3 else {}
    match draw.randrange(7):
        case 0:
            here.put(DEPLOYMENTS, name, labels=labels, **workload(about, number, tier=draw.choice(("web", "back"))))
        case 1:
            here.put(SERVICES, name, labels=labels, spec={"selector": {"app": about}, "ports": [{"port": 80}]})
        case 2:
            here.put(HORIZONTAL_POD_AUTOSCALERS, name, labels=labels, **scaler(about))
        case 3:
            here.put(CONFIG_MAPS, name, data={"colour": number})
        case 4:
            owner = draw.choice(owners)
            here.put(PODS, f"{name}-{number}", owner=owner, spec={"containers": [{"name": name, "image": name}]})
        case 5:
            route = {"hosts": [about], "http": [{"route": [{"destination": {"host": about}}]}]}
            here.put(VIRTUAL_SERVICES, name, spec=route)
        case _:
            here.drop(draw.choice((DEPLOYMENTS, SERVICES, HORIZONTAL_POD_AUTOSCALERS, CONFIG_MAPS)), name)


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_remembered_is_what_would_be_worked_out_now(here: Followed, seed: int) -> None:
    """Whatever is read, and however objects come, change and go."""
    draw, stores = random.Random(seed), here.stores
    owners = [*stores.all(DEPLOYMENTS, SPACE), *stores.all(REPLICA_SETS, SPACE)]
    questions: list[Callable[[str], object]] = [
        *(lambda _, k=kind, n=name: stores.get(k, n, SPACE) for kind in KINDS for name in NAMES),
        *(lambda _, k=kind: stores.all(k, SPACE) for kind in KINDS),
        lambda _: stores.all(PODS),
        *(lambda _, o=owner: stores.owned(PODS, o["metadata"]["uid"]) for owner in owners),
        *(lambda _, n=name: stores.about(VIRTUAL_SERVICES, f"{n}.{SPACE}") for name in SHOP),
        *(lambda _, n=name: stores.find(DEPLOYMENTS, pod_labels, f"app={n}", SPACE) for name in SHOP),
        *(lambda _, n=name: stores.find(SERVICES, of_service, n, SPACE) for name in SHOP),
        *(lambda _, n=name: stores.find(HORIZONTAL_POD_AUTOSCALERS, follows, n, SPACE) for name in SHOP),
        *(lambda _, n=name: selected(stores, DEPLOYMENTS, {"app": n, "tier": "web"}, SPACE) for name in SHOP),
    ]
    remembered: Remembered[object] = Remembered(stores.basis)
    for _ in range(100):
        for number in draw.sample(range(len(questions)), 12):
            assert remembered.get(str(number), questions[number]) == questions[number]("")
        await here.change(lambda: some_change(draw, here, owners))
    for number, question in enumerate(questions):
        assert remembered.get(str(number), question) == question("")
