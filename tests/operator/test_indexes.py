"""What is known of a cluster is found by indexes: the objects of one service, whatever else its namespace holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sternway.clock import SystemClock
from sternway.domain.versions import Workload, _workload_id
from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.reading import of_guard, of_service, released, selected
from sternway.kubernetes.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    GUARDS,
    PODS,
    RELEASES,
    SERVICES,
    STATEFUL_SETS,
)
from sternway.kubernetes.template import TemplateDigests, template_digest
from sternway.operator.concerned import Concerned
from sternway.operator.stores import Stores
from sternway.testing.kubernetes import FakeKubernetes

KINDS = (GUARDS, RELEASES, DEPLOYMENTS, STATEFUL_SETS, SERVICES, CONTROLLER_REVISIONS)


def deployment(name: str, **labels: str) -> dict[str, Any]:
    """A Deployment whose pods have these labels."""
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": f"{name}:1"}]}}
    return {"spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}}


@pytest.fixture
def fake() -> FakeKubernetes:
    """Give a cluster of two namespaces, with the services `orders` and `stock` in both."""
    fake = FakeKubernetes(namespaces=("shop", "other"))
    for namespace in ("shop", "other"):
        for name in ("orders", "stock"):
            put(fake, DEPLOYMENTS, name, namespace, **deployment(name, app=name, part="shop"))
            put(fake, SERVICES, name, namespace, spec={"selector": {"app": name, "part": "shop"}, "ports": []})
            put(fake, GUARDS, name, namespace, spec={"service": name})
            ours = {"sternway.dev/service": name, "sternway.dev/pod": "1"}
            put(fake, CONTROLLER_REVISIONS, f"{name}-1", namespace, labels=ours, revision=1)
            put(fake, RELEASES, f"{name}-1", namespace, labels={"sternway.dev/guard": name}, spec={"guard": name})
    put(fake, STATEFUL_SETS, "ledger", "shop", **deployment("ledger", app="ledger"))
    put(fake, SERVICES, "ledger", "shop", spec={"selector": {"app": "ledger"}, "ports": []})
    return fake


def put(
    fake: FakeKubernetes, kind: Resource, name: str, namespace: str, labels: dict[str, str] | None = None, **fields: Any
) -> Object:
    """Put an object there."""
    return fake.store.create(
        kind, {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}}, **fields}
    )


@pytest.fixture
async def stores(fake: FakeKubernetes) -> AsyncIterator[Stores]:
    """Follow it."""
    stores = Stores(fake, clock=SystemClock(), changed=lambda *_: None, about=lambda _: ())
    await stores.start(KINDS)
    yield stores
    await stores.close()


async def test_objects_are_found_by_their_service_in_one_namespace(stores: Stores) -> None:
    """Guards by what they say, our objects by their label, Releases by their Guard; nothing of another service."""
    for kind in (GUARDS, CONTROLLER_REVISIONS):
        (found,) = stores.find(kind, of_service, "orders", "shop")
        assert (name_of(found).partition("-")[0], found["metadata"]["namespace"]) == ("orders", "shop")
    assert [name_of(one) for one in stores.find(RELEASES, of_guard, "stock", "other")] == ["stock-1"]
    assert not stores.find(GUARDS, of_service, "orders", "nowhere")


async def test_workloads_are_found_by_the_rarest_label_of_a_selector(stores: Stores) -> None:
    """A label that all share costs nothing where another one tells them apart; an empty selector selects nothing."""
    wanted = {"part": "shop", "app": "orders"}
    assert [name_of(one) for one in selected(stores, DEPLOYMENTS, wanted, "shop")] == ["orders"]
    assert not selected(stores, DEPLOYMENTS, {"app": "billing", "part": "shop"}, "shop")
    assert not selected(stores, DEPLOYMENTS, {}, "shop")


async def test_a_new_deployment_wakes_the_services_that_may_select_it_alone(stores: Stores) -> None:
    """A Guard may have waited for it; the others of the namespace are not looked at for that."""
    concerned = Concerned(stores)
    found = stores.get(DEPLOYMENTS, "orders", "shop")
    assert found is not None
    everyone = {"shop": ("orders.shop", "stock.shop"), "other": ("orders.other",)}
    assert concerned.of(DEPLOYMENTS, found, lambda namespace: everyone[namespace]) == {"orders.shop"}


async def test_what_a_stateful_set_made_wakes_the_service_that_rests_on_it(stores: Stores) -> None:
    """Its pods and its controller's revisions are its own; a Deployment of the same name is another one's."""
    concerned = Concerned(stores)
    concerned.remember("ledger.shop", "shop", "ledger")
    for kind, owner, woken in (
        (PODS, "StatefulSet", {"ledger.shop"}),
        (CONTROLLER_REVISIONS, "StatefulSet", {"ledger.shop"}),
        (PODS, "DaemonSet", set()),
    ):
        owners = [{"kind": owner, "name": "ledger", "uid": "u", "controller": True}]
        made: Object = {"metadata": {"name": "ledger-0", "namespace": "shop", "ownerReferences": owners}}
        assert concerned.of(kind, made, lambda _: ()) == woken


async def test_the_workload_that_a_service_selects_is_released(fake: FakeKubernetes) -> None:
    """Where there are two of one name, not the one that merely stands beside it."""
    put(fake, DEPLOYMENTS, "ledger", "shop", **deployment("ledger", app="ledger-tools"))
    stores = Stores(fake, clock=SystemClock(), changed=lambda *_: None, about=lambda _: ())
    await stores.start(KINDS)
    found = [released(stores, f"{name}.shop", name) for name in ("ledger", "orders", "billing")]
    assert [one and one[0].kind for one in found] == ["StatefulSet", "Deployment", None]
    await stores.close()


def test_a_template_is_fingerprinted_once_for_each_version_of_its_object() -> None:
    """A changed object has another version, and so another fingerprint; each is that of the template alone."""
    digests = TemplateDigests()
    one = {"metadata": {"uid": "u", "resourceVersion": "1"}, **deployment("orders", app="orders")}
    other = {"metadata": {"uid": "u", "resourceVersion": "2"}, **deployment("orders", app="others")}
    assert [digests(one), digests(other), digests(one)] == [
        template_digest(obj["spec"]["template"]) for obj in (one, other, one)
    ]
    assert digests(one) != digests(other)


async def test_a_status_of_our_own_is_a_view_and_everything_else_of_a_guard_is_said(fake: FakeKubernetes) -> None:
    """A status wakes nobody who decides; what people write does, wherever they write it."""
    said: list[str] = []
    viewed: list[str] = []
    stores = Stores(
        fake,
        clock=SystemClock(),
        changed=lambda resource, obj: said.append(f"{resource.kind} {name_of(obj)}"),
        viewed=lambda resource, obj: viewed.append(f"{resource.kind} {name_of(obj)}"),
        about=lambda _: (),
    )
    await stores.start(KINDS)
    said.clear()

    async def patch(resource: Resource, name: str, patch: dict[str, Any], subresource: str = "") -> None:
        heard = len(said) + len(viewed)
        fake.store.patch(resource, name, patch, namespace="shop", subresource=subresource)
        async with asyncio.timeout(60):
            while len(said) + len(viewed) == heard:
                await asyncio.sleep(0.01)

    await patch(GUARDS, "orders", {"status": {"phase": "exposed"}}, "status")
    await patch(RELEASES, "orders-1", {"status": {"phase": "exposed"}}, "status")
    assert (said, viewed) == ([], ["Guard orders", "Release orders-1"])
    for change in (
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"finalizers": ["a/b"]}},
        {"spec": {"mode": "ask"}},
    ):
        await patch(GUARDS, "orders", change)
    await patch(DEPLOYMENTS, "orders", {"status": {"readyReplicas": 1}}, "status")
    assert (said, len(viewed)) == (["Guard orders"] * 3 + ["Deployment orders"], 2)
    await stores.close()


def test_the_ids_of_many_services_are_worked_out_once() -> None:
    """A platform of thousands of services asks for them in turn, again and again."""
    workloads = [Workload(image="orders:1", service=f"service-{number}", pod="f00") for number in range(5_000)]
    first = [one.id for one in workloads]
    before = _workload_id.cache_info().misses
    assert [one.id for one in workloads] == first
    assert (_workload_id.cache_info().misses, len(set(first))) == (before, len(workloads))
