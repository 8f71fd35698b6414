"""A cluster with Sternway in it: a service in an Istio mesh, users who call it, and a Prometheus that counts them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web
from cluster_world import WAIT_S, World, install_published, listed
from controllers import play

from sternway.cluster import ClusterSternway, Settings
from sternway.kubernetes.api import Api, Object, Patch
from sternway.kubernetes.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, GUARDS, POLICIES, RELEASES, SERVICES
from sternway.manifests.custom_resources import definitions
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.istio import DESTINATION_RULES, VIRTUAL_SERVICES

PER_S = 200.0
GUARD = {
    "service": "orders",
    "strategy": {"canary": {"steps": [{"percent": 20, "minRequests": 100}, {"percent": 50, "minRequests": 100}]}},
    "bake": {"for": "1s"},
    "keep": "0s",
    "withdraw": {"for": "1s"},
    "judge": {"warmUp": "0s"},
    "metrics": [
        {"name": "mesh-errors", "builtIn": "istio-errors", "interval": "200ms"},
        {"name": "mesh-latency", "builtIn": "istio-latency", "interval": "200ms"},
    ],
}


@dataclass
class Users:
    """They call the service all the time, and are answered by whom the routes name. bad: share of errors, by workload."""

    shares: Callable[[], dict[str, float]]
    bad: dict[str, float] = field(default_factory=dict)
    counted: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    """Workload -> (at, requests, errors), a sample each fifth of a second."""

    async def call(self) -> None:
        """Go on until cancelled."""
        last = time.time()
        while True:
            await asyncio.sleep(0.1)
            now = time.time()
            for workload, share in self.shares().items():
                samples = self.counted.setdefault(workload, [(last, 0.0, 0.0)])
                _, total, bad = samples[-1]
                more = PER_S * share * (now - last)
                if more:
                    samples.append((now, total + more, bad + more * self.bad.get(workload, 0.0)))
                else:
                    samples.append((now, total, bad))
                del samples[:-100]
            last = now

    def series(self, query: str) -> list[Object]:
        """What Prometheus has for a selector with a range."""
        workload = re.search(r'destination_(?:workload|service_name)="([^"]*)"', query)
        samples = self.counted.get(workload[1] if workload else "", [])
        if not samples:
            return []
        name = "istio_request_duration_milliseconds_bucket" if "bucket" in query else "istio_requests_total"
        column = 2 if 'response_code=~"5..|0"' in query else 1
        labels: list[dict[str, str]] = [{}] if "bucket" not in query else [{"le": "25"}, {"le": "+Inf"}]
        return [
            {"metric": {"__name__": name, **more}, "values": [[one[0], str(int(one[column]))] for one in samples]}
            for more in labels
        ]


@asynccontextmanager
async def prometheus(users: Users) -> AsyncIterator[str]:
    """Serve the API of Prometheus over what the users did. Gives its address."""

    async def query(request: web.Request) -> web.Response:
        form = await request.post()
        asked = str(form["query"])
        now = time.time()
        found: Any = (
            {"resultType": "scalar", "result": [now, str(now)]}
            if asked == "time()"
            else {"resultType": "matrix", "result": users.series(asked)}
        )
        return web.json_response({"status": "success", "data": found})

    app = web.Application()
    app.router.add_post("/api/v1/query", query)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Cluster:
    """The service `orders` and Sternway, which looks after it. still: no controller of the fake takes a step meanwhile."""

    said: ClassVar = GUARD
    """What its Guard says."""

    def __init__(self, world: World, state: Path) -> None:
        self.world = world
        self.state = state
        self.users = Users(self.shares)
        self.route: Object | None = None
        self.still = False
        self.sternway: ClusterSternway | None = None

    @property
    def key(self) -> str:
        """What the engine calls the service."""
        return f"orders.{self.world.namespace}"

    def shares(self) -> dict[str, float]:
        """Who answers users now: workload -> share, by the VirtualService; before there is one, the user's Service."""
        if self.route is None:
            return {"orders": 1.0}
        found = {"orders": 0.0, "orders-stable": 0.0}
        routes = self.route["spec"]["http"][-1]["route"]
        whole = sum(one.get("weight", 100) for one in routes)  # weights are relative: small shares need large ones
        for one in routes:
            name = one["destination"]["host"].partition(".")[0]
            workload = "orders" if name == "orders-candidate" else "orders-stable"
            found[workload] += one.get("weight", 100) / whole
        return found

    async def open(self) -> None:
        """Put the user's objects there: three replicas of orders:1, a Service, and a Guard."""
        deployment = self.world.deployment(replicas=3)
        deployment["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] = "true"
        service = {
            "metadata": {"name": "orders", "namespace": self.world.namespace},
            "spec": {"selector": {"app": "orders"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }
        guard = {
            "apiVersion": GUARDS.api_version,
            "kind": GUARDS.kind,
            "metadata": {"name": "orders", "namespace": self.world.namespace},
            "spec": self.said,
        }
        await self.world.api.create(DEPLOYMENTS, deployment)
        await self.world.api.create(SERVICES, service)
        await self.world.api.create(GUARDS, guard)

    async def live(self) -> None:
        """Let time pass in the cluster, until cancelled."""
        while True:
            if isinstance(self.world.api, FakeKubernetes) and not self.still:
                play(self.world.api.store, self.world.namespace)
            routes = await self.world.api.list(VIRTUAL_SERVICES, namespace=self.world.namespace)
            self.route = next(iter(routes.items), None)
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def operated(
        self, address: str, *, api: Api | None = None, urgent: Api | None = None
    ) -> AsyncIterator[ClusterSternway]:
        """Sternway runs and leads; at the end it is stopped as by SIGTERM. api: its own way to the cluster."""
        settings = Settings(
            state=self.state, namespaces=(self.world.namespace,), prometheus=address, mesh="istio", linger_s=0.2
        )
        self.sternway = sternway = ClusterSternway(settings, api or self.world.api, urgent=urgent)
        try:
            await sternway.start()
            await sternway.lead()
            yield sternway
        finally:
            await sternway.close()

    async def image(self, image: str) -> None:
        """`kubectl set image deployment/orders orders=…`."""
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"registry/{image}"}]
        await self.world.api.patch(
            DEPLOYMENTS, "orders", patch, namespace=self.world.namespace, how=Patch.JSON, manager="kubectl"
        )

    async def guard(self) -> Object:
        """The Guard as it stands."""
        found = await self.world.api.get(GUARDS, "orders", self.world.namespace)
        assert found is not None
        return found

    async def deployment(self, name: str = "orders") -> Object:
        """A Deployment as it stands."""
        found = await self.world.api.get(DEPLOYMENTS, name, self.world.namespace)
        assert found is not None
        return found

    async def image_of(self, name: str = "orders") -> str:
        """What a Deployment runs, without the registry."""
        found = await self.deployment(name)
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).removeprefix("registry/")

    async def settled(self, image: str) -> None:
        """Wait until both Deployments run an image, the twin has all traffic, and the user's rests."""
        wanted = (image, image, 0, 1.0)
        found: tuple[object, ...] = ()
        try:
            async with asyncio.timeout(120):
                while found != wanted:
                    await asyncio.sleep(0.1)
                    if await self.world.api.get(DEPLOYMENTS, "orders-stable", self.world.namespace) is None:
                        continue  # the twin is made once the Guard names its stable version
                    images = (await self.image_of(), await self.image_of("orders-stable"))
                    replicas = (await self.deployment())["spec"]["replicas"]
                    found = (*images, replicas, self.shares().get("orders-stable"))
        except TimeoutError:
            here = self.sternway  # not there when it is a process of its own
            troubles = {**here.queue.troubles, **here.outbox.troubles} if here is not None else {}
            msg = f"{found} instead of {wanted}: {(await self.guard()).get('status')} {troubles}"
            raise AssertionError(msg) from None

    async def releases(self) -> list[Object]:
        """The Releases as they stand, the latest first."""
        found = await self.world.api.list(RELEASES, namespace=self.world.namespace)
        return sorted(found.items, key=lambda one: str(one["metadata"]["name"]), reverse=True)

    async def until(self, holds: Callable[[Object], bool], within_s: float = 120.0) -> Object:
        """Wait for the Guard's status to be as it is to be."""
        status: Object = {}
        try:
            async with asyncio.timeout(within_s):
                while True:
                    status = (await self.guard()).get("status") or {}
                    if holds(status):
                        return status
                    await asyncio.sleep(0.1)
        except TimeoutError:
            troubles = self.sternway.queue.troubles if self.sternway else {}
            msg = f"still waiting: {status} {troubles}"
            raise AssertionError(msg) from None

    async def until_release(self, name: str, holds: Callable[[Object], bool], within_s: float = 60.0) -> None:
        """Wait for a Release's status to be as it is to be."""
        status: Object = {}
        try:
            async with asyncio.timeout(within_s):
                while not holds(status):
                    await asyncio.sleep(0.1)
                    found = await self.world.api.get(RELEASES, name, self.world.namespace)
                    status = (found or {}).get("status") or {}
        except TimeoutError:
            msg = f"still waiting: {status}"
            raise AssertionError(msg) from None


class Patient(Cluster):
    """Its first step ends by a verdict or a person's word alone: what is done to a release under way cannot come too late."""

    said: ClassVar = {**GUARD, "strategy": {"canary": {"steps": [{"percent": 20, "minRequests": 100_000}]}}}


@asynccontextmanager
async def cluster(
    world: World, state: Path, make: Callable[[World, Path], Cluster] = Cluster
) -> AsyncIterator[tuple[Cluster, str]]:
    """A cluster in which time passes and users call. Gives it, and the address of its Prometheus. make: what service it has."""
    if isinstance(world.api, FakeKubernetes):
        api = FakeKubernetes(kinds=[VIRTUAL_SERVICES, DESTINATION_RULES], namespaces=(world.namespace,))
        world = World(api=api, namespace=world.namespace)
    else:
        await install(world)
        await install_published(world, (VIRTUAL_SERVICES, DESTINATION_RULES))
    found = make(world, state)
    async with prometheus(found.users) as address:
        tasks = [asyncio.create_task(found.live()), asyncio.create_task(found.users.call())]
        try:
            await found.open()
            yield found, address
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            let_go = {"metadata": {"finalizers": None}}  # nobody is there any more who would give things back
            await world.api.patch(GUARDS, "orders", let_go, namespace=world.namespace)


async def install(world: World) -> None:
    """Put our own custom resource definitions into a real cluster, and wait until they are served."""
    for one in definitions():
        await world.api.patch(CUSTOM_RESOURCE_DEFINITIONS, one["metadata"]["name"], one, how=Patch.APPLY, force=True)
    for kind in (GUARDS, POLICIES, RELEASES):
        async with asyncio.timeout(3 * WAIT_S):
            while not await listed(world, kind):
                await asyncio.sleep(0.2)
