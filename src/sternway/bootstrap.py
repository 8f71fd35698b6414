"""The composition root: the only module that names an adapter. Used by `sternway up`, the demo and the benches."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sternway.clock import Clock, SystemClock
from sternway.control.act import Actor
from sternway.control.commands import Commands
from sternway.control.follow_git import GitFollower
from sternway.control.observe import Observer
from sternway.control.outbox import Outbox
from sternway.control.queue import UNEXPECTED_RETRY_S, WorkQueue
from sternway.control.reconcile import Reconciler
from sternway.control.status import MonitoringView
from sternway.control.telling import Telling
from sternway.control.trail import condense
from sternway.domain.images import Images
from sternway.domain.metrics import MetricQuestion, fill
from sternway.domain.monitoring import Endpoint, Monitoring, Own, Webhook, told, told_own
from sternway.domain.releases import Progress
from sternway.domain.traffic import Endpoint as Replica
from sternway.domain.versions import SecretKey
from sternway.endpoint import HttpSource
from sternway.engine import wording
from sternway.engine.asking import STABLE, arguments, deployment_of, templates_of
from sternway.errors import (
    HistoryUnavailable,
    InvalidInput,
    NotTold,
    Problem,
    SignalUnavailable,
    SternwayError,
    StoreUnavailable,
    Temporary,
)
from sternway.history.git import GitHistory
from sternway.manifests.catalogue import Catalogue
from sternway.manifests.sources import secret_value
from sternway.notify.alertmanager import AlertmanagerSink
from sternway.notify.apprise import AppriseMessenger
from sternway.paths import Paths
from sternway.platforms.local import Around, LocalGates, LocalPlatform, OwnMonitoring, cannot_start, check_rules, find
from sternway.ports import Snapshot
from sternway.signals.alertmanager import Alertmanager
from sternway.signals.attribution import Mesh
from sternway.signals.envoy_access_log import EnvoyAccessLog
from sternway.signals.naming import OwnNames
from sternway.signals.past import Past, count_past
from sternway.signals.prometheus import Prometheus
from sternway.signals.together import Together
from sternway.signals.trying import Query, Tried, try_queries
from sternway.store import SqlStore, StateLock
from sternway.traffic.envoy import EnvoyRouter
from sternway.web.gather import troubles_now

ROLL_UP_EVERY_S = 3600.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `sternway up` was told. source: a folder or a Git URL; home: where `.sternway/` stands.

    prometheus, alertmanager: their addresses, `start` or `off`, when they differ from what monitoring.yaml says.
    metrics: where our own are served, likewise.
    """

    source: str
    home: Path
    branch: str | None = None
    path: str = ""
    poll_s: float | None = None
    drain_s: float = 1.0
    prometheus: str | None = None
    alertmanager: str | None = None
    metrics: str | None = None


def programs_folder(settings: Settings) -> Path:
    """Where the commands of images.yaml run: the manifests' folder of a work tree; `home` for any other repository."""
    folder = Path(settings.source).expanduser()
    bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return (folder / settings.path if folder.is_dir() and not bare else settings.home).resolve()


class Kept:
    """What a platform that does not run has left: its journal. Has the shape of `web.services.Recorded`."""

    def __init__(self, journal: SqlStore) -> None:
        self.journal = journal
        self.clock = SystemClock()
        self.reconciler = self.history = self

    async def progress(self, service: str) -> Progress:
        """Where a service stood."""
        return await self.journal.progress(service) or Progress(service=service)

    async def at(self, commit: str) -> Snapshot:
        """Nobody asks Git: HistoryUnavailable."""
        raise HistoryUnavailable(f"no platform is running, so Git was not asked about {commit[:9]}")


async def from_journal(paths: Paths, read: Callable[[Kept], Awaitable[T]]) -> T:
    """Read the journal of a platform that does not run."""
    store = SqlStore(paths.database)
    await store.open()
    try:
        return await read(Kept(store))
    finally:
        await store.close()


def alerts_can_be_seen() -> bool:
    """Whether a platform of this machine can have a Prometheus and an Alertmanager of its own."""
    found = find()
    return found.prometheus is not None and found.alertmanager is not None


def unstartable(catalogue: Catalogue) -> tuple[str, ...]:
    """What would keep services from starting on this machine; another one may have what is missing here."""
    found = []
    for wanted in catalogue.wanted:
        workload = wanted.version.workload
        mapping = catalogue.images.find(workload.image)
        why = cannot_start(mapping, workload) if mapping else ""
        if why:
            found.append(f"{wanted.service.name} cannot start on this machine: {why}")
    return tuple(found)


async def rule_problems(catalogue: Catalogue) -> tuple[Problem, ...]:
    """What Prometheus itself would say against the rules, where it can be asked."""
    return await check_rules(catalogue.rules)


async def tried_metrics(catalogue: Catalogue, endpoint: Endpoint) -> tuple[Tried, ...]:
    """Ask Prometheus every query of the Guards, about the versions that the manifests state."""
    queries: list[Query] = []
    for wanted in catalogue.wanted:
        for metric in wanted.guard.judge.metrics:
            kind, templates = templates_of(metric)
            values = arguments(
                wanted.version,
                namespace=wanted.service.namespace,
                deployment=deployment_of(wanted.guard, wanted.documents),
                role=STABLE,
                window_s=metric.window_s,
            )
            queries += [
                Query(
                    service=wanted.service.name,
                    metric=metric.name,
                    text=fill(template, values),
                    counter=kind in ("ratio", "slower"),
                )
                for template in templates
            ]
    return await try_queries(endpoint, queries)


@contextlib.asynccontextmanager
async def counting_the_past(
    endpoint: Endpoint,
) -> AsyncIterator[Callable[[MetricQuestion, float, float], Awaitable[Past]]]:
    """Give what counts both versions of a release between two instants, in s since 1970; see `signals.past`."""
    source = HttpSource("Prometheus", lambda: endpoint)
    try:
        yield lambda question, start_s, end_s: count_past(source, question, start_s=start_s, end_s=end_s)
    finally:
        await source.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address of monitoring.yaml, by its file or its URL. found: what it is, or what is wrong with it; no secret."""

    name: str
    found: str
    hint: str = ""
    ok: bool


async def tried_addresses(monitoring: Monitoring, *, send: bool) -> tuple[Address, ...]:
    """Read every address of the notifications, and send a test message to each."""
    messenger = AppriseMessenger()

    async def tried(file: str) -> Address:
        try:
            found = await messenger.check(file)
            if send:
                message = wording.message(wording.TEST, monitoring.alerts, since_s=SystemClock().now())
                await messenger.send(file, message)
        except NotTold as trouble:
            return Address(name=file, found=trouble.message, hint=trouble.hint, ok=False)
        return Address(name=file, found=found, ok=True)

    files = dict.fromkeys(one.url_file for one in monitoring.notifications)
    return tuple(await asyncio.gather(*(tried(file) for file in files)))


async def tried_alertmanagers(monitoring: Monitoring) -> tuple[Address, ...]:
    """Ask every Alertmanager to take alerts, without any."""
    sink, tried = AlertmanagerSink(), []
    for to in monitoring.alerted:
        try:
            await sink.post(to, ())
        except SignalUnavailable as trouble:
            tried.append(Address(name=to.url, found=trouble.message, ok=False))
        else:
            tried.append(Address(name=to.url, found="Alertmanager takes alerts", ok=True))
    await sink.close()
    return tuple(tried)


class Sternway:
    """One running platform: every part, wired. Parts are public for the HTTP API, which opens nothing itself."""

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.paths = Paths.of(settings.home)
        self._say = say
        self._lock = StateLock(self.paths.state)
        self.journal = SqlStore(self.paths.database, condense=condense)
        self.history = GitHistory(
            source=settings.source,
            branch=settings.branch,
            path=settings.path,
            state_dir=self.paths.state / "git",
            clock=self.clock,
            wake=self._git_changed,
            poll_s=settings.poll_s,
        )
        self.queue = WorkQueue(clock=self.clock, work=self._reconcile)
        self.outbox = Outbox(history=self.history, wake=self.queue.wake)
        self._wire_mesh()
        self._wire_telling()
        self._wire_own_monitoring()
        self._wire_control()
        self._converged = False
        self._git_event = asyncio.Event()
        self._git_event.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    def _wire_mesh(self) -> None:
        self.signals = EnvoyAccessLog(
            clock=self.clock,
            attribution=OwnNames(lambda port: self.router.caller_of_port().get(port)),
            wake=self.queue.wake,
            connected=lambda: self.router.connected,
            answered_itself=lambda *answer: self.router.answered_itself(*answer),  # noqa: PLW0108  the router comes after
        )
        self.prometheus = Prometheus(clock=self.clock, where=lambda: self.monitoring().prometheus, wake=self.queue.wake)
        self.alertmanager = Alertmanager(
            clock=self.clock,
            where=lambda: self.monitoring().alertmanager,
            mesh=Mesh(services=self._services, edges=self.signals.edges, traffic=self.signals.traffic),
            listens=lambda: self.webhook() is not None,
            wake=self.queue.wake,
        )
        self.observed = Together(self.signals, self.prometheus, self.alertmanager)
        self.router = EnvoyRouter(
            state_dir=self.paths.state / "envoy",
            run_dir=self.paths.run,
            servicers=(self.signals.register,),
        )
        self.platform = LocalPlatform(
            state_dir=self.paths.state,
            clock=self.clock,
            images=self._images,
            publish=self._publish,
            wake=self.queue.wake,
            environment=self.router.environment,
            secret=self._secret,
            drain_s=self.settings.drain_s,
        )

    def _wire_telling(self) -> None:
        self._sink, self._messenger = AlertmanagerSink(), AppriseMessenger()
        self.telling = Telling(
            clock=self.clock,
            journal=self.journal,
            settings=self.monitoring,
            troubles=lambda: troubles_now(self),
            sink=self._sink,
            messenger=self._messenger,
            tell=self.trouble,
        )

    def _wire_own_monitoring(self) -> None:
        self.own_monitoring = OwnMonitoring(
            folder=self.paths.state / "monitoring",
            around=Around(
                told=self._told_monitoring,
                scrapes=lambda: self.git.catalogue.scrapes if self.git.catalogue else (),
                rules=lambda: self.git.catalogue.rules if self.git.catalogue else (),
                progress=lambda service: self.reconciler.progress(service),  # noqa: PLW0108  the reconciler comes after
                envoy=self.router.statistics_address,
                metrics=self.metrics_address,
                trouble=self.trouble,
            ),
        )

    def _wire_control(self) -> None:
        self.git = GitFollower(
            history=self.history,
            capabilities=self.router.capabilities,
            router="envoy",
            origin=str(programs_folder(self.settings)),
            wake=self.queue.wake,
            admit=rule_problems,
        )
        self.gates = LocalGates(
            folder=programs_folder(self.settings),
            logs=self.paths.state / "logs",
            url=self.router.preview_address,
            wake=self.queue.wake,
        )
        actor = Actor(
            platform=self.platform,
            router=self.router,
            signals=self.observed,
            outbox=self.outbox,
            gates=self.gates,
        )
        self.commands = Commands(queue=self.journal, clock=self.clock, wake=self.queue.wake, known=self._known)
        observer = Observer(
            clock=self.clock,
            desired=self.git,
            platform=self.platform,
            router=self.router,
            signals=self.observed,
            commands=self.journal,
            outbox=self.outbox,
            gates=self.gates,
        )
        self.reconciler = Reconciler(
            observer=observer,
            actor=actor,
            journal=self.journal,
            clock=self.clock,
            answer=self.commands.answer,
            tell=self.telling.look,
        )

    async def start(self) -> None:
        """Open everything; converge to what was recorded before any signal is read; then follow Git.

        A start that fails leaves nothing of its own behind, and what ran before as it was.
        """
        self.paths.make()
        self._lock.acquire()
        recorded: set[str] = set()
        try:
            await self.journal.open()
            recorded = set(await self.journal.services())
            await self._start(recorded)
        except BaseException:
            await self.close(stop=not recorded, stop_proxy=not self.router.process.found)
            raise

    async def _start(self, recorded: set[str]) -> None:
        await self.history.open()
        self._tasks.append(asyncio.create_task(self.history.watch(), name="watch git"))
        await asyncio.sleep(0)  # watched, a history gives what it saw last while the server is away
        await self._first_catalogue(recorded)
        self.own_monitoring.insist(
            prometheus=self.settings.prometheus == Own.START, alertmanager=self.settings.alertmanager == Own.START
        )
        wanted = {w.service.name for w in self.git.catalogue.wanted} if self.git.catalogue else set()
        counted = "1 service" if len(wanted) == 1 else f"{len(wanted)} services"
        self._say(f"{counted} at commit {self.git.head.commit[:9] if self.git.head else '?'}")
        await self.router.start(resume=recorded)
        self._log_keys()
        self._say("Envoy is started")
        await self.platform.start()
        await asyncio.gather(*(self._converge(service) for service in sorted(recorded)))
        for service in sorted(recorded):
            self.telling.look(await self.reconciler.progress(service))
        self._tasks.append(asyncio.create_task(self.telling.run(), name="tell people"))
        self._converged = True
        self._wake_all(recorded | wanted)
        self._tasks.append(asyncio.create_task(self._follow_git(), name="follow git"))
        self._tasks.append(asyncio.create_task(self._keep_house(), name="journal housekeeping"))
        self.own_monitoring.start()

    async def wait(self) -> None:
        """Until somebody asks for the end."""
        await self._stopped.wait()

    def stop(self) -> None:
        """Ask for the end."""
        self._stopped.set()

    async def close(self, *, stop: bool, stop_proxy: bool = False) -> None:
        """End everything gracefully (stop True), or leave the services and the proxy running for the next start.

        stop_proxy: end the proxy alone.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.queue.close()
        await self.outbox.close()
        await self.gates.close()
        await self.telling.close()
        await self._sink.close()
        await self.prometheus.close()
        await self.alertmanager.close()
        await self.own_monitoring.close(stop=stop)
        await self.platform.close(stop=stop)
        await self.router.close(stop=stop or stop_proxy)
        await self.journal.close()
        self._lock.release()

    async def _first_catalogue(self, recorded: set[str]) -> None:
        """A platform without any record needs a valid commit; one with a record goes on with what was in force."""
        await self.git.follow()
        if self.git.catalogue is None and not recorded:
            raise InvalidInput(self.git.problems, hint="`sternway check` says the same without starting anything")
        if self.git.catalogue is None and self.paths.commit_in_force.exists():
            with contextlib.suppress(SternwayError):  # it is gone too: what was decided stays in force meanwhile
                await self.git.resume(self.paths.commit_in_force.read_text().strip())

    def _remember_commit(self) -> None:
        """Keep which commit is in force, for a start at a head that is not valid."""
        file, commit = self.paths.commit_in_force, self.git.in_force
        if not commit or (file.exists() and file.read_text() == commit):
            return
        draft = file.with_suffix(".new")
        try:
            draft.write_text(commit)
            draft.replace(file)
        except OSError as exc:
            raise StoreUnavailable(
                f"{file} cannot be written: {exc.strerror}", hint="See the space left on its disk.", retry_in_s=5
            ) from exc

    async def _converge(self, service: str) -> None:
        # The first pass tries again and reports what is wrong; a service that cannot be does not keep the others away.
        with contextlib.suppress(SternwayError):
            await self.reconciler.converge(service)

    async def _reconcile(self, service: str) -> float | None:
        """A pass, once the recorded decisions are in force again and Git has been read; all are woken then."""
        return await self.reconciler.reconcile(service) if self._converged and self.git.catalogue is not None else None

    async def _follow_git(self) -> None:
        """Read the branch after each change; Git being down delays only this."""
        wait_s: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._git_event.wait()
            self._git_event.clear()
            unread = self.git.catalogue is None
            try:
                await self.git.follow()
                if unread and self.git.catalogue is not None:
                    self._wake_all(set(await self.journal.services()))
                self._log_keys()
                self._remember_commit()
                wait_s = None
            except Temporary as trouble:
                self.queue.troubles["git"] = str(trouble)
                wait_s = trouble.retry_in_s
            except Exception:  # noqa: BLE001  a bug here must not end it for ever; it is shown in `status`
                self.queue.troubles["git"] = traceback.format_exc()
                wait_s = UNEXPECTED_RETRY_S
            else:
                self.queue.troubles.pop("git", None)

    async def _keep_house(self) -> None:
        """Keep the journal in bounds."""
        while True:
            try:
                await self.journal.roll_up(self.clock.now())
            except Temporary as trouble:
                self.queue.troubles["journal"] = str(trouble)
            else:
                self.queue.troubles.pop("journal", None)
            await asyncio.sleep(ROLL_UP_EVERY_S)

    def _log_keys(self) -> None:
        """Have the proxies log the headers that hold cluster keys."""
        keys = [w.guard.judge.cluster_key for w in (self.git.catalogue.wanted if self.git.catalogue else ())]
        headers = {"cookie" if key.cookie else (key.header or "").lower() for key in keys if key}
        self.router.set_logged_headers(sorted({*headers, *self.signals.logged_headers()} - {""}))

    def _wake_all(self, services: set[str]) -> None:
        """Look at these and at all that runs: what nobody wants is stopped."""
        for service in sorted(services | set(self.platform.services())):
            self.queue.wake(service)

    def _git_changed(self) -> None:
        self._git_event.set()

    def _known(self, service: str) -> bool:
        return self.git.wanted(service) is not None

    def _images(self) -> Images:
        return self.git.catalogue.images if self.git.catalogue else Images()

    def trouble(self, about: str, text: str) -> None:
        """Show in `status` what does not work, or that it does again ("")."""
        if text:
            self.queue.troubles[about] = text
        else:
            self.queue.troubles.pop(about, None)

    def webhook(self) -> Webhook | None:
        """Where alerts are listened for."""
        return self.monitoring().webhook

    def metrics_address(self) -> str | None:
        """Where our own metrics are served."""
        return self._told_monitoring().metrics

    def _services(self) -> tuple[str, ...]:
        return tuple(w.service.name for w in self.git.catalogue.wanted) if self.git.catalogue else ()

    def monitoring(self) -> Monitoring:
        """Every monitoring system that there is: others, and our own."""
        return self.own_monitoring.with_own(self._told_monitoring())

    def monitors(self) -> tuple[MonitoringView, ...]:
        """Where every monitoring system is, and Envoy's figures, for `status`."""
        others, every = self._told_monitoring(), self.monitoring()
        found = [
            MonitoringView(name=name, url=endpoint.url, own=other is None)
            for name, endpoint, other in (
                ("Prometheus", every.prometheus, others.prometheus),
                ("Alertmanager", every.alertmanager, others.alertmanager),
            )
            if endpoint is not None
        ]
        envoy = self.router.statistics_address()
        if envoy is not None:
            found.append(MonitoringView(name="Envoy", url=f"http://{envoy}/stats/prometheus", own=True))
        return tuple(found)

    def _told_monitoring(self) -> Monitoring:
        """What Git says of the monitoring systems, and what `sternway up` was told in its place."""
        found = self.git.catalogue.monitoring if self.git.catalogue else Monitoring()
        prometheus, alertmanager = self.settings.prometheus, self.settings.alertmanager
        return replace(
            found,
            prometheus=told(found.prometheus, prometheus),
            alertmanager=told(found.alertmanager, alertmanager),
            own_prometheus=told_own(found.own_prometheus, prometheus),
            own_alertmanager=told_own(found.own_alertmanager, alertmanager),
            metrics=self.settings.metrics or found.metrics,
        )

    def _publish(self, workload_id: str, endpoints: Sequence[Replica]) -> None:
        """Tell Envoy at once where a workload's replicas are; Prometheus follows."""
        self.router.set_endpoints(workload_id, endpoints)
        self.own_monitoring.set_endpoints(workload_id, endpoints)

    async def _secret(self, commit: str, key: SecretKey) -> str:
        snapshot = await self.history.at(commit)
        return secret_value(dict(snapshot.files), key.name, key.key)
