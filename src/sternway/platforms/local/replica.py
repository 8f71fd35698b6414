"""READ THIS FIRST: one replica's life. Made and told to stop by platform; a task of its own does everything else.

    start -> starting -> ready <-> unready -> (ended, or killed for its liveness) -> crashed -> back-off -> start …
    stop  -> out of discovery, drain, SIGTERM, grace, SIGKILL -> gone

A replica leaves discovery before anything else is done to it, whatever the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sternway.clock import Clock
from sternway.domain.platform import ReplicaState
from sternway.domain.traffic import Endpoint
from sternway.errors import PlatformUnavailable, SternwayError, Temporary
from sternway.platforms.local.crashes import Crashes
from sternway.platforms.local.health import Health, has_address
from sternway.platforms.local.launch import Launch, Launcher
from sternway.platforms.local.logs import Logs
from sternway.platforms.local.network import ADDRESS, Ports
from sternway.platforms.local.probes import Prober
from sternway.platforms.local.process import Process
from sternway.platforms.local.records import Record, Records

SAMPLE_S = 1.0
_SHORTAGES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""The machine's trouble, not the workload's: tried again, and no failure of the workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every replica of a platform shares.

    endpoints_changed, wake: called with the replica when discovery, or anything else worth a look, changed.
    """

    clock: Clock
    records: Records
    logs: Logs
    ports: Ports
    prober: Prober
    launcher: Launcher
    drain_s: float
    endpoints_changed: Callable[[Replica], None]
    wake: Callable[[Replica], None]


class Replica:
    """One supervised process and its successors under one name. `record` is what outlives us."""

    def __init__(self, *, record: Record, around: Surroundings) -> None:
        self.record = record
        self.workload_id = record.workload.id
        self.first_ready = asyncio.Event()
        self._around = around
        self._process: Process | None = None
        self._ready = False
        self._was_ready = False
        self._message = ""
        self._failure: str | None = None
        self._crashes = Crashes()
        self._gone = False
        self._stopping = asyncio.Event()
        self._attention = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log_start = 0
        self._usage: tuple[float | None, int | None] = (None, None)
        self._sampled_s = -SAMPLE_S

    # What is so now ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The replica's name, also its HOSTNAME."""
        return self.record.replica

    @property
    def ready(self) -> bool:
        """Whether it takes traffic."""
        return self._ready

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    @property
    def gone(self) -> bool:
        """Whether it was told to stop and has."""
        return self._gone

    @property
    def failure(self) -> str | None:
        """Why it cannot run, as a sentence."""
        return self._failure or self._crashes.failure()

    @property
    def endpoint(self) -> Endpoint | None:
        """Its address while it takes traffic."""
        if not self._ready or not has_address(self.record.workload):
            return None
        return Endpoint(address=ADDRESS, port=self.record.port, replica=self.name)

    def state(self) -> ReplicaState:
        """Describe it. Resource figures are sampled at most once a second."""
        process = self._process
        if process is not None and _now() - self._sampled_s >= SAMPLE_S:
            self._sampled_s = _now()
            self._usage = process.usage()
        cpu_percent, memory_bytes = self._usage if process is not None else (None, None)
        return ReplicaState(
            name=self.name,
            phase=self._phase(),
            port=self.record.port or None,
            pid=process.pid if process is not None else None,
            restarts=self.record.restarts,
            started_s=self.record.started_s,
            cpu_percent=cpu_percent,
            memory_bytes=memory_bytes,
            message=self._failure or self._message,
        )

    def _phase(self) -> str:
        if self.stopping:
            return "stopping"
        if self._process is None:
            return "crashed" if self._crashes.any or self._failure else "starting"
        if self._ready:
            return "ready"
        return "unready" if self._was_ready else "starting"

    # What others ask of it --------------------------------------------------------------------------------------

    def begin(self, process: Process | None = None) -> None:
        """Start to supervise, a new process or an adopted one."""
        if process is not None:
            self.record = replace(self.record, pid=process.pid, create_time=process.create_time)
        self._task = asyncio.create_task(self._live(process), name=f"replica {self.name}")

    def use_commit(self, commit: str) -> None:
        """Read secrets from this commit at the next start."""
        self.record = replace(self.record, commit=commit)

    def try_again(self) -> None:
        """Do not wait out the back-off: what was wrong may be mended."""
        self._attention.set()

    def stop(self) -> None:
        """Leave discovery now; drain and end in the background."""
        if self.stopping:
            return
        self._stopping.set()
        self._attention.set()
        self._hear(ready=False)
        with contextlib.suppress(PlatformUnavailable):  # a full disk must keep no replica from stopping
            self._write(stopping=True)

    async def ended(self) -> None:
        """Return when it has stopped."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def leave(self) -> None:
        """Let the process run on, unsupervised: the next Sternway finds it by its record."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def check(self) -> None:
        """Raise PlatformUnavailable when supervision itself broke, having taken it up again."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return
        exc = self._task.exception()
        if exc is None:
            return
        record = self.record
        self.begin(Process.adopt(replica=self.name, pid=record.pid, create_time=record.create_time))
        if isinstance(exc, SternwayError):
            raise exc
        raise PlatformUnavailable(f"supervising replica {self.name} failed: {exc!r}") from exc

    # Its life ---------------------------------------------------------------------------------------------------

    async def _live(self, process: Process | None) -> None:
        try:
            while process is not None or not self.stopping:
                if process is None:
                    process = await self._start()
                if process is None:
                    await self._rest()
                    continue
                why = await self._tend(process)
                process = None
                if not self.stopping:
                    self._crashed(why)
                    await self._rest()
            self._end()
        finally:
            if self._process is not None:
                self._process.forget()

    async def _start(self) -> Process | None:
        """Start a process; None when it could not be started, which `failure` or `message` then explains."""
        around, service = self._around, self.record.service
        around.ports.give_back(self.record.port)
        self.record = replace(self.record, port=0, pid=None, create_time=None)
        try:
            self._write(port=around.ports.take(), started_s=around.clock.now())
            launch = await self._launch()
            self._log_start = around.logs.size(service, self.name)
            log = around.logs.path(service, self.name)
            process = Process.spawn(launch.argv, env=launch.env, cwd=launch.working_dir, output=log)
        except Temporary as exc:
            self._not_started(message=exc.message, failure=None)
        except SternwayError as exc:
            self._not_started(message="", failure=f"{exc.message}: {exc.hint}" if exc.hint else exc.message)
        except OSError as exc:
            sentence = f"could not be started: {exc.strerror}"
            ours = exc.errno in _SHORTAGES
            self._not_started(message=sentence if ours else "", failure=None if ours else sentence)
        else:
            # Should this write fail, the record without a pid still leads to the process: it bears its mark.
            with contextlib.suppress(PlatformUnavailable):
                self._write(pid=process.pid, create_time=process.create_time)
            self._failure, self._message = None, ""
            return process
        return None

    async def _tend(self, process: Process) -> str:
        """Watch a process until it is gone; return why it went."""
        self._process = process
        self._was_ready = False
        age_s = max(0.0, self._around.clock.now() - self.record.started_s)
        self._crashes.started(_now() - age_s)
        health = Health(
            workload=self.record.workload,
            port=self.record.port,
            age_s=age_s,
            prober=self._around.prober,
            launch=self._launch,
            heard=lambda ready, message: self._hear(ready=ready, message=message),
        )
        probing = asyncio.create_task(health.run())
        stop = asyncio.create_task(self._stopping.wait())
        steady = asyncio.get_running_loop().call_later(max(0.0, Crashes.STEADY_S - age_s), self._run_steadily)
        try:
            first: set[asyncio.Future[Any]] = {process.exited, probing, stop}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            served = self._was_ready
            self._hear(ready=False)
            if process.exited.done():
                why = str(process.exited.result())
            elif self.stopping:
                why = await self._drain_and_stop(process, drain=served)
            else:
                why = probing.result()
                await process.stop(self.record.workload.grace_s)
        finally:
            steady.cancel()
            probing.cancel()
            stop.cancel()
            await asyncio.gather(probing, stop, return_exceptions=True)
        self._process = None
        return why

    async def _drain_and_stop(self, process: Process, *, drain: bool) -> str:
        if drain:
            await asyncio.wait({process.exited}, timeout=self._around.drain_s)
        await process.stop(self.record.workload.grace_s)
        return "stopped"

    async def _rest(self) -> None:
        """Wait out the back-off, unless something asks for attention."""
        self._attention.clear()
        if self.stopping:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._crashes.back_off_s()):
                await self._attention.wait()

    def _end(self) -> None:
        self._gone = True
        self._around.ports.give_back(self.record.port)
        self._around.records.remove(self.name)
        self._around.wake(self)

    # What it hears ----------------------------------------------------------------------------------------------

    def _hear(self, *, ready: bool, message: str = "") -> None:
        if ready and self.stopping:
            return
        changed, self._ready, self._message = ready != self._ready, ready, message
        if ready:
            self._was_ready = True
            self.first_ready.set()
        if changed:
            self._around.endpoints_changed(self)
            self._around.wake(self)

    def _crashed(self, why: str) -> None:
        around, service = self._around, self.record.service
        line = around.logs.last_line(service, self.name, self._log_start)
        self._crashes.ended(_now(), why, around.launcher.redact(service, line))
        self.record = replace(self.record, restarts=self.record.restarts + 1)
        around.wake(self)

    def _not_started(self, *, message: str, failure: str | None) -> None:
        changed = failure != self._failure
        self._message, self._failure = message, failure
        self._crashes.not_started()
        if changed:
            self._around.wake(self)

    def _run_steadily(self) -> None:
        failed = self._crashes.failure() is not None
        self._crashes.steady()
        if failed:
            self._around.wake(self)

    async def _launch(self) -> Launch:
        record = self.record
        return await self._around.launcher.prepare(
            service=record.service,
            replica=self.name,
            workload=record.workload,
            commit=record.commit,
            port=record.port,
        )

    def _write(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        self._around.records.write(self.record)


def _now() -> float:
    return asyncio.get_running_loop().time()
