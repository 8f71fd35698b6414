"""Autoscalers and disruption budgets of the user's: copies for the twin, in step, and out again."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_world import World
from platform_world import Shop

from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, POD_DISRUPTION_BUDGETS
from sternway.platforms.kubernetes.followers import SCALED_OBJECTS, VERTICAL_POD_AUTOSCALERS
from sternway.testing.kubernetes import FakeKubernetes

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"}
CASES = [
    (HORIZONTAL_POD_AUTOSCALERS, {"scaleTargetRef": TARGET, "minReplicas": 2, "maxReplicas": 9}),
    (POD_DISRUPTION_BUDGETS, {"minAvailable": 1, "selector": {"matchLabels": {"app": "orders"}}}),
    (SCALED_OBJECTS, {"scaleTargetRef": {"name": "orders"}, "minReplicaCount": 0, "maxReplicaCount": 9}),
    (VERTICAL_POD_AUTOSCALERS, {"targetRef": TARGET, "updatePolicy": {"updateMode": "Auto"}}),
]


@pytest.fixture
def shop() -> Shop:
    """Give a shop in a cluster that has every kind of autoscaler."""
    fake = FakeKubernetes(namespaces=("ours",), kinds=(SCALED_OBJECTS, VERTICAL_POD_AUTOSCALERS))
    return Shop(World(api=fake, namespace="ours"))


async def _adopted(shop: Shop, kind: Resource, spec: dict[str, Any], **metadata: Any) -> Object:
    first = await shop.open()
    made = {"metadata": {"name": "orders", "namespace": shop.world.namespace, **metadata}, "spec": spec}
    await shop.world.api.create(kind, made)
    shop.traffic = (first,)
    await shop.until(lambda: shop.replicas() == 0, first)
    await shop.steps(4, first)
    return await _get(shop, kind, "orders-stable") or {}


async def _get(shop: Shop, kind: Resource, name: str) -> Object | None:
    return await shop.world.api.get(kind, name, shop.world.namespace)


@pytest.mark.parametrize(("kind", "spec"), CASES, ids=lambda case: getattr(case, "kind", ""))
async def test_the_twin_has_a_copy(shop: Shop, kind: Resource, spec: dict[str, Any]) -> None:
    """It is about the twin, follows the user's when that is changed, and goes when that goes."""
    copied = (await _adopted(shop, kind, spec))["spec"]
    about = copied.get("scaleTargetRef") or copied.get("targetRef") or copied["selector"]["matchLabels"]
    assert about.get("name", about.get("sternway.dev/twin")) in ("orders-stable", "orders")
    field = next(key for key in spec if key not in ("scaleTargetRef", "targetRef", "selector"))
    first = shop.traffic[0]
    value = {"updateMode": "Off"} if isinstance(spec[field], dict) else 4
    await shop.world.api.patch(kind, "orders", {"spec": {field: value}}, namespace=shop.world.namespace)
    await shop.steps(4, first)
    assert (await _get(shop, kind, "orders-stable") or {})["spec"][field] == value
    await shop.world.api.delete(kind, "orders", shop.world.namespace)
    await shop.steps(4, first)
    assert await _get(shop, kind, "orders-stable") is None


@pytest.mark.parametrize(("kind", "spec"), CASES, ids=lambda case: getattr(case, "kind", ""))
async def test_what_is_about_something_else_is_not_copied(shop: Shop, kind: Resource, spec: dict[str, Any]) -> None:
    """Another Deployment's autoscaler, another's budget."""
    other = {
        key: {**value, **({"name": "pay"} if "name" in value else {"matchLabels": {"app": "pay"}})}
        if key in ("scaleTargetRef", "targetRef", "selector")
        else value
        for key, value in spec.items()
    }
    assert await _adopted(shop, kind, other) == {}


async def test_an_autoscalers_number_of_pods_is_left_to_it(shop: Shop) -> None:
    """Where an HPA scales the twin, its number of replicas is not put back."""
    await _adopted(shop, *CASES[0])
    first = shop.traffic[0]
    await shop.world.api.patch(DEPLOYMENTS, "orders-stable", {"spec": {"replicas": 7}}, namespace="ours", manager="hpa")
    await shop.steps(4, first)
    assert shop.twin()["spec"]["replicas"] == 7


async def test_the_twin_keeps_its_pods_while_a_candidate_takes_its_traffic(shop: Shop) -> None:
    """An autoscaler would take them away as the load goes, and a rollback would find too few."""
    await _adopted(shop, *CASES[0])
    first = shop.traffic[0]
    await shop.world.api.patch(DEPLOYMENTS, "orders-stable", {"spec": {"replicas": 7}}, namespace="ours", manager="hpa")
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3, first, second)
    await shop.steps(2, first, second)
    assert (await _get(shop, HORIZONTAL_POD_AUTOSCALERS, "orders-stable") or {})["spec"]["minReplicas"] == 7
    await shop.until(lambda: shop.replicas() == 0, first)
    await shop.steps(2, first)
    assert (await _get(shop, HORIZONTAL_POD_AUTOSCALERS, "orders-stable") or {})["spec"]["minReplicas"] == 2


async def test_keda_lets_the_users_pods_rest(shop: Shop) -> None:
    """Its trigger would start them again: it is paused at none while they rest, and let go for a candidate."""
    copied = await _adopted(shop, *CASES[2])
    paused = "autoscaling.keda.sh/paused-replicas"
    assert copied["spec"]["minReplicaCount"] == 1  # a twin at none could take no rollback
    assert (await _get(shop, SCALED_OBJECTS, "orders") or {})["metadata"]["annotations"][paused] == "0"
    first = shop.traffic[0]
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) > 0, first, second)
    assert paused not in ((await _get(shop, SCALED_OBJECTS, "orders") or {})["metadata"].get("annotations") or {})


async def test_the_autoscaler_that_keda_made_is_kedas(shop: Shop) -> None:
    """Only the ScaledObject is copied."""
    owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "orders", "uid": "u"}
    assert await _adopted(shop, *CASES[0], ownerReferences=[owner]) == {}
