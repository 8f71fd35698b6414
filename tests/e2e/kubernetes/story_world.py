"""A cluster that runs: pods are processes, Envoy carries the users' requests by the routes, Prometheus counts.

The service, its objects, the routes and the Guard are those of the walks in `docs/kubernetes/`; only how long things take
is stated shorter.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from cluster_world import World, install_published
from controllers import play
from docs_walk import Walk, walk
from mesh_envoy import DataPlane, IstioCounters
from mesh_translation import envoy_gateway, istio
from mesh_world import Client, Load
from monitoring_world import Prometheus
from operator_world import install
from pod_processes import Kubelet

from free_ports import free_port
from sternway.cluster import ClusterSternway, Settings
from sternway.kubernetes.api import Object, Patch, Resource, name_of
from sternway.kubernetes.resources import (
    APPLICATIONS,
    DEPLOYMENTS,
    GIT_REPOSITORIES,
    GUARDS,
    KUSTOMIZATIONS,
    PODS,
    RELEASES,
    SERVICES,
)
from sternway.testing.git_server import GitServer
from sternway.testing.gitops import PlayedFlux, PlayedGitOps
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.gateway_api import GRPC_ROUTES, HTTP_ROUTES
from sternway.traffic.kubernetes.istio import DESTINATION_RULES, VIRTUAL_SERVICES

RATE_PER_S = 80
LEFT_ALONE = "example.org/never-ready/"
"""In front of every image: the stand-in for a kubelet of the cluster for tests says of such pods, once, that they are not ready."""
MENDED = "orders:1.1.1"
"""The version that a walk does not get to any more."""
SOON = {
    "bake": {"for": "1s"},
    "keep": "0s",
    "withdraw": {"for": "1s"},
    "judge": {"warmUp": "0s"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """How a mesh is played. page: its walk in the docs. counted: whether its proxies' counters tell versions apart."""

    page: str
    name: str
    translate: Callable[..., Any]
    kind: Resource
    policies: Resource | None
    kinds: tuple[Resource, ...]
    counted: bool


ISTIO = Mesh(
    page="istio",
    name="istio",
    translate=istio,
    kind=VIRTUAL_SERVICES,
    policies=DESTINATION_RULES,
    kinds=(VIRTUAL_SERVICES, DESTINATION_RULES),
    counted=True,
)
ENVOY_GATEWAY = Mesh(
    page="envoy-gateway",
    name="gateway-api",
    translate=envoy_gateway,
    kind=HTTP_ROUTES,
    policies=None,
    kinds=(HTTP_ROUTES, GRPC_ROUTES),
    counted=False,
)


@dataclass
class Story:
    """The cluster, and what a person does there."""

    world: World
    mesh: Mesh
    folder: Path
    walk: Walk
    kubelet: Kubelet
    plane: DataPlane
    prometheus: Prometheus
    gitops: PlayedGitOps | None = None
    load: Load = field(init=False)
    work: list[asyncio.Task[None]] = field(default_factory=list)
    sternway: ClusterSternway | None = None

    # What a person does ------------------------------------------------------------------------------------------

    async def create(self, resource: Resource, obj: Object) -> None:
        """`kubectl apply -n shop`, for the first time."""
        obj = copy.deepcopy(obj)
        obj["metadata"]["namespace"] = self.world.namespace
        await self.world.api.create(resource, obj)

    async def set_image(self, image: str) -> None:
        """`kubectl set image deployment/orders orders=…`."""
        patch = [
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": LEFT_ALONE + image},
        ]
        await self.world.api.patch(
            DEPLOYMENTS, "orders", patch, namespace=self.world.namespace, how=Patch.JSON, manager="kubectl"
        )

    async def commit(self, image: str) -> str:
        """Push another image to the branch that the cluster follows. Gives the commit."""
        assert self.gitops is not None
        made = copy.deepcopy(self.deployment())
        del made["spec"]["replicas"]  # left to Sternway, as the docs advise
        made["spec"]["template"]["spec"]["containers"][0]["image"] = LEFT_ALONE + image
        return self.gitops.server.commit("shop", {"apps/orders.yaml": yaml.safe_dump(made)}, f"Ship {image}")

    async def guard(self, **more: Any) -> None:
        """`kubectl apply -f guard.yaml`, with everything that is waited for made short."""
        made = copy.deepcopy(self.walk.guard)
        metrics = [{**one, "interval": "500ms"} for one in made["spec"].get("metrics") or ()]
        if self.mesh.counted:
            metrics += [
                {"name": "mesh-errors", "builtIn": "istio-errors", "interval": "500ms"},
                {"name": "mesh-latency", "builtIn": "istio-latency", "interval": "500ms"},
            ]
        made["spec"] |= {**SOON, "metrics": metrics, **more}
        await self.create(GUARDS, made)

    async def guard_goes(self) -> None:
        """`kubectl delete guard orders -n shop`, which waits."""
        await self.world.api.delete(GUARDS, "orders", self.world.namespace)

        async def gone() -> bool:
            return await self.world.api.get(GUARDS, "orders", self.world.namespace) is None

        await self.wait(gone, "the end of the Guard")

    def deployment(self) -> Object:
        """The walk's Deployment."""
        made: Object = copy.deepcopy(self.walk.object("Deployment"))
        pod = made["spec"]["template"]
        pod["spec"]["containers"][0]["image"] = LEFT_ALONE + pod["spec"]["containers"][0]["image"]
        if self.mesh is ISTIO:  # in the walk the namespace has the label, which here is of the test's making
            pod["metadata"]["labels"]["sidecar.istio.io/inject"] = "true"
        return made

    # What is there -----------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str = "orders") -> Object:
        """An object as it stands."""
        found = await self.world.api.get(resource, name, self.world.namespace)
        assert found is not None, f"there is no {resource.kind} {name}"
        return found

    async def image(self, name: str = "orders") -> str:
        """What a Deployment runs."""
        found = await self.get(DEPLOYMENTS, name)
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).removeprefix(LEFT_ALONE)

    async def replicas(self, name: str = "orders") -> int:
        """How many pods a Deployment asks for."""
        return int((await self.get(DEPLOYMENTS, name))["spec"]["replicas"])

    async def status(self) -> Object:
        """What the Guard says."""
        found = await self.world.api.get(GUARDS, "orders", self.world.namespace)
        return (found or {}).get("status") or {}

    async def releases(self) -> list[Object]:
        """Every Release, oldest first."""
        found = (await self.world.api.list(RELEASES, namespace=self.world.namespace)).items
        return sorted(found, key=lambda one: int(name_of(one).rpartition("-")[2]))

    async def until(self, holds: Callable[[Object], bool], what: str, within_s: float = 120.0) -> None:
        """Wait for the Guard's status."""

        async def done() -> bool:
            return holds(await self.status())

        await self.wait(done, what, within_s)

    async def wait(self, holds: Callable[[], Awaitable[bool]], what: str, within_s: float = 120.0) -> None:
        """Wait for anything. The cluster must go on meanwhile."""
        try:
            async with asyncio.timeout(within_s):
                while not await holds():
                    for task in self.work:
                        if task.done():
                            await task
                    await asyncio.sleep(0.05)
        except TimeoutError:
            said = json.dumps(await self.status(), indent=1)
            raise AssertionError(f"{what} never came: {said} {self.troubles()}") from None

    def troubles(self) -> dict[str, str]:
        """What does not work."""
        return self.sternway.troubles() if self.sternway else {}

    async def rests(self, image: str) -> None:
        """Wait until everything is at rest: the twin runs this image alone, and nothing else has pods."""

        async def done() -> bool:
            pods = (await self.world.api.list(PODS, namespace=self.world.namespace)).items
            owners = {str(one["metadata"]["ownerReferences"][0]["name"]).rpartition("-")[0] for one in pods}
            there = {
                name_of(one) for one in (await self.world.api.list(DEPLOYMENTS, namespace=self.world.namespace)).items
            }
            if not {"orders", "orders-stable"} <= there:  # the twin is made once the Guard names its stable version
                return False
            images = (await self.image(), await self.image("orders-stable"))
            return images == (image, image) and await self.replicas() == 0 and owners == {"orders-stable"}

        await self.wait(done, f"rest at {image}")
        await self.until(lambda s: s["conditions"][0]["status"] == "True", "Ready")

    # What users saw ----------------------------------------------------------------------------------------------

    def lost(self) -> list[tuple[float, int, str]]:
        """The requests that no version has answered."""
        return [one for one in self.load.answers if (one[1], one[2]) not in ((200, "200"), (500, "500"))]

    def bad(self, since_s: float = 0.0) -> list[tuple[float, int, str]]:
        """The bad answers of those requests that were sent since then."""
        return [one for one in self.load.answers if one[0] >= since_s and one[1] == 500]

    async def steered(self) -> float:
        """Wait until Envoy steers by the routes as they are; gives when that was."""
        await self.wait(self.plane.is_told, "what the routes say, at Envoy")
        return asyncio.get_running_loop().time()

    async def answered(self, count: int) -> None:
        """Wait until users have had so many answers more."""
        want = len(self.load.answers) + count

        async def done() -> bool:
            return len(self.load.answers) >= want

        await self.wait(done, f"{count} answers")

    # The machinery -----------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Let the controllers of a fake cluster work, and Prometheus find the pods, until cancelled."""
        while True:
            if isinstance(self.world.api, FakeKubernetes):
                play(self.world.api.store, self.world.namespace, kubelet=False)
            if not self.mesh.counted:
                self._discover()
            await asyncio.sleep(0.1)

    def _discover(self) -> None:
        """As Prometheus' own discovery of pods: their labels and namespace stand on their series."""
        groups = [
            {
                "targets": [f"{process.address}:{process.ports[8080]}"],
                "labels": {"namespace": self.world.namespace, "app": process.pod["metadata"]["labels"]["app"]},
            }
            for process in self.kubelet.running.values()
            if process.ready
        ]
        text = json.dumps(groups)
        file = self.prometheus.folder / "targets.json"
        if file.read_text() != text:
            draft = file.with_suffix(".new")
            draft.write_text(text)
            draft.replace(file)

    @asynccontextmanager
    async def operated(self) -> AsyncIterator[ClusterSternway]:
        """Sternway runs and leads."""
        log = self.plane.log_to
        settings = Settings(
            state=self.folder / "state",
            namespaces=(self.world.namespace,),
            prometheus="" if log else self.prometheus.url,
            access_log=f"127.0.0.1:{log}" if log else "off",
            git=self.folder / "access",
            linger_s=2.0,
        )
        self.sternway = sternway = ClusterSternway(settings, self.world.api)
        try:
            await sternway.start()
            await sternway.lead()
            yield sternway
        finally:
            await sternway.close()


@asynccontextmanager
async def story(
    world: World, mesh: Mesh, folder: Path, *, log: bool = False, git: bool = False
) -> AsyncIterator[Story]:
    """A cluster with the service of a walk, called all the time. No Guard, and no Sternway yet.

    log: Envoy sends its access log, and no Prometheus is asked. git: Flux brings the Deployment from a Git server.
    """
    kinds = (*mesh.kinds, KUSTOMIZATIONS, GIT_REPOSITORIES, APPLICATIONS) if git else mesh.kinds
    if isinstance(world.api, FakeKubernetes):
        world = World(api=FakeKubernetes(kinds=kinds, namespaces=(world.namespace,)), namespace=world.namespace)
    else:
        await install(world)
        await install_published(world, kinds)
    given = walk(mesh.page)
    (folder / "pods").mkdir()
    kubelet = Kubelet(
        api=world.api,
        namespace=world.namespace,
        program=given.program,
        images={**given.images, MENDED: {"FAIL": "0"}},
        folder=folder / "pods",
    )
    plane = DataPlane(
        api=world.api,
        namespace=world.namespace,
        kubelet=kubelet,
        translate=mesh.translate,
        kind=mesh.kind,
        policies=mesh.policies,
        folder=folder,
        log_to=free_port() if log else 0,
    )
    here = Story(
        world=world,
        mesh=mesh,
        folder=folder,
        walk=given,
        kubelet=kubelet,
        plane=plane,
        prometheus=Prometheus(folder / "prometheus"),
    )
    async with AsyncExitStack() as stack:
        stack.callback(here.prometheus.kill)
        await asyncio.to_thread(here.prometheus.start)
        await stack.enter_async_context(plane.serving())
        if mesh.counted:
            here.prometheus.scrape({await stack.enter_async_context(IstioCounters(plane).serving())})
        if git:
            server = stack.enter_context(GitServer(folder / "git"))
            here.gitops = PlayedFlux(api=world.api, server=server, repository="shop", namespace=world.namespace)
            (folder / "access").mkdir()
            (folder / "access" / "credentials").write_text(server.credentials)
        await stack.enter_async_context(_going_on(here.work, here.live(), kubelet.run(), plane.run()))
        await _put_there(here)
        if here.gitops is not None:
            await stack.enter_async_context(_going_on(here.work, here.gitops.run()))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60))
        )
        client = Client(session)
        await _first_answer(here, client)
        here.load = await stack.enter_async_context(
            Load(client, plane.address, rate=RATE_PER_S, headers={"Host": "orders"})
        )
        stack.push_async_callback(_let_go, here)
        yield here


@asynccontextmanager
async def _going_on(tasks: list[asyncio.Task[None]], *work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines beside a test."""
    mine = [asyncio.create_task(one) for one in work]
    tasks += mine
    try:
        yield
    finally:
        for task in mine:
            tasks.remove(task)
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)


async def _put_there(here: Story) -> None:
    """`kubectl apply -n shop -f orders.yaml`, and the route, where the walk has one."""
    if here.gitops is None:
        await here.create(DEPLOYMENTS, here.deployment())
    else:
        here.gitops.server.create("shop")
        await here.commit("orders:1.0.0")
        await here.gitops.install()
    await here.create(SERVICES, here.walk.object("Service"))
    if here.mesh is ENVOY_GATEWAY:
        await here.create(HTTP_ROUTES, here.walk.object("HTTPRoute"))


async def _first_answer(here: Story, client: Client) -> None:
    """Wait until users are answered."""

    async def answered() -> bool:
        try:
            return (await client(here.plane.address, headers={"Host": "orders"}))[0] == 200
        except aiohttp.ClientError:
            return False

    await here.wait(answered, "an answer to the first user")


async def _let_go(here: Story) -> None:
    """Nobody is there any more who would give things back."""
    let_go = {"metadata": {"finalizers": None}}
    await here.world.api.patch(GUARDS, "orders", let_go, namespace=here.world.namespace)
