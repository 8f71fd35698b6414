"""The composition root on Kubernetes, beside `bootstrap` on one machine: the same control loop, other adapters.

Used by `sternway operator`. Only the leader acts; a replica that stands by follows the cluster and answers its probes.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from sternway.clock import Clock, SystemClock
from sternway.control.act import Actor
from sternway.control.measures import Measured, measure, measure_ended
from sternway.control.observe import Observer
from sternway.control.outbox import Outbox
from sternway.control.queue import WorkQueue
from sternway.control.reconcile import Reconciler
from sternway.control.status import Facts, ServiceStatus, service_status, troubles
from sternway.control.telling import Telling
from sternway.control.trail import condense
from sternway.domain.monitoring import Monitoring, told
from sternway.domain.releases import Progress, Release
from sternway.domain.versions import Version
from sternway.errors import SternwayError
from sternway.history.repositories import Repositories
from sternway.kubernetes.api import Api, Object, Resource, name_of, namespace_of
from sternway.kubernetes.ours import SELECTOR, annotation, split_key
from sternway.kubernetes.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    GUARDS,
    JOBS,
    NAMESPACES,
    PODS,
    POLICIES,
    RELEASES,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)
from sternway.notify.alertmanager import AlertmanagerSink
from sternway.notify.apprise import AppriseMessenger
from sternway.operator.asking import Answers
from sternway.operator.concerned import Concerned
from sternway.operator.desired import ClusterDesired
from sternway.operator.evidence import Evidence
from sternway.operator.in_git import InGit
from sternway.operator.origin import KINDS as ORIGINS
from sternway.operator.origins import Origins
from sternway.operator.policies import AGAIN_S, ClusterPolicies
from sternway.operator.stores import Stores
from sternway.operator.tending import Tending
from sternway.operator.undoing import ClusterUndoing
from sternway.operator.views import Twin
from sternway.operator.writers import Shown, Writer
from sternway.platforms.kubernetes.gates import KubernetesGates
from sternway.platforms.kubernetes.platform import KubernetesPlatform
from sternway.signals.access_log_server import OFF, AccessLogServer
from sternway.signals.alertmanager import Alertmanager
from sternway.signals.attribution import Mesh
from sternway.signals.cluster_names import ClusterNames
from sternway.signals.envoy_access_log import EnvoyAccessLog
from sternway.signals.log_or_counts import LogOrCounts
from sternway.signals.mesh_counts import MeshCounts
from sternway.signals.prometheus import Prometheus
from sternway.signals.together import Together
from sternway.store import SqlStore
from sternway.traffic.kubernetes.meshes import Meshes
from sternway.traffic.kubernetes.registry import DIALECTS, kinds, services_of
from sternway.traffic.kubernetes.router import KubernetesRouter

FOLLOWED = (
    GUARDS,
    POLICIES,
    RELEASES,
    DEPLOYMENTS,
    STATEFUL_SETS,
    DAEMON_SETS,
    REPLICA_SETS,
    PODS,
    JOBS,
    SERVICES,
    CONFIG_MAPS,
    SECRETS,
    CONTROLLER_REVISIONS,
)
WRITE_AT_MOST_EVERY_S = 1.0
SHOW_AGAIN_S = 10.0
"""How often what is shown of a release is worked out though nothing has happened: that it is blind for long, say."""
LEAVING_AGAIN_S = 2.0
FINALIZER = "sternway.dev/give-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `sternway operator` was told. namespaces: those that it looks after; empty: all. mesh: "" to find it out.

    monitoring: what its monitoring.yaml says; prometheus, alertmanager: other addresses than there. state: the folder that
    the journal is kept in. git: the folder with what the Secret `sternway-git` holds. access_log: where the mesh's proxies are
    listened to, HOST:PORT or "off". own: Sternway's own namespace, whose Policies hold for all others.
    linger_s: how long pods stay that nothing leads to any more, for proxies that do not know it yet.
    """

    state: Path
    git: Path | None = None
    namespaces: tuple[str, ...] = ()
    prometheus: str = ""
    alertmanager: str = ""
    mesh: str = ""
    access_log: str = OFF
    own: str = ""
    linger_s: float = 10.0
    monitoring: Monitoring = field(default_factory=Monitoring)


class ClusterSternway:
    """Sternway for the services of a cluster. Parts are public for whoever serves and shows them.

    urgent: the same API for what must not queue behind other requests: traffic.
    """

    def __init__(self, settings: Settings, api: Api, *, urgent: Api | None = None, clock: Clock | None = None) -> None:
        self.settings = settings
        self.api = api
        self.clock = clock or SystemClock()
        self.stores = Stores(
            api,
            clock=self.clock,
            changed=self._changed,
            viewed=self._viewed,
            about=services_of,
            namespaces=settings.namespaces,
            beside={POLICIES: settings.own},
        )
        self.policies = ClusterPolicies(reader=self.stores, own=settings.own)
        self.concerned = Concerned(self.stores)
        self.writer = Writer(api=api, reader=self.stores)
        self.meshes = Meshes(self.stores, guard=self._guard, told=settings.mesh)
        self.answers = Answers()
        self._leads = False
        self._works = False
        """There is something to close: this process leads, or was about to."""
        self._people: asyncio.Task[None] | None = None
        self.synced = False
        """Everything in the cluster was read once."""
        self.platform = KubernetesPlatform(
            api=api,
            reader=self.stores,
            deployment=self._deployment,
            carrying=self._carrying,
            wake=self.wake,
            clock=self.clock,
            linger_s=settings.linger_s,
        )
        self.desired = self._make_desired(())
        self.origins = Origins(reader=self.stores, deployment=self._deployment, asked=self._asked, guard=self._guard)
        self.repositories = Repositories(state=settings.state / "git", access=settings.git, clock=self.clock)
        self.router = KubernetesRouter(
            urgent or api,
            reader=self.stores,
            dialects=DIALECTS,
            dialect=self.meshes.dialect,
            backends=self.platform.backends,
            owner=self._owner,
        )
        self._wire_signals()
        self._wire_control()

    def _wire_signals(self) -> None:
        self.names = ClusterNames(
            self.stores,
            self.platform,
            services_of=lambda pod: self.concerned.of(PODS, pod, lambda _: ()),
            plan=self.router.told,
            wanted=self._wanted,
        )
        self.access_log = EnvoyAccessLog(self.clock, self.names, self.wake, heard=self._heard)
        self.listening = AccessLogServer(self.settings.access_log, self.access_log.register)
        self.prometheus = Prometheus(clock=self.clock, where=lambda: self._monitoring().prometheus, wake=self.wake)
        self.alertmanager = Alertmanager(
            clock=self.clock,
            where=lambda: self._monitoring().alertmanager,
            mesh=Mesh(
                services=lambda: self.desired.services(),  # noqa: PLW0108  made anew
                edges=self.access_log.edges,
                traffic=self.access_log.traffic,
            ),
            listens=lambda: self.settings.monitoring.webhook is not None,
            wake=self.wake,
        )
        self.signals = Together(LogOrCounts(self.access_log, MeshCounts(self.prometheus)), self.alertmanager)

    def _wire_control(self) -> None:
        """What a leader needs; made anew each time that this process becomes it."""
        self.journal = SqlStore(self.settings.state / "journal.db", condense=condense)
        self.queue = WorkQueue(clock=self.clock, work=self._pass)
        self.views = WorkQueue(clock=self.clock, work=self._show)
        self._shown: dict[str, tuple[object, ...]] = {}
        self.rulings = WorkQueue(clock=self.clock, work=self._show_policy)
        self._sink = AlertmanagerSink()
        self.telling = Telling(
            clock=self.clock,
            journal=self.journal,
            settings=self._monitoring,
            troubles=self.troubles,
            sink=self._sink,
            messenger=AppriseMessenger(),
            tell=self._trouble,
        )
        git = InGit(origins=self.origins, ask=self.platform.take_back, repositories=self.repositories)
        undoing = ClusterUndoing(api=self.api, guard=self._guard, restore=self._restore, git=git)
        self.outbox = Outbox(history=undoing, wake=self.wake)
        self.workloads = Tending(
            self.platform, clock=self.clock, before=self._hold, after=self.views.wake, again=self.platform.again_s
        )
        self.gates = KubernetesGates(api=self.api, reader=self.stores, clock=self.clock, owner=self._owner)
        actor = Actor(
            platform=self.workloads,
            router=self.router,
            signals=self.signals,
            outbox=self.outbox,
            gates=self.gates,
        )
        observer = Observer(
            clock=self.clock,
            desired=self.desired,
            platform=self.workloads,
            router=self.router,
            signals=self.signals,
            commands=self.journal,
            outbox=self.outbox,
            gates=self.gates,
        )
        self.reconciler = Reconciler(
            observer=observer,
            actor=actor,
            journal=self.journal,
            clock=self.clock,
            answer=self.answers.told,
            tell=self.telling.look,
        )

    async def start(self) -> None:
        """Follow the cluster until everything is known. Nothing is changed yet: see `lead`."""
        scalers = await self.platform.start()
        self.desired = self._make_desired(scalers)
        everywhere = () if self.settings.namespaces else (NAMESPACES,)
        await self.stores.start((*FOLLOWED, *scalers, *everywhere, *ORIGINS), routes=kinds())
        self.synced = True

    def _make_desired(self, scalers: tuple[Resource, ...]) -> ClusterDesired:
        """What is wanted, in a cluster that has these kinds of autoscalers."""
        return ClusterDesired(
            reader=self.stores, scalers=scalers, mesh=self.meshes.named, meshes=self.meshes.here, rules=self.policies
        )

    async def lead(self) -> None:
        """From now on this process acts: what was recorded is put into force again, then every service is looked at."""
        self.settings.state.mkdir(parents=True, exist_ok=True)
        self._wire_control()
        self._works = True
        await self.journal.open()
        recorded = set(await self.journal.services())
        await asyncio.gather(*(self._converge(service) for service in sorted(recorded) if self._governed(service)))
        for service in sorted(recorded):
            self.telling.look(await self.reconciler.progress(service))
        self._people = asyncio.create_task(self.telling.run(), name="tell people")
        self._leads = True
        await self.listening.start()
        for service in sorted(recorded | set(self.desired.services())):
            self.queue.wake(service)
        for policy in self.stores.all(POLICIES):
            self.rulings.wake(f"{namespace_of(policy)}/{name_of(policy)}")

    async def stand_by(self) -> None:
        """Act no more. What is under way is taken up again by the next leader."""
        self._leads = False
        if not self._works:
            return
        self._works = False
        await self.listening.stop()
        await self.queue.close()
        await self.workloads.close()
        await self.gates.close()
        await self.views.close()
        await self.rulings.close()
        await self.outbox.close()
        if self._people is not None:
            self._people.cancel()
            await asyncio.gather(self._people, return_exceptions=True)
            self._people = None
        await self.telling.close()
        await self._sink.close()
        await self.journal.close()

    async def close(self) -> None:
        """Stop."""
        await self.stand_by()
        await self.prometheus.close()
        await self.alertmanager.close()
        await self.stores.close()

    @property
    def leads(self) -> bool:
        """Whether this process acts."""
        return self._leads

    def wake(self, service: str) -> None:
        """Look at a service soon, if this process leads."""
        if self._leads:
            self.queue.wake(service)

    def _governed(self, service: str) -> bool:
        """Whether there is a Guard that stays; without one nothing of a service is touched, but to give it back."""
        guard = self.desired.guard(service)
        return guard is not None and not guard["metadata"].get("deletionTimestamp")

    async def _converge(self, service: str) -> None:
        last = await self.journal.latest(service)
        if last is not None and last.observation is not None and last.observation.wanted is not None:
            self.desired.remember(last.observation.wanted)
        with contextlib.suppress(SternwayError):  # the first pass tries again and reports what is wrong
            await self.reconciler.converge(service)

    async def _pass(self, service: str) -> float | None:
        """One pass of the loop over one service, and what goes before and after it in a cluster."""
        if not self._leads:
            return None
        guard = self.desired.guard(service)
        if guard is None:
            return None
        namespace, _ = split_key(service)
        try:
            if guard["metadata"].get("deletionTimestamp"):
                return await self._leave(service, guard)
            return await self._look(service, guard)
        finally:
            self.concerned.remember(service, namespace, self.desired.deployment(service))
            self.names.forget(service)
            self.views.wake(service)

    async def _look(self, service: str, guard: Object) -> float | None:
        """A pass. What cannot be recorded of a command keeps no rollback up: it is raised last."""
        self.origins.look(service)
        failure: SternwayError | None = None
        try:
            await self.answers.take(service, guard, self.journal, self.clock.now())
        except SternwayError as found:
            failure = found
        look_at_s = await self.reconciler.reconcile(service)
        self.workloads.look(service)
        if failure is not None:
            raise failure
        return look_at_s

    async def _hold(self, service: str) -> None:
        """Have the API keep a Guard that is deleted until everything is given back."""
        guard = self.desired.guard(service)
        if guard is None or guard["metadata"].get("deletionTimestamp"):
            return
        finalizers = guard["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            await self._set_finalizers(guard, [*finalizers, FINALIZER])

    async def _leave(self, service: str, guard: Object) -> float | None:
        """The Guard goes: step by step everything of the user's is given back, and only then it is gone."""
        self.signals.ask(service, None)
        self.access_log.forget(service)
        await self.workloads.forget(service)
        done = await self.platform.release(service)
        namespace, name = split_key(service)
        found = self.stores.get(SERVICES, name, namespace)
        if found is None or not annotation(found, SELECTOR):  # callers reach the user's own pods without our routes
            await self.router.release(service)
        if not done:
            return self.clock.now() + LEAVING_AGAIN_S
        await self.reconciler.reconcile(
            service
        )  # that nothing is wanted any more is recorded, for a Guard that comes back
        finalizers = [one for one in guard["metadata"].get("finalizers") or [] if one != FINALIZER]
        await self._set_finalizers(guard, finalizers)
        self.concerned.forget(service)
        self.origins.forget(service)
        return None

    async def _set_finalizers(self, guard: Object, finalizers: list[str]) -> None:
        metadata = guard["metadata"]
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
        await self.api.patch(GUARDS, metadata["name"], patch, namespace=metadata["namespace"])

    async def _show(self, service: str) -> float | None:
        """Write what people see of a service, where it is no longer what it was or somebody else has changed it."""
        guard = self.desired.guard(service)
        if guard is None or not self._leads:
            self._shown.pop(service, None)
            return None
        facts = await self._facts(service)
        release = facts.progress.release
        shown = Shown(
            revision=self.origins.brought(service, release.candidate.commit) if release else "",
            problems=self.desired.problems(service),
            mesh=self.meshes.named(service)[0],
            evidence=self._evidence(service),
            twin=await self._twin(service),
            answer=self.answers.of(service),
            measured=await self._measured(guard, release) if release else None,
            false_alarms=facts.progress.false_alarms,
        )
        period = int(facts.now_s / SHOW_AGAIN_S) if release and not release.phase.over else 0
        rests_on = (guard["metadata"].get("generation"), replace(facts, now_s=0.0), shown, period)
        if self._shown.get(service) != rests_on or not self.writer.stands(guard):
            await self.writer.write(guard, replace(shown, status=service_status(facts)), facts.now_s)
            self._shown[service] = rests_on
        await asyncio.sleep(WRITE_AT_MOST_EVERY_S)  # wakes meanwhile are one more write after it
        return None

    async def _measured(self, guard: Object, release: Release) -> Measured | None:
        """The figures of a release; of one that has ended they are read once, and stand in its Release from then on."""
        if not release.phase.over:
            return measure(release)
        if self.writer.told(guard, release.name):
            return None
        service = release.candidate.service
        return measure_ended(release, await self.journal.entries(service=service, release=release.name, kind="applied"))

    async def _show_policy(self, key: str) -> float | None:
        """Write what people see of a Policy."""
        namespace, _, name = key.partition("/")
        policy = self.stores.get(POLICIES, name, namespace)
        if policy is None or not self._leads:
            return None
        await self.writer.policy(policy, self.policies.status(policy, self.desired.services(), self.clock.now()))
        return self.clock.now() + AGAIN_S

    def troubles(self) -> dict[str, str]:
        """Everything that does not work now, by what it is about."""
        workloads = {f"workloads {service}": text for service, text in self.workloads.troubles().items()}
        gates = {f"gates {service}": text for service, text in self.gates.troubles().items()}
        return {**self.stores.troubles(), **self.queue.troubles, **workloads, **gates, **self.outbox.troubles}

    def _trouble(self, about: str, text: str) -> None:
        if text:
            self.queue.troubles[about] = text
        else:
            self.queue.troubles.pop(about, None)

    async def _twin(self, service: str) -> Twin:
        """Whether the twin runs the stable version, and users reach it by the routes and without them."""
        stable, backends = (await self.reconciler.progress(service)).stable, self.platform.backends(service)
        twin = backends.stable if backends is not None else None
        namespace, name = split_key(service)
        found = self.stores.get(SERVICES, name, namespace)
        led = found is not None and annotation(found, SELECTOR)
        runs = stable is not None and twin is not None and twin.workload_id == stable.workload.id
        if led and runs and twin is not None and twin.service in self._carrying(service):
            return Twin.SERVES
        return Twin.AWAITED if self.desired.waits(service) else Twin.MISSING

    async def status(self, service: str) -> ServiceStatus:
        """See control.status."""
        return service_status(await self._facts(service))

    async def _facts(self, service: str) -> Facts:
        progress = await self.reconciler.progress(service)
        decision = self.reconciler.decision(service)
        return Facts(
            service=service,
            progress=progress,
            wanted=self.desired.wanted(service),
            workloads=await self.platform.describe(service),
            traffic=await self.router.observe(service),
            now_s=self.clock.now(),
            closely=False,
            reason=decision.reason if decision else "",
            troubles=troubles(self.troubles_of(progress)),
            gates=self.gates.standstills(service),
        )

    def troubles_of(self, progress: Progress) -> dict[str, str]:
        """Those of `troubles` that are about one service."""
        service = progress.service
        about = {service, f"workloads {service}", f"gates {service}", f"marks {service}"}
        about |= {f"revert {progress.release.name}"} if progress.release else set()
        return {name: text for name, text in self.troubles().items() if name in about}

    def _changed(self, resource: Resource, obj: Object) -> None:
        """An object of the cluster changed: look at the services that it is about."""
        if not self._leads or resource is RELEASES:
            return
        self.origins.changed(resource, obj)
        if resource is POLICIES:
            self.rulings.wake(f"{namespace_of(obj)}/{name_of(obj)}")
            for service in (one for one in self.desired.services() if self.policies.concerns(obj, one)):
                self.queue.wake(service)
            return
        concerned = self.concerned.of(resource, obj, self.desired.services)
        for service in concerned or self.stores.named_in(resource, obj):
            self.names.forget(service)
            self.queue.wake(service)

    def _viewed(self, resource: Resource, obj: Object) -> None:
        """A status of ours changed: what somebody else wrote there is put right."""
        if not self._leads or self.writer.wrote(obj):
            return
        if resource is POLICIES:
            self.rulings.wake(f"{namespace_of(obj)}/{name_of(obj)}")
        elif resource is GUARDS:
            for service in self.concerned.of(resource, obj, self.desired.services):
                self.views.wake(service)

    def _carrying(self, service: str) -> tuple[str, ...]:
        """The Services of ours that requests reach by the routes in force: by weight, pinned, copied or as a preview.

        While a Guard goes: those that stand in any route at all.
        """
        guard = self.desired.guard(service)
        if guard is None or guard["metadata"].get("deletionTimestamp"):
            return tuple(sorted(self.router.carrying(service)))
        standing = self.router.standing(service)
        if standing is None:
            return ()
        shared = {name for name, ppm in standing.shares if ppm}
        plan, backends = self.router.told(service), self.platform.backends(service)
        if plan is not None and backends is not None:
            beside = {pin.version for pin in plan.pins} | {plan.mirror.version if plan.mirror else None, plan.preview}
            found = (backends.of(version.workload.id) for version in plan.versions if version.id in beside)
            shared |= {backend.service for backend in found if backend is not None}
        return tuple(sorted(shared))

    async def _restore(self, service: str, bad: str, good: str) -> str:
        return await self.platform.restore(service, bad=bad, good=good)

    def _heard(self, service: str) -> None:
        """The log of a service is there, or lost: what a release goes by has changed, and people see it."""
        self.wake(service)
        if self._leads:
            self.views.wake(service)

    def _evidence(self, service: str) -> Evidence:
        wanted = self.desired.wanted(service)
        metrics = wanted.guard.judge.metrics if wanted is not None else ()
        return Evidence(
            heard=bool(self.access_log.spoken_of(service)),
            listens=self.settings.access_log != OFF,
            metrics=bool(metrics),
            counts=any(metric.counts_requests for metric in metrics),
            prometheus=self._monitoring().prometheus is not None,
        )

    def _wanted(self, service: str) -> Version | None:
        wanted = self.desired.wanted(service)
        return wanted.version if wanted is not None else None

    def _deployment(self, service: str) -> str | None:
        return self.desired.deployment(service)

    def _asked(self, service: str) -> str:
        return self.desired.asked(service)

    def _guard(self, service: str) -> Object | None:
        return self.desired.guard(service)

    def _owner(self, service: str) -> Object | None:
        guard = self.desired.guard(service)
        if guard is None:
            return None
        metadata = guard["metadata"]
        return {
            "apiVersion": GUARDS.api_version,
            "kind": GUARDS.kind,
            "name": metadata["name"],
            "uid": metadata["uid"],
        }

    def _monitoring(self) -> Monitoring:
        settings = self.settings
        found = settings.monitoring
        return replace(
            found,
            prometheus=told(found.prometheus, settings.prometheus or None),
            alertmanager=told(found.alertmanager, settings.alertmanager or None),
        )
