"""A shop in a cluster: a service, the platform that runs its versions, and routes that follow what it publishes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from cluster_world import WAIT_S, World
from controllers import play

from sternway.clock import SystemClock
from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.domain.versions import Workload
from sternway.errors import Temporary
from sternway.kubernetes.api import Object, Patch, Resource, name_of
from sternway.kubernetes.errors import Conflict
from sternway.kubernetes.ours import service_key
from sternway.kubernetes.remembered import Basis
from sternway.kubernetes.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)
from sternway.kubernetes.shelf import Index
from sternway.kubernetes.template import fingerprint, workload_of
from sternway.platforms.kubernetes.platform import KubernetesPlatform
from sternway.testing.kubernetes import FakeKubernetes

KINDS = (
    DEPLOYMENTS,
    STATEFUL_SETS,
    DAEMON_SETS,
    REPLICA_SETS,
    PODS,
    SERVICES,
    CONFIG_MAPS,
    SECRETS,
    CONTROLLER_REVISIONS,
)


class Mirror:
    """A Reader that reads the API whenever it is told to."""

    def __init__(self, world: World) -> None:
        self.kinds: tuple[Resource, ...] = KINDS
        self._world = world
        self._objects: dict[Resource, dict[str, Object]] = {}
        self.basis = Basis()

    async def refresh(self) -> None:
        """Read everything again."""
        for kind in self.kinds:
            listed = await self._world.api.list(kind, namespace=self._world.namespace)
            self._objects[kind] = {name_of(one): one for one in listed.items}
            self.basis.changed([kind])

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Reader."""
        assert namespace == self._world.namespace
        self.basis.asked(resource)
        return self._objects.get(resource, {}).get(name)

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """See Reader."""
        assert namespace == self._world.namespace
        self.basis.asked(resource)
        return tuple(self._objects.get(resource, {}).values())

    def find(self, resource: Resource, index: Index, word: str, namespace: str) -> Sequence[Object]:
        """See Reader."""
        return [one for one in self.all(resource, namespace) if word in index(one)]

    def owned(self, resource: Resource, uid: str) -> Sequence[Object]:
        """See Reader."""
        self.basis.asked(resource)
        objects = self._objects.get(resource, {}).values()
        return tuple(
            one for one in objects if any(o.get("uid") == uid for o in one["metadata"].get("ownerReferences") or ())
        )


class AheadOfTime(SystemClock):
    """A clock that a test moves on."""

    ahead_s = 0.0

    def now(self) -> float:
        """See Clock."""
        return super().now() + self.ahead_s


class Shop:
    """The service `orders`. traffic: the workloads that users' requests shall reach."""

    kind = DEPLOYMENTS
    """Of what is released."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.key = service_key(world.namespace, "orders")
        self.mirror = Mirror(world)
        self.traffic: tuple[Workload, ...] = ()
        self.carrying: set[str] = set()
        self.states: dict[str, WorkloadState] = {}
        self.woken: list[str] = []
        self.clock = AheadOfTime()
        self.platform = self.new_platform(linger_s=0.0)

    def new_platform(self, *, linger_s: float) -> KubernetesPlatform:
        """A platform that knows nothing yet, as after a start."""
        return KubernetesPlatform(
            api=self.world.api,
            reader=self.mirror,
            deployment=lambda _: "orders",
            carrying=lambda _: self.carrying,
            wake=self.woken.append,
            clock=self.clock,
            linger_s=linger_s,
        )

    async def open(self, **more: Any) -> Workload:
        """Put the user's objects there: three replicas of orders:1. Give what it runs."""
        self.mirror.kinds += await self.platform.start()
        deployment = self.world.deployment(replicas=3)
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container |= {"image": "registry/orders:1", "envFrom": [{"configMapRef": {"name": "settings"}}], **more}
        await self.put(deployment)
        return await self.asked()

    async def put(self, workload: Object) -> None:
        """Create what is released, the settings that it uses, and a Service in front of it."""
        service = {
            "metadata": {"name": "orders", "namespace": self.world.namespace},
            "spec": {"selector": {"app": "orders"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }
        await self.world.api.create(CONFIG_MAPS, self.world.config(data={"colour": "blue"}))
        await self.world.api.create(self.kind, workload)
        await self.world.api.create(SERVICES, service)

    async def adopted(self) -> Workload:
        """Open, and wait until the service is at rest: the twin serves, and the user's Deployment has no pods."""
        first = await self.open()
        self.traffic = (first,)
        await self.until(lambda: self.replicas() == 0 and self.ready(first) == 3, first)
        return first

    async def asked(self) -> Workload:
        """Give what the user's Deployment asks for now."""
        await self.look()
        template = self.user()["spec"]["template"]
        config = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}
        pod = fingerprint(template, lambda key: self.mirror.get(config[key[0]], key[1], self.world.namespace))
        return workload_of(template, pod, service=self.key, deployment="orders")

    async def image(self, image: str) -> Workload:
        """Ask for another image, as a person does. Give what is asked for then."""
        at = "/spec/template/spec/containers/0/image"
        patch = [{"op": "replace", "path": at, "value": f"registry/{image}"}]
        await self.world.api.patch(
            self.kind, "orders", patch, namespace=self.world.namespace, how=Patch.JSON, manager="kubectl"
        )
        return await self.asked()

    async def restored(self, *, bad: Workload, good: Workload) -> str:
        """Put an earlier version back as the outbox does: again, when somebody was quicker."""
        while True:
            await self.look()
            try:
                said = await self.platform.restore(self.key, bad=bad.pod, good=good.pod)
            except Conflict:
                continue
            await self.look()
            return said

    async def look(self) -> None:
        """Let the cluster take a step, read it, and let the routes follow."""
        if isinstance(self.world.api, FakeKubernetes):
            play(self.world.api.store, self.world.namespace)
        await self.mirror.refresh()
        backends = self.platform.backends(self.key)
        places = [backends.of(one.id) for one in self.traffic] if backends else []
        self.carrying = {place.service for place in places if place}
        self.states = {one.workload_id: one for one in await self.platform.describe(self.key)}

    async def run(self, *workloads: Workload) -> None:
        """Ask the platform for these, stable first, and take one step."""
        await self.look()
        runs = [WorkloadRun(workload=one, replicas=3) for one in workloads]
        with contextlib.suppress(Temporary):
            await self.platform.apply(self.key, runs)

    async def until(self, holds: Callable[[], object], *workloads: Workload) -> None:
        """Ask for these until the cluster is so."""
        async with asyncio.timeout(WAIT_S):
            while True:
                await self.run(*workloads)
                await self.look()
                if holds():
                    return
                await asyncio.sleep(0 if isinstance(self.world.api, FakeKubernetes) else 0.05)

    async def steps(self, count: int, *workloads: Workload) -> None:
        """Ask for these a number of times."""
        for _ in range(count):
            await self.run(*workloads)
            await asyncio.sleep(0 if isinstance(self.world.api, FakeKubernetes) else 0.05)
        await self.look()

    def up(self, workload: Workload) -> int:
        """How many pods of a workload the platform counts as ready."""
        state = self.states.get(workload.id)
        return state.ready if state else 0

    def ready(self, workload: Workload) -> int:
        """How many pods of a workload are ready in all, by their own images and marks."""
        pods = self.mirror.all(PODS, self.world.namespace)
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return sum(_image(pod) == workload.image and _is_ready(pod) for pod in alive)

    def user(self) -> Object:
        """The user's Deployment."""
        return self._found(DEPLOYMENTS, "orders")

    def twin(self) -> Object:
        """The twin."""
        return self._found(DEPLOYMENTS, "orders-stable")

    async def synced(self, spec: Object) -> None:
        """Argo CD applies what Git says of what is released."""
        named = {"name": "orders", "namespace": self.world.namespace}
        meant = {"apiVersion": self.kind.api_version, "kind": self.kind.kind, "metadata": named, "spec": spec}
        await self.world.api.patch(
            self.kind,
            "orders",
            meant,
            namespace=self.world.namespace,
            how=Patch.APPLY,
            manager="argocd-controller",
            force=True,
        )

    def service(self) -> Object:
        """The user's Service."""
        return self._found(SERVICES, "orders")

    def replicas(self) -> int:
        """How many the user's Deployment is told to have."""
        return int(self.user()["spec"]["replicas"])

    def names(self, kind: Resource) -> set[str]:
        """What there is of a kind."""
        return {name_of(one) for one in self.mirror.all(kind, self.world.namespace)}

    def _found(self, kind: Resource, name: str) -> Object:
        found = self.mirror.get(kind, name, self.world.namespace)
        assert found is not None, f"{kind.kind} {name} is not there"
        return found


def _image(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
