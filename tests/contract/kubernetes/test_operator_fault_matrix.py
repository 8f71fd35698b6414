"""Each trouble of the API server begins at each phase of a release: once it is recorded, before anything is done for it.

A walk tells the whole story once, and another trouble begins at each of its phases, as in a row of a Latin square: as many walks as
there are troubles are all pairs. Between two troubles the weather is fair.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cluster_world import World
from operator_world import GUARD, Cluster, cluster
from test_operator_faults import fake_of, left, promoted, ready, remembered, splits, taken_back, told_once
from weather import WEATHERS

from sternway.cluster import ClusterSternway
from sternway.kubernetes.resources import DEPLOYMENTS
from sternway.ports import Entry
from sternway.testing.kubernetes import FakeKubernetes

PHASES = ("adoption", "starting", "exposed", "withdrawn", "rolling-back", "baking", "promoted", "giving back")
LASTS_S = 1.2
ROWS = sorted(random.Random(20).sample(range(len(WEATHERS)), int(os.environ.get("STERNWAY_FAULT_ROWS", "2"))))
"""STERNWAY_FAULT_ROWS=9 walks through every pair; which row it was is in the test's name."""


class Sky:
    """The weather over a door, one trouble at a time. pairs: which trouble shall begin at which phase, once."""

    def __init__(self, door: FakeKubernetes, pairs: dict[str, str]) -> None:
        self._door = door
        self._left = dict(pairs)
        self._now = AsyncExitStack()
        self._end: asyncio.Task[None] | None = None

    @property
    def left(self) -> tuple[str, ...]:
        """The phases that were not met yet."""
        return tuple(self._left)

    async def at(self, phase: str) -> None:
        """A phase begins, and with it its trouble; the one before is over by then."""
        name = self._left.pop(phase, None)
        if name is None:
            return
        print(f"{phase}: {name}")  # noqa: T201  what a walk did, for who has to find out
        await self.clear()
        await self._now.enter_async_context(WEATHERS[name].over(self._door))
        self._end = asyncio.create_task(self._last())

    async def clear(self) -> None:
        """Fair weather."""
        if self._end is not None:
            self._end.cancel()
            await asyncio.gather(self._end, return_exceptions=True)
            self._end = None
        await self._now.aclose()

    async def _last(self) -> None:
        await asyncio.sleep(LASTS_S)
        await self._now.aclose()


def watched(sternway: ClusterSternway, sky: Sky) -> set[tuple[str, str]]:
    """Let the sky know of each phase when it is durable, and before it has any effect: where a pass records it.

    Gives the phases of each release that were met so far; a Guard's status may be late in bad weather.
    """
    record, met = sternway.journal.record, set()

    async def recorded(entries: Sequence[Entry], **more: Any) -> None:
        await record(entries, **more)
        for entry in entries:
            if entry.kind == "pass" and entry.progress is not None and entry.progress.release is not None:
                met.add((entry.progress.release.name, entry.progress.release.phase.value))
                await sky.at(entry.progress.release.phase.value)

    sternway.journal.record = recorded  # type: ignore[method-assign]
    return met


class Unhurried(Cluster):
    """A release lasts long enough for its pods to be missed while it does."""

    said: ClassVar = {**GUARD, "strategy": {"canary": {"steps": [{"percent": 20, "minRequests": 300}]}}}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    """Give a cluster on the fake, and its Prometheus."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state", Unhurried) as found:
        yield found


@pytest.mark.parametrize("row", ROWS)
async def test_the_story_ends_the_same_whatever_begins_at_a_phase(shop: tuple[Cluster, str], row: int) -> None:
    """A bad version taken back, a good one withdrawn for a while and promoted, the way out: as without, and nothing twice."""
    here, address = shop
    door, names = fake_of(here).door(), list(WEATHERS)
    sky = Sky(door, {phase: names[(row + number) % len(names)] for number, phase in enumerate(PHASES)})
    try:
        async with here.operated(address, api=door) as sternway:
            met = watched(sternway, sky)
            await sky.at("adoption")
            await ready(here)
            await taken_back(here)
            await here.image("orders:3")
            await here.until(lambda _: (f"{here.key}-2", "exposed") in met, 100)
            if "withdrawn" in sky.left:  # no pod of the candidate is ready for a moment
                nobody = {"spec": {"replicas": 0}}
                fake_of(here).store.patch(DEPLOYMENTS, "orders", nobody, namespace="ours", manager="somebody")
            await promoted(here)
            await remembered(here)
            await sky.at("giving back")
            seen = splits(here)
            await left(here)
        assert all(before != after for before, after in pairwise(seen)), seen
        assert sky.left == ()
    finally:
        await sky.clear()
    await told_once(here)
