"""Runs workloads as processes of this machine: `sternway.ports.Platform`. Made by bootstrap, driven by control.

`apply` only compares and tells; every replica does its own work (`replica.py`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sternway.clock import Clock
from sternway.domain.images import Images
from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.domain.traffic import Endpoint
from sternway.domain.versions import SecretKey
from sternway.errors import PlatformUnavailable
from sternway.platforms.local.launch import Launcher
from sternway.platforms.local.logs import Logs
from sternway.platforms.local.network import Ports
from sternway.platforms.local.probes import Prober
from sternway.platforms.local.process import Process
from sternway.platforms.local.records import Record, Records
from sternway.platforms.local.replica import Replica, Surroundings

ADOPT_S = 2.0
HOUSEKEEPING_S = 2.0
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(slots=True, kw_only=True)
class _Deployed:
    """A workload of a service: what shall run and what does. Replicas stand in the order of their making."""

    run: WorkloadRun
    replicas: list[Replica] = field(default_factory=list)

    @property
    def staying(self) -> list[Replica]:
        return [replica for replica in self.replicas if not replica.stopping]


class LocalPlatform:
    """Supervised processes. `start` before anything else and `close` at the end, in the same event loop.

    images: what images mean now. environment: further variables for a service's processes.
    secret: looks a value up at a start; it reaches the process's environment and nothing else.
    publish: told at once when the ready endpoints of a workload change. wake: told when a service is worth a look.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        clock: Clock,
        images: Callable[[], Images],
        publish: Callable[[str, tuple[Endpoint, ...]], None],
        wake: Callable[[str], None],
        environment: Callable[[str], Mapping[str, str]],
        secret: Callable[[str, SecretKey], Awaitable[str]],
        drain_s: float = 1.0,
    ) -> None:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._images = images
        self._images_seen: Images | None = None
        self._publish = publish
        self._wake = wake
        self._services: dict[str, dict[str, _Deployed]] = {}
        self._published: dict[str, tuple[Endpoint, ...]] = {}
        self._adopting = False
        self._housekeeping: asyncio.Task[None] | None = None
        self._around = Surroundings(
            clock=clock,
            records=Records(state_dir / "replicas"),
            logs=Logs(state_dir / "logs"),
            ports=Ports(),
            prober=Prober(),
            launcher=Launcher(config_dir=state_dir / "config", images=images, environment=environment, secret=secret),
            drain_s=drain_s,
            endpoints_changed=self._endpoints_changed,
            wake=self._replica_changed,
        )

    async def start(self) -> None:
        """Take over what an earlier Sternway left running.

        Returns once the adopted replicas were probed (or two seconds passed) and their endpoints are published, all of
        a workload at once: a proxy that still runs never sees fewer than there are.
        """
        self._adopting = True
        adopted = [replica for record in self._around.records.all() if (replica := self._adopt(record))]
        if adopted:
            probes = [asyncio.create_task(replica.first_ready.wait()) for replica in adopted]
            await asyncio.wait(probes, timeout=ADOPT_S)
            for probe in probes:
                probe.cancel()
            await asyncio.gather(*probes, return_exceptions=True)
        self._adopting = False
        for workload_id in {workload_id for workloads in self._services.values() for workload_id in workloads}:
            self._publish_changes(workload_id)
        self._housekeeping = asyncio.create_task(self._keep_house(), name="platform housekeeping")

    async def close(self, *, stop: bool) -> None:
        """Stop every replica gracefully, or leave them all running for the next Sternway."""
        replicas = self._replicas()
        if stop:
            for replica in replicas:
                replica.stop()
            await asyncio.gather(*(replica.ended() for replica in replicas))
            for replica in replicas:
                replica.check()
        else:
            await asyncio.gather(*(replica.leave() for replica in replicas))
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait({self._housekeeping})
        await self._around.prober.close()

    async def apply(self, service: str, runs: Sequence[WorkloadRun]) -> None:
        """See ports.Platform. Scaling down takes replicas that are not ready first, then the newest."""
        self._check(service)
        images = self._images()
        mended, self._images_seen = images != self._images_seen, images
        wanted = {run.workload.id: run for run in runs}
        deployed = self._services.setdefault(service, {})
        for workload_id, run in wanted.items():
            target = deployed.setdefault(workload_id, _Deployed(run=run))
            target.run = run
            self._scale(service, target, try_again=mended)
        for workload_id in deployed.keys() - wanted.keys():
            target = deployed[workload_id]
            target.run = WorkloadRun(workload=target.run.workload, replicas=0, commit=target.run.commit)
            self._scale(service, target, try_again=False)
        self._forget_gone(service)

    async def describe(self, service: str) -> tuple[WorkloadState, ...]:
        """See ports.Platform."""
        self._check(service)
        return tuple(
            WorkloadState(
                workload_id=workload_id,
                image=target.run.workload.image,
                desired=target.run.replicas,
                ready=sum(replica.ready for replica in target.replicas),
                restarts=sum(replica.record.restarts for replica in target.replicas),
                failure=next((replica.failure for replica in target.staying if replica.failure), None),
                replicas=tuple(replica.state() for replica in target.replicas),
            )
            for workload_id, target in self._services.get(service, {}).items()
        )

    def services(self) -> tuple[str, ...]:
        """Every service that something runs for, wanted or not."""
        return tuple(service for service, deployed in self._services.items() if deployed)

    async def logs(
        self, service: str, *, replica: str | None = None, lines: int = 100, follow: bool = False
    ) -> AsyncIterator[tuple[str, str]]:
        """(replica, line), secret values taken out: the last lines of each replica, then, if followed, what comes."""
        learned: set[str] = set()
        async for name, line in self._around.logs.read(service, replica=replica, lines=lines, follow=follow):
            if name not in learned:
                learned.add(name)
                for target in self._services.get(service, {}).values():
                    await self._around.launcher.learn(service, target.run.workload, target.run.commit)
            yield name, self._around.launcher.redact(service, line)

    # Replicas ---------------------------------------------------------------------------------------------------

    def _adopt(self, record: Record) -> Replica | None:
        """Supervise a recorded replica again; return it when its process runs and shall go on running."""
        process = Process.adopt(replica=record.replica, pid=record.pid, create_time=record.create_time)
        if process is None and record.stopping:
            self._around.records.remove(record.replica)
            return None
        if process is None and record.pid is not None:
            record = replace(record, pid=None, restarts=record.restarts + 1)
        replica = Replica(record=record, around=self._around)
        run = WorkloadRun(workload=record.workload, replicas=0, commit=record.commit)
        target = self._services.setdefault(record.service, {}).setdefault(replica.workload_id, _Deployed(run=run))
        target.replicas.append(replica)
        self._around.ports.keep(record.port)
        replica.begin(process)
        if record.stopping:
            replica.stop()
            return None
        target.run = WorkloadRun(workload=record.workload, replicas=len(target.staying), commit=record.commit)
        return replica if process is not None else None

    def _scale(self, service: str, target: _Deployed, *, try_again: bool) -> None:
        staying = target.staying
        for replica in staying:
            replica.use_commit(target.run.commit)
            if try_again:
                replica.try_again()
        for _ in range(target.run.replicas - len(staying)):
            record = Record(
                replica=f"{service}-{target.run.workload.id[:6]}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}",
                service=service,
                workload=target.run.workload,
                commit=target.run.commit,
                created_s=self._around.clock.now(),
                port=0,
            )
            replica = Replica(record=record, around=self._around)
            target.replicas.append(replica)
            replica.begin()
        newest_first = staying[::-1]
        leaving = sorted(newest_first, key=lambda replica: replica.ready)
        for replica in leaving[: max(0, len(staying) - target.run.replicas)]:
            replica.stop()

    def _replicas(self) -> list[Replica]:
        workloads = [target for deployed in self._services.values() for target in deployed.values()]
        return [replica for target in workloads for replica in target.replicas]

    def _check(self, service: str) -> None:
        for target in self._services.get(service, {}).values():
            for replica in target.replicas:
                replica.check()
        if self._housekeeping is not None and self._housekeeping.done() and not self._housekeeping.cancelled():
            exc = self._housekeeping.exception()
            self._housekeeping = asyncio.create_task(self._keep_house(), name="platform housekeeping")
            raise PlatformUnavailable(f"log files could not be kept in bounds: {exc}") from exc

    # What replicas tell -----------------------------------------------------------------------------------------

    def _endpoints_changed(self, replica: Replica) -> None:
        self._publish_changes(replica.workload_id)

    def _replica_changed(self, replica: Replica) -> None:
        service = replica.record.service
        if replica.gone:
            self._forget_gone(service)
        self._wake(service)

    def _publish_changes(self, workload_id: str) -> None:
        """Tell discovery. Services whose workloads are equal share them, as they share the id."""
        if self._adopting:
            return
        endpoints = tuple(
            endpoint
            for deployed in self._services.values()
            if workload_id in deployed
            for replica in deployed[workload_id].replicas
            if (endpoint := replica.endpoint)
        )
        if endpoints == self._published.get(workload_id, ()):
            return
        self._published[workload_id] = endpoints
        self._publish(workload_id, endpoints)
        if not endpoints:
            del self._published[workload_id]

    def _forget_gone(self, service: str) -> None:
        deployed = self._services.get(service, {})
        for workload_id, target in list(deployed.items()):
            target.replicas = [replica for replica in target.replicas if not replica.gone]
            if not target.replicas and target.run.replicas == 0:
                del deployed[workload_id]

    async def _keep_house(self) -> None:
        """Keep logs in bounds and remove what gone replicas left."""
        launcher, logs = self._around.launcher, self._around.logs
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await asyncio.to_thread(logs.rotate)
            for service, deployed in list(self._services.items()):
                self._forget_gone(service)
                living = {replica.name for target in deployed.values() for replica in target.replicas}
                logs.prune(service, living)
            launcher.prune({workload_id for deployed in self._services.values() for workload_id in deployed})
