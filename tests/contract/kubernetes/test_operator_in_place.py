"""The whole story of a StatefulSet in a cluster: adoption, a bad release, a good one, and the way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cluster_world import WAIT_S, World
from operator_world import GUARD, Cluster, cluster

from sternway.kubernetes.api import Object, Patch, name_of
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, GUARDS, PODS, SERVICES, STATEFUL_SETS
from sternway.platforms.kubernetes.replacing import REST

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
    """The service `orders` is a StatefulSet of three pods."""

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
        await self.world.api.create(STATEFUL_SETS, self.world.stateful_set(replicas=3))
        await self.world.api.create(SERVICES, service)
        await self.world.api.create(GUARDS, guard)

    async def image(self, image: str) -> None:
        """`kubectl set image statefulset/orders orders=…`."""
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"registry/{image}"}]
        await self.world.api.patch(
            STATEFUL_SETS, "orders", patch, namespace=self.world.namespace, how=Patch.JSON, manager="kubectl"
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

    async def stateful_set(self) -> Object:
        """The user's StatefulSet as it stands."""
        found = await self.world.api.get(STATEFUL_SETS, "orders", self.world.namespace)
        assert found is not None
        return found

    async def rests(self, image: str) -> None:
        """Wait until every pod runs an image, our stable Service has all traffic, and the partition holds them."""
        wanted = (["registry/" + image] * 4, REST, 1.0)
        found: tuple[object, ...] = ()
        try:
            async with asyncio.timeout(3 * WAIT_S):
                while found != wanted:
                    await asyncio.sleep(0.1)
                    spec = (await self.stateful_set())["spec"]
                    images = [f"registry/{one}" for _, one in (await self.pods()).values()]
                    images.append(spec["template"]["spec"]["containers"][0]["image"])
                    partition = spec["updateStrategy"]["rollingUpdate"]["partition"]
                    found = (images, partition, self.shares().get("orders-stable"))
        except TimeoutError:
            here = self.sternway
            msg = f"{found} instead of {wanted}: {(await self.guard()).get('status')} {here.troubles() if here else ''}"
            raise AssertionError(msg) from None


@pytest.fixture
async def shop(world: World, tmp_path: Path) -> AsyncIterator[tuple[StatefulCluster, str]]:
    """Give a cluster with the service, and its Prometheus."""
    async with cluster(world, tmp_path / "state", StatefulCluster) as (here, address):
        assert isinstance(here, StatefulCluster)
        yield here, address


async def test_a_stateful_set_under_a_guard(shop: tuple[StatefulCluster, str]) -> None:
    """Adopted without a pod touched; a bad version is taken back, a good one promoted; in the end all is the user's again."""
    here, address = shop
    async with asyncio.timeout(WAIT_S):
        while len(await here.pods()) < 3:
            await asyncio.sleep(0.1)
    before = await here.pods()
    async with here.operated(address) as sternway:
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await here.rests("orders:1")
        assert await here.pods() == before

        await here.image("orders:2")
        await here.until(lambda s: s.get("phase") == "exposed")
        assert [image for _, image in (await here.pods()).values()].count("orders:2") == 1
        here.users.bad["orders-candidate"] = 0.5
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1", 3 * WAIT_S)
        await here.rests("orders:1")
        (release, *_) = await here.releases()
        assert release["status"]["phase"] == "rolled-back"
        assert release["status"]["undone"] == "StatefulSet orders restored"
        kept = await here.pods()
        assert {name: kept[name] for name in ("orders-0", "orders-1")} == {
            name: before[name] for name in ("orders-0", "orders-1")
        }

        here.users.bad.clear()
        await here.image("orders:3")
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-2", 3 * WAIT_S)
        await here.rests("orders:3")
        (release, *_) = await here.releases()
        assert release["status"]["phase"] == "promoted"
        assert set(sternway.platform.pods(here.key)) == {"orders-0", "orders-1", "orders-2"}

        promoted = await here.pods()
        await here.world.api.delete(GUARDS, "orders", here.world.namespace)
        async with asyncio.timeout(2 * WAIT_S):
            while await here.world.api.get(GUARDS, "orders", here.world.namespace) is not None:
                await asyncio.sleep(0.1)
        await _is_the_users_again(here)
        assert await here.pods() == promoted


async def _is_the_users_again(here: StatefulCluster) -> None:
    namespace = here.world.namespace
    user = await here.stateful_set()
    assert user["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    service = await here.world.api.get(SERVICES, "orders", namespace)
    assert service is not None
    assert service["spec"]["selector"] == {"app": "orders"}
    for kind in (SERVICES, CONTROLLER_REVISIONS):
        left = (await here.world.api.list(kind, namespace=namespace, labels="sternway.dev/service=orders")).items
        assert not left
    assert here.route is None
