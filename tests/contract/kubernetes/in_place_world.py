"""A shop whose service is a StatefulSet: its versions stand side by side within it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from cluster_world import WAIT_S
from platform_world import Shop

from sternway.domain.platform import WorkloadRun
from sternway.domain.versions import Workload
from sternway.errors import Temporary
from sternway.kubernetes.api import Object, is_ready, name_of
from sternway.kubernetes.resources import PODS, SERVICES, STATEFUL_SETS
from sternway.testing.kubernetes import FakeKubernetes

COUNT = 3


class StatefulShop(Shop):
    """The service `orders` of three replicas."""

    kind = STATEFUL_SETS

    async def open(self, **more: Any) -> Workload:
        """Put the user's objects there, and wait until the three pods of orders:1 are ready, as without Sternway."""
        await self.platform.start()
        made = self.world.stateful_set(replicas=COUNT)
        container = made["spec"]["template"]["spec"]["containers"][0]
        container |= {"image": "registry/orders:1", "envFrom": [{"configMapRef": {"name": "settings"}}]}
        made["spec"] |= more
        await self.put(made)
        async with asyncio.timeout(WAIT_S):
            while len([pod for pod in self.pods() if is_ready(pod)]) < COUNT:
                await self.look()
                await asyncio.sleep(0 if isinstance(self.world.api, FakeKubernetes) else 0.05)
        return await self.asked()

    async def adopted(self) -> Workload:
        """Open, and wait until the service is at rest: reached by our Service, and by the user's, and held."""
        first = await self.open()
        self.traffic = (first,)
        await self.share({first: COUNT}, lambda: self.revision("orders") != "" and self.carrying == {"orders-stable"})
        return first

    async def share(self, shares: dict[Workload, int], holds: Any) -> None:
        """Ask for so many replicas of each until the cluster is so."""
        async with asyncio.timeout(2 * WAIT_S):
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

    def user(self) -> Object:
        """The StatefulSet."""
        return self._found(STATEFUL_SETS, "orders")

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
