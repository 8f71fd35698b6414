"""A reflector's shelf is what the server has, whatever happens to its watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from cluster_world import WAIT_S, World

from sternway.clock import SystemClock
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.errors import Denied, Gone, Unreachable
from sternway.kubernetes.reflector import Reflector, Selection, lean
from sternway.kubernetes.resources import CONFIG_MAPS
from sternway.kubernetes.shelf import Key, owners
from sternway.testing.fakes import FakeClock
from sternway.testing.kubernetes import FakeKubernetes, Fault

ABSENT = Resource(group="absent.example", version="v1", plural="things", kind="Thing")
QUICK_S = (0.01, 0.05)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what is to come."""
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.01)


@dataclass
class Following:
    """A reflector that runs, and the keys that it told."""

    world: World
    reflector: Reflector
    keys: list[Key] = field(default_factory=list)

    def names(self) -> set[str]:
        """What is on the shelf."""
        return {obj["metadata"]["name"] for obj in self.reflector.shelf}


@pytest.fixture
async def following(world: World) -> AsyncIterator[Following]:
    """Give a reflector of our ConfigMaps that runs."""
    keys: list[Key] = []
    reflector = Reflector(
        world.api,
        CONFIG_MAPS,
        clock=SystemClock(),
        where=Selection(namespace=world.namespace, labels="ours=yes"),
        indexes={"owner": owners, "app": lambda obj: [obj["metadata"]["labels"].get("app", "none")]},
        on_change=keys.append,
        backoff_s=QUICK_S,
    )
    running = asyncio.create_task(reflector.run())
    yield Following(world, reflector, keys)
    running.cancel()
    await asyncio.wait([running])


def _ours(world: World, name: str, **labels: str) -> Object:
    return world.config(name, metadata={"labels": {"ours": "yes", **labels}})


def _fake(following: Following) -> FakeKubernetes:
    if not isinstance(following.world.api, FakeKubernetes):
        pytest.skip("only the fake breaks on request")
    return following.world.api


async def test_the_shelf_follows_the_server(following: Following) -> None:
    """Made, changed, deleted: on the shelf and told by key; what is not selected is neither."""
    world = following.world
    await following.reflector.wait_synced()
    await world.api.create(CONFIG_MAPS, world.config("other"))
    await world.api.create(CONFIG_MAPS, _ours(world, "one"))
    await world.api.create(CONFIG_MAPS, _ours(world, "two"))
    await until(lambda: following.names() == {"one", "two"})
    await world.api.patch(CONFIG_MAPS, "one", {"data": {"a": "2"}}, namespace=world.namespace)
    await until(lambda: (following.reflector.shelf.get(world.namespace, "one") or {}).get("data") == {"a": "2"})
    await world.api.delete(CONFIG_MAPS, "two", world.namespace)
    await until(lambda: following.names() == {"one"})
    told = [name for _, name in following.keys]
    assert told == ["one", "two", "one", "two"]


async def test_objects_are_found_by_index(following: Following) -> None:
    """By a word and by their owner; a word that changed finds no more."""
    world, shelf = following.world, following.reflector.shelf
    owner = await world.api.create(CONFIG_MAPS, _ours(world, "one", app="a"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "one", "uid": owner["metadata"]["uid"]}
    owned = _ours(world, "two", app="a")
    owned["metadata"]["ownerReferences"] = [reference]
    await world.api.create(CONFIG_MAPS, owned)
    await until(lambda: following.names() == {"one", "two"})
    assert [obj["metadata"]["name"] for obj in shelf.find("owner", owner["metadata"]["uid"])] == ["two"]
    assert len(shelf.find("app", "a")) == 2
    patch = {"metadata": {"labels": {"app": "b"}}}
    await world.api.patch(CONFIG_MAPS, "two", patch, namespace=world.namespace)
    await until(lambda: len(shelf.find("app", "b")) == 1)
    assert [obj["metadata"]["name"] for obj in shelf.find("app", "a")] == ["one"]


async def test_what_nobody_thought_of_ends_no_following(following: Following) -> None:
    """An answer that makes no sense to us is a trouble that is shown, and everything is listed anew."""
    api, reflector = _fake(following), following.reflector
    await reflector.wait_synced()
    odd = Fault(verb="watch", error=lambda: KeyError("metadata"), times=None)
    api.faults.append(odd)
    api.end_watches()
    await until(lambda: odd.met > 1 and reflector.error is not None)
    assert "KeyError: 'metadata'" in str(reflector.error)
    await api.create(CONFIG_MAPS, _ours(following.world, "one"))
    api.faults.clear()
    await until(lambda: following.names() == {"one"} and reflector.error is None)


async def test_ballast_is_not_kept(following: Following) -> None:
    """No managedFields in memory; what is needed stays."""
    await following.world.api.create(CONFIG_MAPS, _ours(following.world, "one"))
    await until(lambda: following.names() == {"one"})
    (kept,) = following.reflector.shelf
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["uid"]
    assert lean(kept) == kept


async def test_what_happened_unseen_is_found(following: Following) -> None:
    """History is gone while no watch runs: listed again, the deletion is told too, what did not change is not."""
    fake, world = _fake(following), following.world
    for name in ("stays", "goes", "changes"):
        await fake.create(CONFIG_MAPS, _ours(world, name))
    await until(lambda: len(following.names()) == 3 and fake.watches == 1)
    following.keys.clear()
    blocked = asyncio.Event()
    fake.faults.append(Fault(verb="watch", until=blocked))
    fake.end_watches()
    await until(lambda: fake.watches == 0)
    fake.store.delete(CONFIG_MAPS, "goes", world.namespace)
    fake.store.patch(CONFIG_MAPS, "changes", {"data": {"a": "1"}}, namespace=world.namespace)
    fake.forget()
    blocked.set()
    await until(lambda: following.names() == {"stays", "changes"})
    assert {name for _, name in following.keys} == {"goes", "changes"}


@pytest.mark.parametrize("error", [None, Unreachable, Gone])
async def test_a_watch_that_ends_is_taken_up(following: Following, error: type[Exception] | None) -> None:
    """Ended by the server, by a failure, or because it is too old: later changes arrive."""
    fake = _fake(following)
    await until(lambda: fake.watches == 1)
    fake.end_watches(None if error is None else lambda: error("planted"))
    await fake.create(CONFIG_MAPS, _ours(following.world, "one"))
    await until(lambda: following.names() == {"one"})
    lists = fake.count(verb="list")
    assert lists == (2 if error is Gone else 1)


async def test_failures_are_told_and_outlived() -> None:
    """Not synced and `error` set while the server refuses; synced, without error, when it answers again."""
    fake = FakeKubernetes()
    refused = Fault(verb="list", error=lambda: Denied("list configmaps: no"), times=None)
    fake.faults.append(refused)
    reflector = Reflector(fake, CONFIG_MAPS, clock=SystemClock(), backoff_s=QUICK_S)
    running = asyncio.create_task(reflector.run())
    await until(lambda: refused.met >= 2)
    assert isinstance(reflector.error, Denied)
    assert not reflector.synced
    fake.faults.clear()
    await until(lambda: reflector.synced)
    assert reflector.error is None
    running.cancel()


async def test_a_list_whose_pages_grow_old_is_taken_at_once() -> None:
    """410 in the middle of the pages: the next list asks for everything in one."""
    fake = FakeKubernetes()
    for number in range(600):
        fake.store.create(CONFIG_MAPS, {"metadata": {"name": f"c{number}", "namespace": "shop"}})
    fake.faults.append(Fault(verb="list", error=lambda: Gone("continue is too old")))
    reflector = Reflector(fake, CONFIG_MAPS, clock=SystemClock(), backoff_s=QUICK_S)
    running = asyncio.create_task(reflector.run())
    async with asyncio.timeout(WAIT_S):
        await reflector.wait_synced()
    assert len(reflector.shelf) == 600
    assert fake.count(verb="list") == 2
    running.cancel()


async def test_knowledge_has_an_age() -> None:
    """It grows while the server says nothing, and is new with a bookmark."""
    clock, fake = FakeClock(), FakeKubernetes()
    reflector = Reflector(fake, CONFIG_MAPS, clock=clock, backoff_s=QUICK_S)
    running = asyncio.create_task(reflector.run())
    await until(lambda: fake.watches == 1)
    clock.sleep(90)
    assert reflector.age_s() == 90
    fake.bookmark()
    await until(lambda: reflector.age_s() == 0)
    running.cancel()


async def test_a_kind_that_is_not_installed_is_waited_for() -> None:
    """The error says so; as soon as it is served the shelf is in step."""
    fake = FakeKubernetes()
    reflector = Reflector(fake, ABSENT, clock=SystemClock(), backoff_s=QUICK_S)
    running = asyncio.create_task(reflector.run())
    async with asyncio.timeout(WAIT_S):
        while reflector.error is None:
            await asyncio.sleep(0.01)
        assert "absent.example" in str(reflector.error)
        fake.store.install(ABSENT)
        await reflector.wait_synced()
    running.cancel()
