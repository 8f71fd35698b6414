"""One operating-system process: started or adopted, its end noticed, its group signalled. Used by replica and probes.

The end is an event, not a poll, where the system can say it: a pidfd on Linux (also for a process that is not our
child), a waiting thread for our own children elsewhere. Only an adopted process on a system without pidfd is polled.
asyncio's own subprocesses are not used: they kill a child when its transport is collected, and ours must outlive us.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from sternway.errors import PlatformUnavailable

POLL_S = 0.25
SAME_S = 0.02
"""Creation times are told in ticks of 10 ms; no system gives a pid out again so soon."""
MARK = "STERNWAY_REPLICA"
_pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended: its exit status, minus the signal that killed it, or None when nobody could tell us."""

    status: int | None

    def __str__(self) -> str:
        if self.status is None:
            return "ended"
        if self.status >= 0:
            return f"exited with status {self.status}"
        try:
            return f"was killed by {signal.Signals(-self.status).name}"
        except ValueError:
            return f"was killed by signal {-self.status}"


class Process:
    """A process that leads its own session and group. `exited` is done once it is gone.

    Must be made inside a running event loop; `forget` lets go of it without touching it.
    """

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._fd: int | None = None
        self._poller: asyncio.TimerHandle | None = None
        self._let_go = False
        try:
            self._info: psutil.Process | None = psutil.Process(pid)
            self._info.cpu_percent()  # the first figure is always 0: begin to count now
        except psutil.Error:
            self._info = None
        self._watch()

    @classmethod
    def spawn(
        cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None, output: Path | None = None
    ) -> Process:
        """Start a program in a session of its own. Raises OSError as `subprocess` does."""
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(output.open("ab", buffering=0)) if output else subprocess.DEVNULL
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd or None,
                start_new_session=True,
            )
        return cls(child.pid, child)

    @classmethod
    def adopt(cls, *, replica: str, pid: int | None, create_time: float | None) -> Process | None:
        """Find the process of a replica that an earlier Sternway started, if it still runs.

        The creation time tells a recycled pid; where it differs (the machine's clock was set), or where there was
        no time to record a pid, the mark in the process's environment decides.
        """
        if pid is not None:
            return cls(pid) if _is_same(pid, create_time, replica) else None
        for process in psutil.process_iter():
            if _bears(process, replica):
                return cls(process.pid)
        return None

    @property
    def create_time(self) -> float | None:
        """When the process began, as the system tells it."""
        with contextlib.suppress(psutil.Error):
            return self._info.create_time() if self._info else None
        return None

    def usage(self) -> tuple[float | None, int | None]:
        """CPU since the last call (percent of one core) and resident bytes; None when they cannot be read."""
        if self._info is None or self.exited.done():
            return None, None
        try:
            with self._info.oneshot():
                return self._info.cpu_percent(), self._info.memory_info().rss
        except psutil.Error:
            return None, None

    async def stop(self, grace_s: float) -> None:
        """SIGTERM to the group, and SIGKILL to what is left of it when the leader ended or `grace_s` passed."""
        self._signal(signal.SIGTERM)
        await asyncio.wait({self.exited}, timeout=grace_s)
        self._signal(signal.SIGKILL)
        await asyncio.wait({self.exited})

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        self._signal(signal.SIGKILL)

    def forget(self) -> None:
        """Stop watching; the process runs on."""
        self._let_go = True
        self._unwatch()
        if self._child is not None and self._child.returncode is None:
            self._child.returncode = 0  # subprocess would warn of a child that still runs: it shall

    def _signal(self, number: signal.Signals) -> None:
        if self.exited.done():
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return
        except PermissionError as exc:  # macOS says so of a group of which only the unreaped leader is left
            if _is_alive(self.pid):
                raise PlatformUnavailable(
                    f"process {self.pid} may not be signalled: {exc}",
                    hint="it changed its user; stop it as that user",
                ) from exc

    def _watch(self) -> None:
        if _pidfd_open is not None:
            try:
                self._fd = _pidfd_open(self.pid)
            except ProcessLookupError:
                self._loop.call_soon(self._ended)
                return
            except OSError:
                self._fd = None  # an old kernel or a sandbox: watch in the other way
            else:
                self._loop.add_reader(self._fd, self._ended)
                return
        if self._child is not None:
            threading.Thread(target=self._wait, args=(self._child,), daemon=True, name=f"wait-{self.pid}").start()
        else:
            self._poll()

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody is left to be told
            self._loop.call_soon_threadsafe(self._ended)

    def _poll(self) -> None:
        if _is_alive(self.pid) and self._info is not None and self._info.is_running():
            self._poller = self._loop.call_later(POLL_S, self._poll)
        else:
            self._loop.call_soon(self._ended)

    def _unwatch(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _ended(self) -> None:
        if self._let_go or self.exited.done():
            return
        self._unwatch()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what it started goes with it; an unreaped leader keeps the id ours
        self.exited.set_result(Exit(status=self._reap()))

    def _reap(self) -> int | None:
        if self._child is not None:
            return self._child.wait()
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status) if pid else None


def _is_same(pid: int, create_time: float | None, replica: str) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if create_time is not None and abs(process.create_time() - create_time) < SAME_S:
            return True
    except psutil.Error:
        return False
    return _bears(process, replica)


def _bears(process: psutil.Process, replica: str) -> bool:
    """Whether a process leads its group and has the replica's mark in its environment."""
    try:
        marked = process.environ().get(MARK) == replica
        return marked and os.getpgid(process.pid) == process.pid and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
