"""A running platform without processes: the real engine, shell, follower and API over the fakes, for tests of web and cli."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sternway.control.act import Actor
from sternway.control.commands import Commands
from sternway.control.follow_git import GitFollower
from sternway.control.observe import Observer
from sternway.control.outbox import Outbox
from sternway.control.queue import WorkQueue
from sternway.control.reconcile import Reconciler
from sternway.control.status import MonitoringView
from sternway.domain.catalogue import Edge, Figures, ReplicaTraffic, VersionTraffic
from sternway.domain.platform import ReplicaState, WorkloadState
from sternway.domain.releases import Phase, Reverted
from sternway.domain.tallies import Reading, Tally, Unit
from sternway.errors import Refused
from sternway.paths import Paths
from sternway.ports import Snapshot
from sternway.testing.fakes import FakeClock, FakeHistory, FakePlatform, FakeRouter, FakeSignals
from sternway.testing.store import MemoryStore
from sternway.web.api import Api

BEGAN_S = 1_700_000_000.0

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  replicas: 2
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec:
      containers:
        - name: orders
          image: shop/orders:1.0.0  # the tag is what a release changes
          ports: [{containerPort: 8080}]
"""
GUARD = """\
apiVersion: sternway.dev/v1alpha1
kind: Guard
metadata: {name: orders}
spec:
  service: orders
  mode: automatic
  strategy:
    canary:
      steps:
        - {requestsPerSecond: 5, minRequests: 40}
        - {percent: 20, minRequests: 100}
  bake: {for: 20s}
  withdraw: {for: 5s}
  judge: {clusterKey: {header: x-user}, warmUp: 0s}
"""
IMAGES = """\
images:
  shop/orders: python3 orders.py --port {port} --version {tag}
"""
FILES = {"orders.yaml": DEPLOYMENT, "guards.yaml": GUARD, "images.yaml": IMAGES}


@dataclass
class Processes(FakePlatform):
    """The fake platform, with replicas and logs."""

    written: dict[str, list[str]] = field(
        default_factory=lambda: {"orders-a": ["started", "bad: 500"], "orders-b": ["started"]}
    )
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def describe(self, service: str) -> tuple[WorkloadState, ...]:
        """One replica of each workload is told in full."""
        states = await super().describe(service)
        replica = ReplicaState(
            name="orders-a", phase="ready", port=41001, pid=4242, cpu_percent=3.0, memory_bytes=20_000_000
        )
        return tuple(
            WorkloadState(
                workload_id=s.workload_id,
                image=s.image,
                desired=s.desired,
                ready=s.ready,
                failure=s.failure,
                replicas=(replica,) if i == 0 else (),
            )
            for i, s in enumerate(states)
        )

    async def logs(
        self, service: str, *, replica: str | None = None, lines: int = 100, follow: bool = False
    ) -> AsyncIterator[tuple[str, str]]:
        """Give what was written; with `follow`, one more line when the test says so, and then forever nothing."""
        if replica is not None and replica not in self.written:
            raise Refused(f"no log of a replica named {replica}", hint=f"logs of {service}: {', '.join(self.written)}")
        for name in (replica,) if replica else tuple(self.written):
            for line in self.written[name][len(self.written[name]) - lines if lines < len(self.written[name]) else 0 :]:
                yield name, line
        if follow:
            await self.more.wait()
            yield "orders-a", "one more"
            await asyncio.Event().wait()


class Mesh(FakeRouter):
    """The fake router, with addresses."""

    connected = True
    trouble = ""

    def address(self, service: str) -> str | None:
        """Every service has one."""
        return f"127.0.0.1:{8000 + len(service)}"

    def preview_address(self, service: str) -> str | None:
        """And one for previews."""
        return f"127.0.0.1:{9000 + len(service)}"


class Traffic(FakeSignals):
    """The fake signals, with a catalogue."""

    def edges(self) -> tuple[Edge, ...]:
        """Say that the world calls orders."""
        figures = Figures(requests=600, bad=3, rate_per_s=20.0, p50_ms=4.0, p99_ms=31.0)
        return (Edge(caller="", callee="orders", figures=figures, last_s=BEGAN_S),)

    def traffic(self) -> tuple[VersionTraffic, ...]:
        """One replica answers."""
        figures = Figures(requests=300, rate_per_s=10.0, p50_ms=4.0, p99_ms=30.0)
        replica = ReplicaTraffic(replica="127.0.0.1:41001", figures=figures)
        return (VersionTraffic(service="orders", version="any", figures=figures, replicas=(replica,)),)


class Repository(FakeHistory):
    """The fake history, which takes commits."""

    async def commit(
        self, changes: Mapping[str, str], message: str, *, author: str | None = None, base: str | None = None
    ) -> str:
        """On top of the head."""
        head = await self.head()
        number = len(self.snapshots) + 1
        commit = f"{number:x}" * 40
        files = {**dict(head.files), **changes}
        snapshot = Snapshot(
            commit=commit,
            files=tuple(sorted(files.items())),
            subject=message,
            author=author or "Ada <ada@example.org>",
            at_s=BEGAN_S + number,
        )
        self.snapshots.append(snapshot)
        return commit


class RunningPlatform:
    """Has the shape of `web.services.Services`. Time moves only in `run`."""

    def __init__(self, files: Mapping[str, str] = FILES) -> None:
        self.clock = FakeClock(now_s=BEGAN_S)
        self.journal = MemoryStore()
        self.platform = Processes(clock=self.clock)
        self.router = Mesh()
        self.signals = Traffic()
        self.history = Repository()
        self.history.on_revert = lambda revert: "f" * 40
        first = Snapshot(
            commit="1" * 40,
            files=tuple(sorted(files.items())),
            subject="Begin",
            author="Ada <ada@example.org>",
            at_s=BEGAN_S,
        )
        self.history.snapshots.append(first)
        self.queue = WorkQueue(clock=self.clock, work=self._reconcile)
        self.outbox = Outbox(history=self.history, wake=lambda _: None)
        self.git = GitFollower(
            history=self.history,
            capabilities=self.router.capabilities,
            router="envoy",
            origin="/shop",
            wake=lambda _: None,
        )
        self.commands = Commands(
            queue=self.journal, clock=self.clock, wake=self.queue.wake, known=lambda s: self.git.wanted(s) is not None
        )
        self.reconciler = Reconciler(
            observer=Observer(
                clock=self.clock,
                desired=self.git,
                platform=self.platform,
                router=self.router,
                signals=self.signals,
                commands=self.journal,
                outbox=self.outbox,
            ),
            actor=Actor(platform=self.platform, router=self.router, signals=self.signals, outbox=self.outbox),
            journal=self.journal,
            clock=self.clock,
            answer=self.commands.answer,
        )
        self.bad_share: dict[str, float] = {}
        self.keep: bool | None = None

    def monitors(self) -> tuple[MonitoringView, ...]:
        """See web.services.Services: one Prometheus."""
        return (MonitoringView(name="Prometheus", url="http://127.0.0.1:9090"),)

    async def _reconcile(self, service: str) -> float | None:
        await self.reconciler.reconcile(service)
        return None

    async def start(self) -> None:
        """Read Git and let the first version become ready."""
        await self.git.follow()
        await self.run(3)

    async def run(self, seconds: int) -> None:
        """Let time pass, a second and a pass at a time, with 100 requests/s for every service."""
        for _ in range(seconds):
            self.clock.sleep(1.0)
            for service in [w.service.name for w in self.git.catalogue.wanted] if self.git.catalogue else []:
                await self._read(service)
                await self.reconciler.reconcile(service)
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    async def _read(self, service: str) -> None:
        plan, question = await self.router.observe(service), self.signals.questions.get(service)
        if plan is None or question is None:
            return
        now_s = self.clock.now()
        tallies: list[Tally] = []
        first_bad_s = None
        for version in plan.split.versions:
            total = round(plan.split.percent(version))
            tag = version.rpartition("-")[0]
            bad = round(total * self.bad_share.get(tag, 0.0))
            for criterion, unit in (("errors", Unit.REQUEST), ("errors", Unit.CLUSTER), ("hurt", Unit.REQUEST)):
                spoilt = bad if criterion == "errors" else min(bad, 1)
                tallies.append(
                    Tally(
                        version=version,
                        criterion=criterion,
                        unit=unit,
                        start_s=now_s - 1,
                        end_s=now_s,
                        total=total,
                        bad=spoilt,
                    )
                )
            if bad and version == question.candidate:
                first_bad_s = now_s - 0.4
        candidate_gets = question.candidate in plan.split.versions
        self.signals.readings[service] = Reading(
            tallies=tuple(tallies),
            rate_per_s=100.0,
            first_bad_s=first_bad_s,
            last_candidate_s=now_s + 0.012 if candidate_gets else None,
        )

    async def commit(self, tag: str, *, bad: float = 0.0) -> None:
        """Somebody commits another image."""
        self.bad_share[tag] = bad
        text = dict((await self.history.head()).files)["orders.yaml"]
        lines = [f"          image: shop/orders:{tag}" if "image:" in line else line for line in text.splitlines()]
        await self.history.commit({"orders.yaml": "\n".join(lines) + "\n"}, f"Orders {tag}")
        await self.git.follow()

    async def until(self, *phases: Phase, seconds: int = 120) -> None:
        """Let time pass until the release of orders is in one of these phases."""
        for _ in range(seconds):
            release = (await self.reconciler.progress("orders")).release
            if release is not None and release.phase in phases:
                return
            await self.run(1)
        raise AssertionError(f"{release.phase if release else 'no release'}: {release and release.reason}")

    def conflict(self, message: str) -> None:
        """Let the next revert land on a branch."""

        async def revert(revert: Any) -> Reverted:
            return Reverted(
                release=revert.release, commit="e" * 40, branch=f"sternway/rollback-{revert.release}", message=message
            )

        self.history.revert = revert  # type: ignore[method-assign]

    async def close(self) -> None:
        """Stop what is under way."""
        await self.queue.close()
        await self.outbox.close()


class Served:
    """A running platform and its API on a thread of their own, so that the command line can be run beside them."""

    def __init__(self, folder: Path, files: Mapping[str, str] = FILES) -> None:
        self.paths = Paths.of(folder)
        self.paths.make()
        self._files = files
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.asked_to_stop: list[bool] = []
        self.call(self._start())

    async def _start(self) -> None:
        self.platform = RunningPlatform(self._files)
        self.api = Api(self.platform, stop=self.asked_to_stop.append)
        await self.platform.start()
        await self.api.start(self.paths.api_socket)

    def call(self, work: Any) -> Any:
        """Run a coroutine beside the API; gives its result."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(30)

    def do(self, action: Callable[[], object]) -> None:
        """Run a function beside the API."""
        self._loop.call_soon_threadsafe(action)

    def close(self) -> None:
        """End both."""
        self.call(self.api.close())
        self.call(self.platform.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        shutil.rmtree(self.paths.run)
