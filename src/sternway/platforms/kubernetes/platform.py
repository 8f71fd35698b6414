"""Runs workloads in a cluster: `sternway.ports.Platform`. Made by bootstrap, driven by control and the operator.

Nothing is kept but what the engine wants of each service: `tend` reads the stores, compares, and writes what lacks. It is
called whenever the cluster changed; at rest it asks the API nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from sternway.clock import Clock
from sternway.domain.gitops import Origin, TakeBack
from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.domain.releases import Revert
from sternway.errors import PlatformUnavailable
from sternway.kubernetes.api import Api, Patch, Resource
from sternway.kubernetes.backends import Backends
from sternway.kubernetes.errors import Conflict
from sternway.kubernetes.patience import served
from sternway.kubernetes.reading import Reader
from sternway.kubernetes.remembered import Remembered
from sternway.kubernetes.resources import CONTROLLER_REVISIONS
from sternway.kubernetes.template import TemplateDigests
from sternway.platforms.kubernetes import manifests
from sternway.platforms.kubernetes.endings import restored
from sternway.platforms.kubernetes.followers import KINDS
from sternway.platforms.kubernetes.plan import Plan, refuse_strangers
from sternway.platforms.kubernetes.quiet import Quiet
from sternway.platforms.kubernetes.revisions import revision_name
from sternway.platforms.kubernetes.scene import Scene, read_scene
from sternway.platforms.kubernetes.staging import staging_of
from sternway.platforms.kubernetes.writes import Apply, Edit, Keep, Remove, Write


class KubernetesPlatform:
    """The user's workload and its twin, if it has one, for each service. `start` before anything else.

    reader: the stores. deployment: which Deployment is released for a service. carrying: the Services (`orders-stable`, …) that
    users' requests of a service reach by the routes in force. wake: told when a service is worth a look. linger_s: how long
    proxies may take to learn of a route that has changed; so long pods stay that nothing leads to.
    """

    def __init__(
        self,
        *,
        api: Api,
        reader: Reader,
        deployment: Callable[[str], str | None],
        carrying: Callable[[str], Collection[str]],
        wake: Callable[[str], None],
        clock: Clock,
        linger_s: float = 10.0,
    ) -> None:
        self._api = api
        self._reader = reader
        self._deployment = deployment
        self._carrying = carrying
        self._wake = wake
        self._quiet = Quiet(clock, linger_s)
        self._kinds: tuple[Resource, ...] = ()
        self._runs: dict[str, tuple[WorkloadRun, ...]] = {}
        self._backends: dict[str, Backends | None] = {}
        self._again: dict[str, float] = {}
        self._digests = TemplateDigests()
        self._scenes: Remembered[Scene] = Remembered(reader.basis)
        self._published: Remembered[Backends | None] = Remembered(reader.basis)
        self._states: Remembered[tuple[WorkloadState, ...]] = Remembered(reader.basis)
        self._plans: Remembered[Plan] = Remembered(reader.basis)

    async def start(self) -> tuple[Resource, ...]:
        """Learn which kinds of autoscalers and disruption budgets this cluster has; the reader must follow them."""
        found: list[Resource] = []
        for versions in KINDS:
            for resource in versions:
                if await served(self._api, resource):
                    found.append(resource)
                    break
        self._kinds = tuple(found)
        return self._kinds

    async def apply(self, service: str, runs: Sequence[WorkloadRun]) -> None:
        """See ports.Platform. The stable version stands first."""
        self._runs[service] = tuple(runs)
        await self.tend(service)

    async def tend(self, service: str) -> None:
        """Take the next step towards what was asked for last. Raises SternwayError; what was not done is done next time.

        A Conflict: somebody was quicker, and what they did is looked at first.
        """
        runs = self._runs.get(service)
        if runs is None:
            return
        scene, carrying = self._scene(service), tuple(self._carrying(service))
        stirs_until_s = self._stirs_until(scene, carrying)
        quiet = stirs_until_s is None
        planned = self._plans.get(
            service, lambda one: self._planned(one, runs, carrying, quiet=quiet), runs, carrying, quiet
        )
        self._again.pop(service, None)
        if stirs_until_s is not None and scene.user is not None and scene.user.replicas:
            self._again[service] = stirs_until_s
        if self._backends.get(service) != planned.backends:
            self._backends[service] = planned.backends
            self._wake(service)
        await self._write(planned.writes)
        if planned.lacking:
            raise PlatformUnavailable(planned.lacking, hint="name another version, or bring a new one", retry_in_s=30.0)

    def again_s(self, service: str) -> float | None:
        """When the next step may be taken though nothing changes, in s of the clock; None when there is none to wait for."""
        return self._again.get(service)

    async def describe(self, service: str) -> tuple[WorkloadState, ...]:
        """See ports.Platform."""
        runs = self._runs.get(service, ())
        return self._states.get(service, lambda one: self._described(one, runs), runs)

    def backends(self, service: str) -> Backends | None:
        """Where a service's versions are reached now: for the routers."""
        return self._published.get(service, self._reached)

    def pods(self, service: str) -> dict[str, str]:
        """Name of each pod of a service -> id of the workload that it runs: for who reads what proxies tell."""
        scene = self._scene(service)
        return staging_of(scene).pods(scene)

    async def restore(self, service: str, *, bad: str, good: str) -> str:
        """After a rollback: give the user's workload and configuration back what they were. Says what was done.

        bad, good: fingerprints (`Workload.pod`). Idempotent.
        """
        scene = self._scene(service)
        for pod in (good, bad):
            await self._seen(scene, pod)
        writes, said = restored(scene, bad, good)
        await self._write(writes)
        return said

    def take_back(self, revert: Revert, origin: Origin, good: tuple[str, ...]) -> TakeBack:
        """What a rollback takes back in the Git repository that the service comes from. good: commits of the good version."""
        scene = self._scene(revert.service)
        pods = (revert.bad, revert.restore)
        return TakeBack(
            revert=manifests.told(revert, scene.namespace),
            origin=origin,
            good=good,
            names=manifests.names(scene, pods),
            words=manifests.words(scene, pods),
            fits=partial(manifests.fits, scene, revert.restore),
        )

    async def _seen(self, scene: Scene, pod: str) -> None:
        """Raise PlatformUnavailable while what is kept of a version is there, and the watch has not told of it yet."""
        if pod in scene.revisions:
            return
        name = revision_name(scene.deployment, pod)
        if await self._api.get(CONTROLLER_REVISIONS, name, scene.namespace) is not None:
            raise PlatformUnavailable(f"ControllerRevision {name} is there, and has not been told of yet")

    async def release(self, service: str) -> bool:
        """Take the next step out of a service whose Guard is gone; True when nothing of ours is left."""
        self._runs.pop(service, None)
        scene = self._scene(service)
        refuse_strangers(scene)
        carrying = self._carrying(service)
        try:
            quiet = self._stirs_until(scene, carrying) is None
            await self._write(staging_of(scene).given_back(scene, carrying, quiet=quiet))
        except Conflict:
            self._wake(service)
            return False
        if staging_of(scene).holds(scene):
            return False
        self._quiet.forget(service)
        return True

    def _stirs_until(self, scene: Scene, carrying: Collection[str]) -> float | None:
        users = scene.service["spec"].get("selector") or {} if scene.service else {}
        ours = scene.stable_service["spec"].get("selector") or {} if scene.stable_service else {}
        selectors = dict(users) | {f"stable/{label}": value for label, value in ours.items()}
        return self._quiet.until(scene.key, carrying, selectors)

    def _planned(self, service: str, runs: Sequence[WorkloadRun], carrying: Collection[str], *, quiet: bool) -> Plan:
        scene = self._scene(service)
        return staging_of(scene).plan(scene, runs, carrying, quiet=quiet)

    def _described(self, service: str, runs: Sequence[WorkloadRun]) -> tuple[WorkloadState, ...]:
        scene = self._scene(service)
        return staging_of(scene).states(scene, self.backends(service), runs)

    def _reached(self, service: str) -> Backends | None:
        scene = self._scene(service)
        return staging_of(scene).backends(scene)

    def _scene(self, service: str) -> Scene:
        return self._scenes.get(service, self._read)

    def _read(self, service: str) -> Scene:
        return read_scene(self._reader, service, self._deployment(service), self._kinds, self._digests)

    async def _write(self, writes: Sequence[Write]) -> None:
        for write in writes:
            await self._write_one(write)

    async def _write_one(self, write: Write) -> None:
        match write:
            case Keep(resource=resource, obj=obj):
                try:
                    await self._api.create(resource, obj)
                except Conflict:
                    return  # it never changes, so it is as it should be
            case Apply(resource=resource, obj=obj):
                name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
                await self._api.patch(resource, name, obj, namespace=namespace, how=Patch.APPLY, force=True)
            case Edit(resource=resource, name=name, namespace=namespace, patch=patch):
                await self._api.patch(resource, name, patch, namespace=namespace, how=Patch.MERGE)
            case Remove(resource=resource, name=name, namespace=namespace, uid=uid):
                await self._api.delete(resource, name, namespace, uid=uid)
