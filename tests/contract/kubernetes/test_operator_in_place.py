"""The whole story of a StatefulSet and of a DaemonSet in a cluster: adoption, a bad release, a good one, and the way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest
from cluster_world import WAIT_S, World
from controllers import NODES
from operator_world import GUARD, Cluster, cluster
from weather import WEATHERS, Weather

from sternway.kubernetes.api import Object, Patch, name_of
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, DAEMON_SETS, GUARDS, PODS, SERVICES, STATEFUL_SETS
from sternway.platforms.kubernetes.replacing import REST
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.istio import VIRTUAL_SERVICES

_OF = 'reporter="source",destination_service_name="$(backend)"'
METRICS = [
    {
        "name": "mesh-errors",
        "interval": "200ms",
        "ratio": {
            "bad": f'istio_requests_total{{{_OF},response_code=~"5..|0"}}',
            "total": f"istio_requests_total{{{_OF}}}",
        },
    }
]
"""What a Guard gets by itself, asked more often."""


class StatefulCluster(Cluster):
    """The service `orders` is a StatefulSet of three pods. held: how its pods are held."""

    kind = STATEFUL_SETS
    held: ClassVar[Object] = {"type": "RollingUpdate", "rollingUpdate": {"partition": REST}}

    def shares(self) -> dict[str, float]:
        """Which of our Services users' requests go to: by the VirtualService."""
        if self.route is None:
            return {"orders": 1.0}
        found = {"orders-stable": 0.0, "orders-candidate": 0.0}
        for one in self.route["spec"]["http"][-1]["route"]:
            found[one["destination"]["host"].partition(".")[0]] += one.get("weight", 100) / 100
        return found

    async def open(self) -> None:
        """Put the user's objects there: three replicas of orders:1, a Service, and a Guard."""
        service = {
            "metadata": {"name": "orders", "namespace": self.world.namespace},
            "spec": {"selector": {"app": "orders"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }
        guard = {
            "metadata": {"name": "orders", "namespace": self.world.namespace},
            "spec": {**GUARD, "metrics": METRICS},
        }
        await self.world.api.create(self.kind, self.made())
        await self.world.api.create(SERVICES, service)
        await self.world.api.create(GUARDS, guard)

    def made(self) -> Object:
        """What is released, as the user made it."""
        return self.world.stateful_set(replicas=3)

    async def image(self, image: str) -> None:
        """`kubectl set image statefulset/orders orders=…`."""
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"registry/{image}"}]
        await self.world.api.patch(
            self.kind, "orders", patch, namespace=self.world.namespace, how=Patch.JSON, manager="kubectl"
        )

    async def pods(self) -> dict[str, tuple[str, str]]:
        """Name of each pod -> (uid, image)."""
        found = (await self.world.api.list(PODS, namespace=self.world.namespace)).items
        alive = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return {
            name_of(pod): (
                str(pod["metadata"]["uid"]),
                str(pod["spec"]["containers"][0]["image"]).removeprefix("registry/"),
            )
            for pod in alive
        }

    async def user(self) -> Object:
        """What is released, as it stands."""
        found = await self.world.api.get(self.kind, "orders", self.world.namespace)
        assert found is not None
        return found

    async def rests(self, image: str) -> None:
        """Wait until every pod runs an image, our stable Service has all traffic, and they are held."""
        wanted = (["registry/" + image] * 4, self.held, 1.0)
        found: tuple[object, ...] = ()
        try:
            async with asyncio.timeout(2 * WAIT_S):
                while found != wanted:
                    await asyncio.sleep(0.1)
                    spec = (await self.user())["spec"]
                    images = [f"registry/{one}" for _, one in (await self.pods()).values()]
                    images.append(spec["template"]["spec"]["containers"][0]["image"])
                    found = (images, spec["updateStrategy"], self.shares().get("orders-stable"))
        except TimeoutError:
            here = self.sternway
            msg = f"{found} instead of {wanted}: {(await self.guard()).get('status')} {here.troubles() if here else ''}"
            raise AssertionError(msg) from None


class DaemonCluster(StatefulCluster):
    """The service `orders` is a DaemonSet on three nodes of the fake."""

    kind = DAEMON_SETS
    held: ClassVar[Object] = {"type": "OnDelete"}

    def made(self) -> Object:
        """See StatefulCluster."""
        assert isinstance(self.world.api, FakeKubernetes)
        for number in range(3):
            self.world.api.store.create(NODES, {"metadata": {"name": f"node-{number}"}})
        return self.world.daemon_set()


@pytest.fixture
async def shop(world: World, tmp_path: Path) -> AsyncIterator[tuple[StatefulCluster, str]]:
    """Give a cluster with the service, and its Prometheus."""
    async with cluster(world, tmp_path / "state", StatefulCluster) as (here, address):
        assert isinstance(here, StatefulCluster)
        yield here, address


async def test_a_stateful_set_under_a_guard(shop: tuple[StatefulCluster, str]) -> None:
    """Adopted without a pod touched; a bad version is taken back, a good one promoted; in the end all is the user's again."""
    await _story(*shop)


async def test_a_daemon_set_under_a_guard(tmp_path: Path) -> None:
    """The same; the real API of the tests has one node, where no version can stand beside another."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state", DaemonCluster) as (here, address):
        assert isinstance(here, DaemonCluster)
        await _story(here, address)


BAD_DAY = Weather(
    faults=lambda: (*WEATHERS["409 at each third write"].faults(), *WEATHERS["500 at each fourth request"].faults()),
    lag_s=WEATHERS["watches tell late"].lag_s,
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("make", [StatefulCluster, DaemonCluster])
async def test_a_bad_day_ends_the_same_in_place(tmp_path: Path, make: type[StatefulCluster]) -> None:
    """Writes meet conflicts, requests fail and watches tell late: a bad version is taken back, a good one promoted."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state", make) as (here, address):
        assert isinstance(here, StatefulCluster)
        assert isinstance(here.world.api, FakeKubernetes)
        door = here.world.api.door()
        async with BAD_DAY.over(door), here.operated(address, api=door):
            await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True", 200)
            here.users.bad["orders-candidate"] = 0.5
            await here.image("orders:2")
            await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1", 200)
            await here.rests("orders:1")
            here.users.bad.clear()
            await here.image("orders:3")
            await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-2", 200)
            await here.rests("orders:3")


async def _story(here: StatefulCluster, address: str) -> None:
    wrote = (await here.user())["spec"]["updateStrategy"]
    async with asyncio.timeout(WAIT_S):
        while len(await here.pods()) < 3:
            await asyncio.sleep(0.1)
    before = await here.pods()
    async with here.operated(address) as sternway:
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await here.rests("orders:1")
        assert await here.pods() == before

        here.users.bad["orders-candidate"] = 0.5
        await here.image("orders:2")
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1", 2 * WAIT_S)
        await here.rests("orders:1")
        (release, *_) = await here.releases()
        assert release["status"]["phase"] == "rolled-back"
        assert release["status"]["hurt"] > 0
        assert release["status"]["undone"] == f"{here.kind.kind} orders restored"
        assert len(before.items() & (await here.pods()).items()) == 2

        here.users.bad.clear()
        await here.image("orders:3")
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-2", 2 * WAIT_S)
        await here.rests("orders:3")
        (release, *_) = await here.releases()
        assert release["status"]["phase"] == "promoted"
        assert set(sternway.platform.pods(here.key)) == set(await here.pods())

        promoted = await here.pods()
        await here.world.api.delete(GUARDS, "orders", here.world.namespace)
        async with asyncio.timeout(WAIT_S):
            while await here.world.api.get(GUARDS, "orders", here.world.namespace) is not None:
                await asyncio.sleep(0.1)
        await _is_the_users_again(here, wrote)
        assert await here.pods() == promoted


async def _is_the_users_again(here: StatefulCluster, wrote: Object) -> None:
    namespace = here.world.namespace
    assert (await here.user())["spec"]["updateStrategy"] == wrote
    service = await here.world.api.get(SERVICES, "orders", namespace)
    assert service is not None
    assert service["spec"]["selector"] == {"app": "orders"}
    for kind in (SERVICES, CONTROLLER_REVISIONS):
        left = (await here.world.api.list(kind, namespace=namespace, labels="sternway.dev/service=orders")).items
        assert not left
    assert not (await here.world.api.list(VIRTUAL_SERVICES, namespace=namespace)).items
