"""A program that serves the platform itself, beside the replicas: Prometheus, Alertmanager. Used by `monitoring`.

Like a replica it has a session of its own and outlives Sternway: a record in its folder leads the next Sternway to it,
which takes it over when it runs as it should now, and ends it otherwise. When it ends by itself it is started again, at once
the first time and then ever more slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sternway.errors import PlatformUnavailable
from sternway.platforms.local.crashes import Crashes
from sternway.platforms.local.launch import KEPT
from sternway.platforms.local.logs import Logs
from sternway.platforms.local.network import Ports, accepts
from sternway.platforms.local.process import MARK, Process

STOP_S = 10.0
LOOK_EVERY_S = 10.0
SETTLE_S = 0.5
"""Between listening and heeding signals; programs do both within milliseconds."""
_TAKEN = "address already in use"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """Written before the program starts (`pid` None) and after. command: as it was started."""

    port: int
    command: tuple[str, ...]
    pid: int | None = None
    create_time: float | None = None


class Program:
    """See the module. command: from the port that it shall listen on to its command line.

    port: where it listens, 0 before the first start. changed: called when that, or how it does, has changed.
    """

    def __init__(
        self, name: str, *, folder: Path, command: Callable[[int], tuple[str, ...]], changed: Callable[[], None]
    ) -> None:
        self.name = name
        self.port = 0
        self._command = command
        self._changed = changed
        self._folder = folder
        self._file = folder / f"{name}.json"
        self._mark = f"{name} of {folder}"
        self._logs = Logs(folder)
        self._ports = Ports()
        self._crashes = Crashes()
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._not_started = ""

    @property
    def pid(self) -> int | None:
        """The running process's."""
        return None if self._process is None or self._process.exited.done() else self._process.pid

    @property
    def trouble(self) -> str:
        """Why it does not run, as a sentence, "" while it does."""
        if self._not_started:
            return self._not_started
        failure = self._crashes.failure()
        return f"{self.name} cannot run: {failure}" if failure else ""

    @property
    def log(self) -> Path:
        """What it writes."""
        return self._logs.path("logs", self.name)

    async def prepare(self) -> None:
        """Find the running one, and end it when it does not run as it should now; choose the port. `start` comes next."""
        process, record = self._recorded()
        if record is not None:
            self.port = record.port
        if process is not None and record is not None and record.command != self._command(record.port):
            await process.stop(STOP_S)
            process = None
        self._process = process
        self.port = self.port or self._ports.take()

    def start(self) -> None:
        """Take over what `prepare` found, or start one; then keep it running. Again, it does nothing."""
        if self._keeper is not None:
            return
        self._keeper = asyncio.create_task(self._keep(self._process), name=f"keep {self.name}")
        self.reload()  # the one that was found may have missed a change of its configuration

    async def end_left(self) -> None:
        """End what an earlier Sternway left running: it is not wanted any more."""
        process, _ = self._recorded()
        if process is not None:
            await process.stop(STOP_S)
        self._file.unlink(missing_ok=True)

    async def close(self, *, stop: bool) -> None:
        """Let go of it; `stop` ends it too."""
        tasks = [task for task in (self._keeper, self._reloading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keeper = self._reloading = None
        if self._process is None:
            return
        if stop:
            await self._process.stop(STOP_S)
            self._file.unlink(missing_ok=True)
        else:
            self._process.forget()
        self._process = None

    def reload(self) -> None:
        """Have it read its configuration again, as soon as it listens."""
        if self._process is not None and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.create_task(self._hang_up(self._process), name=f"reload {self.name}")

    async def _hang_up(self, process: Process) -> None:
        """Wait until it heeds the signal, which would end it before."""
        while await accepts(self.port) is not None:
            if process.exited.done():
                return  # the next one reads the file when it starts
            await asyncio.sleep(SETTLE_S / 5)
        await asyncio.sleep(SETTLE_S)
        if not process.exited.done():
            os.kill(process.pid, signal.SIGHUP)

    async def _keep(self, process: Process | None) -> None:
        while True:
            process = process or await self._launch()
            if process is not None:
                self._process = process
                self._crashes.started(_now())
                self._changed()
                why = await self._tend(process)
                words = self._logs.last_line("logs", self.name, 0)
                self._crashes.ended(_now(), why, words)
                if _TAKEN in words.lower():
                    self.port = 0
                process = self._process = None
            self._changed()
            await asyncio.sleep(self._crashes.back_off_s())

    async def _launch(self) -> Process | None:
        """Start it, on the port that it had when nobody else has it now; None when it cannot be started."""
        try:
            if not self.port or await accepts(self.port) is None:
                self.port = self._ports.take()
            command = self._command(self.port)
            record = _Record(port=self.port, command=command)
            self._write(record)
            self._logs.rotate()
            env = {name: os.environ[name] for name in KEPT if name in os.environ}
            # One core is plenty for one machine's figures, and the services need the others.
            env |= {MARK: self._mark, "GOMAXPROCS": "1"}
            process = Process.spawn(command, env=env, cwd=str(self._folder), output=self.log)
        except (OSError, PlatformUnavailable) as exc:
            self._not_started = f"{self.name} could not be started: {getattr(exc, 'strerror', None) or exc}"
            self._crashes.not_started()
            return None
        self._not_started = ""
        with contextlib.suppress(OSError):  # the record without a pid still leads to the process: it bears its mark
            self._write(_Record(**{**asdict(record), "pid": process.pid, "create_time": process.create_time}))
        return process

    async def _tend(self, process: Process) -> str:
        """Keep its log in bounds until it is gone; returns why it went."""
        steady = asyncio.get_running_loop().call_later(Crashes.STEADY_S, self._steady)
        try:
            while not process.exited.done():
                await asyncio.wait({process.exited}, timeout=LOOK_EVERY_S)
                with contextlib.suppress(OSError):
                    self._logs.rotate()
        finally:
            steady.cancel()
        return str(process.exited.result())

    def _steady(self) -> None:
        self._crashes.steady()
        self._changed()

    def _recorded(self) -> tuple[Process | None, _Record | None]:
        try:
            found = json.loads(self._file.read_text())
            record = _Record(**{**found, "command": tuple(found["command"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None, None
        return Process.adopt(replica=self._mark, pid=record.pid, create_time=record.create_time), record

    def _write(self, record: _Record) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(record)))
        draft.replace(self._file)


def _now() -> float:
    return asyncio.get_running_loop().time()
