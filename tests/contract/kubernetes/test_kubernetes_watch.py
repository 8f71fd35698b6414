"""Lists and watches: what is selected, what is told in which order, and when history is gone."""

from __future__ import annotations

import asyncio

import pytest
from cluster_world import World

from sternway.kubernetes.api import Change, name_of
from sternway.kubernetes.errors import Invalid
from sternway.kubernetes.resources import CONFIG_MAPS, PODS

SELECTIONS = {
    "app=a": {"one", "two"},
    "app==a,tier!=back": {"one"},
    "app in (a, b)": {"one", "two", "three"},
    "app notin (a)": {"three", "none"},
    "tier": {"two"},
    "!app": {"none"},
    "app=a,tier": {"two"},
}


@pytest.fixture
async def labelled(world: World) -> World:
    """Give a namespace with four ConfigMaps."""
    for name, labels in {
        "one": {"app": "a"},
        "two": {"app": "a", "tier": "back"},
        "three": {"app": "b"},
        "none": {},
    }.items():
        await world.api.create(CONFIG_MAPS, world.config(name, metadata={"labels": {**labels, "ours": "yes"}}))
    return world


async def test_labels_select(labelled: World) -> None:
    """Equality, sets, being there and not."""
    for selector, wanted in SELECTIONS.items():
        listed = await labelled.api.list(
            CONFIG_MAPS, namespace=labelled.namespace, labels=f"{selector},ours=yes", page=2
        )
        assert {name_of(item) for item in listed.items} == wanted, selector


async def test_a_selector_that_cannot_be_read_is_invalid(world: World) -> None:
    """It does not select everything."""
    with pytest.raises(Invalid):
        await world.api.list(CONFIG_MAPS, namespace=world.namespace, labels="app in a")


async def test_fields_select(labelled: World) -> None:
    """By name; by a field that is not indexed it is Invalid."""
    listed = await labelled.api.list(CONFIG_MAPS, namespace=labelled.namespace, fields="metadata.name=two")
    assert [name_of(item) for item in listed.items] == ["two"]
    await labelled.api.list(PODS, namespace=labelled.namespace, fields="status.phase=Running")
    with pytest.raises(Invalid):
        await labelled.api.list(CONFIG_MAPS, namespace=labelled.namespace, fields="data.a=1")


async def test_pages_hold_everything_once(world: World) -> None:
    """Seven objects in pages of three, each of them whole."""
    for number in range(7):
        await world.api.create(CONFIG_MAPS, world.config(f"c{number}", metadata={"labels": {"ours": "yes"}}))
    listed = await world.api.list(CONFIG_MAPS, namespace=world.namespace, labels="ours=yes", page=3)
    assert [name_of(item) for item in listed.items] == [f"c{number}" for number in range(7)]
    assert {(item["apiVersion"], item["kind"]) for item in listed.items} == {("v1", "ConfigMap")}


async def test_a_watch_goes_on_from_a_list(world: World) -> None:
    """What happened between list and watch is told, in order; what the list has is not."""
    await world.api.create(CONFIG_MAPS, world.config("before"))
    since = await world.now(CONFIG_MAPS)
    await world.api.create(CONFIG_MAPS, world.config("one"))
    await world.api.patch(CONFIG_MAPS, "one", {"data": {"a": "1"}}, namespace=world.namespace)
    await world.api.delete(CONFIG_MAPS, "one", world.namespace)
    told = await world.told(CONFIG_MAPS, since, 3)
    assert told == [(Change.ADDED, "one"), (Change.MODIFIED, "one"), (Change.DELETED, "one")]


async def test_a_watch_tells_as_it_happens(world: World) -> None:
    """A change while the watch waits."""
    waiting = asyncio.create_task(world.told(CONFIG_MAPS, await world.now(CONFIG_MAPS), 1))
    await asyncio.sleep(0)
    await world.api.create(CONFIG_MAPS, world.config("one"))
    assert await waiting == [(Change.ADDED, "one")]


async def test_each_event_has_a_later_version(world: World) -> None:
    """A watch that goes on from an event's resourceVersion does not tell it again; a deletion too has its own."""
    since = await world.now(CONFIG_MAPS)
    await world.api.create(CONFIG_MAPS, world.config("one"))
    await world.api.delete(CONFIG_MAPS, "one", world.namespace)
    await world.api.create(CONFIG_MAPS, world.config("two"))
    events = await world.events(CONFIG_MAPS, since, 3)
    versions = [int(told.object["metadata"]["resourceVersion"]) for told in events]
    assert versions == sorted(set(versions))
    assert await world.told(CONFIG_MAPS, str(versions[1]), 1) == [(Change.ADDED, "two")]


async def test_what_leaves_a_selection_is_deleted_for_its_watch(world: World) -> None:
    """And what enters it is added."""
    since = await world.now(CONFIG_MAPS)
    await world.api.create(CONFIG_MAPS, world.config("one", metadata={"labels": {"app": "a"}}))
    for label in ("b", "a"):
        patch = {"metadata": {"labels": {"app": label}}}
        await world.api.patch(CONFIG_MAPS, "one", patch, namespace=world.namespace)
    told = await world.told(CONFIG_MAPS, since, 3, labels="app=a")
    assert told == [(Change.ADDED, "one"), (Change.DELETED, "one"), (Change.ADDED, "one")]
