"""Server-side apply: who owns a field, what a conflict says, and what happens to what is no longer applied."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_world import World

from sternway.kubernetes.api import Object, Patch
from sternway.kubernetes.errors import Conflict
from sternway.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, SERVICES


async def _apply(world: World, data: dict[str, str], manager: str = "sternway", **more: Any) -> Object:
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
    made = await world.api.patch(
        CONFIG_MAPS, "settings", patch, namespace=world.namespace, how=Patch.APPLY, manager=manager, **more
    )
    assert made is not None
    return made


async def test_apply_makes_what_is_not_there(world: World) -> None:
    """Applied twice: made, then not changed."""
    made = await _apply(world, {"a": "1"})
    again = await _apply(world, {"a": "1"})
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert [(one["manager"], one["operation"]) for one in made["metadata"]["managedFields"]] == [("sternway", "Apply")]


async def test_a_field_of_another_is_not_taken(world: World) -> None:
    """The Conflict names the other and the field; with force it changes its owner, who may not set it back then."""
    await _apply(world, {"a": "1", "b": "1"}, "flux")
    with pytest.raises(Conflict, match=r"(?s)flux.*\.data\.a"):
        await _apply(world, {"a": "2"})
    assert (await _apply(world, {"a": "2"}, force=True))["data"] == {"a": "2", "b": "1"}
    with pytest.raises(Conflict, match="sternway"):
        await _apply(world, {"a": "1", "b": "1"}, "flux")


async def test_who_says_the_same_shares_the_field(world: World) -> None:
    """No conflict; the field stays until nobody applies it."""
    await _apply(world, {"a": "1"}, "flux")
    await _apply(world, {"a": "1", "b": "2"})
    assert (await _apply(world, {"b": "2"}))["data"] == {"a": "1", "b": "2"}
    assert (await _apply(world, {}, "flux")).get("data") == {"b": "2"}


async def test_what_is_no_longer_applied_is_removed(world: World) -> None:
    """Only that: what others wrote stays."""
    await _apply(world, {"a": "1", "b": "2"})
    await world.api.patch(CONFIG_MAPS, "settings", {"data": {"c": "3"}}, namespace=world.namespace, manager="kubectl")
    assert (await _apply(world, {"a": "1"}))["data"] == {"a": "1", "c": "3"}


async def test_a_plain_write_owns_what_it_changes(world: World) -> None:
    """Who applies over it has a conflict with the writer."""
    await _apply(world, {"a": "1"})
    await world.api.patch(CONFIG_MAPS, "settings", {"data": {"a": "9"}}, namespace=world.namespace, manager="kubectl")
    with pytest.raises(Conflict, match="kubectl"):
        await _apply(world, {"a": "1"})
    assert (await _apply(world, {"a": "1"}, force=True))["data"] == {"a": "1"}


async def test_containers_are_told_apart_by_name(world: World) -> None:
    """One manager's image and another's sidecar stand side by side; a sidecar no longer applied goes alone."""
    await world.api.create(DEPLOYMENTS, world.deployment())

    async def containers(*wanted: dict[str, Any]) -> list[str]:
        spec = {"template": {"spec": {"containers": list(wanted)}}}
        patch = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
        seen = await world.api.patch(
            DEPLOYMENTS, "orders", patch, namespace=world.namespace, how=Patch.APPLY, manager="mesh"
        )
        assert seen is not None
        return sorted(one["image"] for one in seen["spec"]["template"]["spec"]["containers"])

    assert await containers({"name": "proxy", "image": "registry/proxy:1"}) == ["registry/orders:1", "registry/proxy:1"]
    with pytest.raises(Conflict, match="image"):
        await containers({"name": "orders", "image": "registry/orders:2"})
    assert await containers() == ["registry/orders:1"]


async def test_a_selector_is_taken_as_a_whole(world: World) -> None:
    """A Service's selector applied by one and changed by another: the whole of it is the field in conflict."""
    ports = [{"port": 80, "protocol": "TCP"}]
    spec = {"ports": ports, "selector": {"app": "orders"}}
    await world.api.create(SERVICES, world.config("orders", spec=spec))
    patch = {"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": "orders-stable"}}}
    with pytest.raises(Conflict, match="selector"):
        await world.api.patch(SERVICES, "orders", patch, namespace=world.namespace, how=Patch.APPLY, manager="other")
    seen = await world.api.patch(
        SERVICES, "orders", patch, namespace=world.namespace, how=Patch.APPLY, manager="other", force=True
    )
    assert seen is not None
    assert seen["spec"]["selector"] == {"app": "orders-stable"}
    assert seen["spec"]["ports"][0]["port"] == 80


async def test_labels_of_others_stay(world: World) -> None:
    """A label and an annotation that one applies are taken away with it; those of others are not touched."""
    labels: dict[str, Any] = {"labels": {"team": "a"}, "annotations": {"note": "x"}}
    await world.api.create(CONFIG_MAPS, world.config(metadata=labels))
    ours = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"sternway.dev/role": "stable"}}}
    none = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
    for patch, wanted in ((ours, {"team": "a", "sternway.dev/role": "stable"}), (none, {"team": "a"})):
        seen = await world.api.patch(CONFIG_MAPS, "settings", patch, namespace=world.namespace, how=Patch.APPLY)
        assert seen is not None
        assert seen["metadata"]["labels"] == wanted
        assert seen["metadata"]["annotations"] == {"note": "x"}
