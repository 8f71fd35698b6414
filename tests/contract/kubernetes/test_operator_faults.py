"""The whole story in a cluster whose API server has a bad day: the same end as on a good one, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from cluster_world import World
from operator_world import Cluster, Patient, cluster
from weather import WEATHERS, Weather, changing

from sternway.domain.releases import Phase
from sternway.kubernetes.api import Object
from sternway.kubernetes.errors import Conflict, Unreachable
from sternway.kubernetes.ours import LEDGER, annotation
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, GUARDS, SERVICES
from sternway.store import SqlStore
from sternway.testing.kubernetes import FakeKubernetes, Fault
from sternway.traffic.kubernetes.istio import VIRTUAL_SERVICES


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    """Give a cluster on the fake, and its Prometheus."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state") as found:
        yield found


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    """Give one whose release stays exposed until something ends it."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state", Patient) as found:
        yield found


def fake_of(here: Cluster) -> FakeKubernetes:
    """The cluster as everybody but Sternway sees it."""
    assert isinstance(here.world.api, FakeKubernetes)
    return here.world.api


async def ready(here: Cluster) -> None:
    """Wait until a service is adopted and at rest."""
    await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")


def splits(here: Cluster) -> list[tuple[tuple[str, int], ...]]:
    """Every split that stood in the route, in their order."""
    entries = fake_of(here).store.history[VIRTUAL_SERVICES.group, VIRTUAL_SERVICES.plural]
    return [_split(entry.object) for entry in entries if entry.change.value in ("ADDED", "MODIFIED")]


def _split(route: Object) -> tuple[tuple[str, int], ...]:
    shares = route["spec"]["http"][-1]["route"]
    return tuple(sorted((one["destination"]["host"].partition(".")[0], one.get("weight", 100)) for one in shares))


async def story(here: Cluster) -> None:
    """A bad version is taken back, a good one promoted."""
    await ready(here)
    await taken_back(here)
    await here.image("orders:3")
    await promoted(here)


async def taken_back(here: Cluster) -> None:
    """orders:2 fails, and goes; from then on all is well."""
    here.users.bad["orders"] = 0.5
    await here.image("orders:2")
    await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
    await here.settled("orders:1")
    here.users.bad.clear()


async def promoted(here: Cluster) -> None:
    """Wait until orders:3 is stable, and runs alone."""
    await here.until(lambda s: (s.get("stable") or {}).get("image") == "registry/orders:3" and s["phase"] == "idle")
    await here.settled("orders:3")


async def left(here: Cluster) -> None:
    """The Guard goes, and everything of the user's is as it was, with the version that was promoted."""
    await here.world.api.delete(GUARDS, "orders", here.world.namespace)
    async with asyncio.timeout(120):
        while await here.world.api.get(GUARDS, "orders", here.world.namespace) is not None:
            await asyncio.sleep(0.1)
    service = await here.world.api.get(SERVICES, "orders", here.world.namespace)
    assert service is not None
    assert service["spec"]["selector"] == {"app": "orders"}
    assert (await here.deployment())["spec"]["replicas"] == 3
    assert await here.image_of() == "orders:3"
    for kind, kept in ((SERVICES, {"orders"}), (DEPLOYMENTS, {"orders"}), (VIRTUAL_SERVICES, set())):
        found = (await here.world.api.list(kind, namespace=here.world.namespace)).items
        assert {one["metadata"]["name"] for one in found} == kept


async def told_once(here: Cluster) -> None:
    """Each release is in the journal once, ended as it should be, and no decision stands there twice in a row."""
    journal = SqlStore(here.state / "journal.db")
    await journal.open()
    try:
        lines = await journal.entries(service=here.key, kind="pass")
    finally:
        await journal.close()
    phases = [
        (line.progress.release.name, line.progress.release.phase)
        for line in lines
        if line.progress and line.progress.release
    ]
    begun = [one for one, before in zip(phases, [None, *phases], strict=False) if before is None or before[0] != one[0]]
    assert [name for name, _ in begun] == [f"{here.key}-1", f"{here.key}-2"]
    ended = [one for one in dict.fromkeys(phases) if one[1].over]
    assert ended == [(f"{here.key}-1", Phase.ROLLED_BACK), (f"{here.key}-2", Phase.PROMOTED)]


async def remembered(here: Cluster) -> None:
    """Wait until the ledger on the Guard has a word on each version, and one only."""
    wanted = [("", "good"), (f"{here.key}-1", "bad"), (f"{here.key}-2", "good")]
    async with asyncio.timeout(100):
        while True:
            ledger = json.loads(annotation(await here.guard(), LEDGER) or "[]")
            if sorted((one["release"], one["verdict"]) for one in ledger) == wanted:
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("weather", WEATHERS.values(), ids=WEATHERS)
async def test_the_story_ends_the_same_on_a_bad_day(shop: tuple[Cluster, str], weather: Weather) -> None:
    """Adoption, a release taken back, one promoted, the way out, all under the trouble: as without it, and nothing twice."""
    here, address = shop
    door = fake_of(here).door()
    async with weather.over(door), here.operated(address, api=door):
        await story(here)
        await remembered(here)
        seen = splits(here)
        assert all(before != after for before, after in pairwise(seen)), seen
        await left(here)
    await told_once(here)


SEEDS = range(int(os.environ.get("STERNWAY_FAULT_SEEDS", "1")))
"""STERNWAY_FAULT_SEEDS=50 walks on for longer; a seed that fails is in the test's name."""


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_story_ends_the_same_in_changing_weather(shop: tuple[Cluster, str], seed: int) -> None:
    """Any trouble may come at any time, and Sternway is started anew again and again: the same end."""
    here, address = shop
    door, chance = fake_of(here).door(), random.Random(seed)
    told = asyncio.create_task(changing(door, chance))
    working = asyncio.create_task(restarting(here, address, door, chance))
    try:
        await story(here)
        await remembered(here)
        assert all(before != after for before, after in pairwise(splits(here)))
        await left(here)
    finally:
        for task in (told, working):
            task.cancel()
        await asyncio.gather(told, working, return_exceptions=True)
    await told_once(here)


async def restarting(here: Cluster, address: str, door: FakeKubernetes, chance: random.Random) -> None:
    """Run Sternway, and start it anew every few seconds, until cancelled."""
    while True:
        async with here.operated(address, api=door):
            lasts_s = chance.uniform(2, 8)
            print(f"{lasts_s:.1f} s, then a restart")  # noqa: T201  what a walk did, for who has to find out
            await asyncio.sleep(lasts_s)


async def exposed(here: Cluster) -> None:
    """Bring orders:2 to its first users."""
    await ready(here)
    await here.image("orders:2")
    await here.until(lambda s: s.get("phase") == "exposed")


async def back(here: Cluster) -> None:
    """Wait until the twin has all traffic."""
    async with asyncio.timeout(60):
        while here.shares()["orders-stable"] < 1.0:
            await asyncio.sleep(0.05)


async def test_a_request_that_hangs_keeps_no_rollback_up(patient: tuple[Cluster, str]) -> None:
    """Every write but those of the traffic hangs, as when the server throttles: traffic goes back; then all is made up for."""
    here, address = patient
    door, fast = fake_of(here).door(), fake_of(here).door()
    async with here.operated(address, api=door, urgent=fast):
        await exposed(here)
        again = asyncio.Event()
        door.faults.append(Fault(verb="write", until=again, times=None))
        scaled = {
            "spec": {"replicas": 1}
        }  # there is something to write: somebody scales the twin down, and the Guard changes
        loose = {"metadata": {"finalizers": None}}
        store = fake_of(here).store
        store.patch(DEPLOYMENTS, "orders-stable", scaled, namespace="ours", manager="somebody")
        store.patch(GUARDS, "orders", loose, namespace="ours", manager="somebody")
        async with asyncio.timeout(60):
            while door.faults[0].met < 2:
                await asyncio.sleep(0.05)
        here.users.bad["orders"] = 0.5
        await back(here)
        again.set()
        await here.settled("orders:1")


async def test_what_is_seen_late_is_restored_all_the_same(shop: tuple[Cluster, str]) -> None:
    """The record of the bad version has not come by the watch when it is taken back: the restoring waits for it."""
    here, address = shop
    door = fake_of(here).door()
    async with here.operated(address, api=door):
        await ready(here)
        blind = Fault(verb="watch", resource=CONTROLLER_REVISIONS, error=_cut, times=None)
        door.faults.append(blind)
        door.end_watches()
        here.users.bad["orders"] = 0.5
        await here.image("orders:2")
        await here.until(lambda s: s.get("release") == "orders-1" and s.get("phase") in ("rolling-back", "idle"))
        await asyncio.sleep(1)
        door.faults.clear()
        await here.settled("orders:1")


async def test_a_write_that_conflicts_all_the_time_is_not_tried_without_end(patient: tuple[Cluster, str]) -> None:
    """The candidate cannot be started for conflicts: it is tried now and then, and goes on when they are over."""
    here, address = patient
    door = fake_of(here).door()
    async with here.operated(address, api=door):
        await ready(here)
        conflicts = Fault(verb="patch", resource=DEPLOYMENTS, name="orders", error=_quicker, times=None)
        door.faults.append(conflicts)
        await here.image("orders:2")
        async with asyncio.timeout(60):
            while conflicts.met < 3:
                await asyncio.sleep(0.05)
        before = conflicts.met
        await asyncio.sleep(2)
        tries = conflicts.met - before
        door.faults.clear()
        assert tries < 20
        await here.until(lambda s: s.get("phase") == "exposed")


async def test_a_guard_that_comes_back_is_followed_again(shop: tuple[Cluster, str]) -> None:
    """Deleted, everything given back, another version deployed meanwhile, and a Guard again: that version is adopted."""
    here, address = shop
    async with here.operated(address):
        await ready(here)
        guard = await here.guard()
        await here.world.api.delete(GUARDS, "orders", here.world.namespace)
        async with asyncio.timeout(60):
            while await here.world.api.get(GUARDS, "orders", here.world.namespace) is not None:
                await asyncio.sleep(0.1)
        await here.image("orders:2")
        again = {key: guard[key] for key in ("apiVersion", "kind", "spec")}
        await here.world.api.create(
            GUARDS, {**again, "metadata": {"name": "orders", "namespace": here.world.namespace}}
        )
        await ready(here)
        await here.settled("orders:2")


async def test_a_guard_that_cannot_be_followed_after_a_restart_changes_nothing(patient: tuple[Cluster, str]) -> None:
    """A release is under way, somebody spoils the Guard, Sternway is started anew: it is judged and taken back all the same."""
    here, address = patient
    async with here.operated(address):
        await exposed(here)
    spoiled = {"spec": {"deployment": "no-such"}}
    fake_of(here).store.patch(GUARDS, "orders", spoiled, namespace="ours", manager="somebody")
    here.users.bad["orders"] = 0.5
    async with here.operated(address):
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
        await here.settled("orders:1")
        assert (await here.guard())["status"]["conditions"][0]["reason"] == "Invalid"
        mended = {"spec": {"deployment": "orders"}}
        fake_of(here).store.patch(GUARDS, "orders", mended, namespace="ours", manager="somebody")
        await ready(here)
        assert await here.image_of("orders-stable") == "orders:1"


async def test_a_split_whose_record_is_lost_comes_back_to_safety(patient: tuple[Cluster, str]) -> None:
    """The volume is lost while orders:2 has users: the twin's version is known to be good, and orders:2 is judged anew."""
    here, address = patient
    async with here.operated(address):
        await exposed(here)
        async with asyncio.timeout(60):
            while not here.shares()["orders"]:
                await asyncio.sleep(0.05)
    shutil.rmtree(here.state)
    known = len(splits(here))
    async with here.operated(address):
        await here.until(lambda s: (s.get("stable") or {}).get("image") == "registry/orders:1" and s["phase"] != "idle")
        here.users.bad["orders"] = 0.5
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
        await here.settled("orders:1")
    assert dict(splits(here)[known]).get("orders-candidate", 0) == 0


def _quicker() -> Exception:
    return Conflict("the object has been modified", retry_in_s=0.1)


def _cut() -> Exception:
    return Unreachable("cut off", retry_in_s=0.1)
