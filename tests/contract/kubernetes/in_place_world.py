"""Shops whose service is a StatefulSet, or a DaemonSet: its versions stand side by side within it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from cluster_world import WAIT_S
from controllers import NODES
from platform_world import Shop

from sternway.domain.platform import WorkloadRun
from sternway.domain.versions import Workload
from sternway.errors import Temporary
from sternway.kubernetes.api import Object, is_ready, name_of
from sternway.kubernetes.reading import replicas_of
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, DAEMON_SETS, PODS, SERVICES, STATEFUL_SETS
from sternway.testing.kubernetes import FakeKubernetes

COUNT = 3


class StatefulShop(Shop):
    """The service `orders` of three replicas."""

    kind = STATEFUL_SETS

    async def open(self, **more: Any) -> Workload:
        """Put the user's objects there, and wait until the three pods of orders:1 are ready, as without Sternway."""
        await self.platform.start()
        made = self.made()
        container = made["spec"]["template"]["spec"]["containers"][0]
        container |= {"image": "registry/orders:1", "envFrom": [{"configMapRef": {"name": "settings"}}]}
        made["spec"] |= more
        await self.put(made)
        await self.mirror.refresh()
        async with asyncio.timeout(WAIT_S):
            while len([pod for pod in self.pods() if is_ready(pod)]) < max(1, self.count()):
                await self.look()
                await asyncio.sleep(0 if isinstance(self.world.api, FakeKubernetes) else 0.05)
        return await self.asked()

    def made(self) -> Object:
        """What is released, as the user made it."""
        return self.world.stateful_set(replicas=COUNT)

    def count(self) -> int:
        """How many pods there are to be."""
        return replicas_of(self.user())

    async def adopted(self) -> Workload:
        """Open, and wait until the service is at rest: reached by our Service, and by the user's, and held."""
        first = await self.open()
        self.traffic = (first,)
        await self.share(
            {first: self.count()}, lambda: self.revision("orders") != "" and self.carrying == {"orders-stable"}
        )
        return first

    async def share(self, shares: dict[Workload, int], holds: Any) -> None:
        """Ask for so many replicas of each until the cluster is so."""
        async with asyncio.timeout(WAIT_S):
            while True:
                await self.step(shares)
                if holds():
                    return
                await asyncio.sleep(0 if isinstance(self.world.api, FakeKubernetes) else 0.05)

    async def step(self, shares: dict[Workload, int]) -> None:
        """Ask for so many replicas of each once."""
        await self.look()
        runs = [WorkloadRun(workload=one, replicas=count) for one, count in shares.items()]
        with contextlib.suppress(Temporary):
            await self.platform.apply(self.key, runs)
        await self.look()

    async def comes_back(self) -> None:
        """Let a version that nothing runs any more come back: its template is restored, and pods and traffic follow."""
        first = await self.adopted()
        second = await self.image("orders:2")
        self.traffic = (first, second)
        await self.share({first: 1, second: 2}, lambda: self.up(second) == 2)
        self.traffic = (second,)
        await self.share(
            {second: COUNT}, lambda: self.all_ready(*["orders:2"] * COUNT) and self.carrying == {"orders-stable"}
        )
        assert await self.restored(bad=second, good=first) == f"{self.kind.kind} orders restored"
        await self.share({first: COUNT}, lambda: self.up(first) == 1)
        self.traffic = (first,)
        await self.share(
            {first: COUNT}, lambda: self.all_ready(*["orders:1"] * COUNT) and self.carrying == {"orders-stable"}
        )

    def user(self) -> Object:
        """The StatefulSet, or DaemonSet."""
        return self._found(self.kind, "orders")

    def pods(self) -> list[Object]:
        """The pods, by name."""
        found = self.mirror.all(PODS, self.world.namespace)
        return sorted((pod for pod in found if "deletionTimestamp" not in pod["metadata"]), key=name_of)

    def images(self) -> list[str]:
        """What each pod runs, by its number."""
        return [str(pod["spec"]["containers"][0]["image"]).removeprefix("registry/") for pod in self.pods()]

    def partition(self) -> int:
        """From which pod on the template counts."""
        return int(self.user()["spec"]["updateStrategy"]["rollingUpdate"]["partition"])

    def revision(self, service: str) -> str:
        """Which revision a Service selects; "" for any, and where there is no such Service."""
        found = self.mirror.get(SERVICES, service, self.world.namespace)
        selector = (found["spec"].get("selector") or {}) if found is not None else {}
        return str(selector.get("controller-revision-hash", ""))

    def uids(self) -> list[str]:
        """Which pods these are."""
        return [str(pod["metadata"]["uid"]) for pod in self.pods()]

    def all_ready(self, *images: str) -> bool:
        """Whether the pods run these, by their numbers, and are all ready."""
        return self.images() == list(images) and all(map(is_ready, self.pods()))


class DaemonShop(StatefulShop):
    """The service `orders` on every node: on three of the fake, on as many as the real API has."""

    kind = DAEMON_SETS

    def made(self) -> Object:
        """See StatefulShop."""
        for number in range(COUNT):
            self.join(f"node-{number}")
        return self.world.daemon_set()

    def join(self, name: str) -> None:
        """A node more, in the fake."""
        if isinstance(self.world.api, FakeKubernetes):
            self.world.api.store.create(NODES, {"metadata": {"name": name}})

    def images(self) -> list[str]:
        """What the pods run: their names tell nothing."""
        return sorted(super().images())

    def running(self, image: str) -> set[str]:
        """Which pods run an image."""
        wanted = f"registry/{image}"
        return {str(pod["metadata"]["uid"]) for pod in self.pods() if pod["spec"]["containers"][0]["image"] == wanted}

    def newest(self) -> Object:
        """The revision that its controller made last."""
        mine = self.mirror.owned(CONTROLLER_REVISIONS, str(self.user()["metadata"]["uid"]))
        return max(mine, key=lambda one: int(one["revision"]))

    def strategy(self) -> Object:
        """How it replaces its pods now."""
        found: Object = self.user()["spec"]["updateStrategy"]
        return found
