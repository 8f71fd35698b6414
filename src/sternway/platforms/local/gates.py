"""Gates as commands of this machine: `sternway.ports.Gates`. Made by bootstrap.

A gate does not outlive Sternway: with it ends what it would have told. The next Sternway stops what a crash left running, and
runs the gate anew. Its output stands among the logs of its service, as `gate-NUMBER-NAME`.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sternway.domain.gates import GateOutcome, GateRun
from sternway.platforms.local.launch import KEPT
from sternway.platforms.local.logs import Logs
from sternway.platforms.local.process import MARK, Process

GRACE_S = 2.0


@dataclass(slots=True, kw_only=True)
class _Running:
    task: asyncio.Task[None]
    outcome: GateOutcome | None = None


class LocalGates:
    """See the module. folder: where commands run. url: where a service's candidate can be looked at; None: nowhere.

    wake: told when a gate is over.
    """

    def __init__(
        self, *, folder: Path, logs: Path, url: Callable[[str], str | None], wake: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._logs = Logs(logs)
        self._url = url
        self._wake = wake
        self._known: dict[str, dict[tuple[str, str], _Running]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, service: str, runs: Sequence[GateRun]) -> None:
        """See ports.Gates."""
        known = self._known.setdefault(service, {})
        wanted = {(run.release, run.gate.name): run for run in runs}
        for key in known.keys() - wanted.keys():
            known.pop(key).task.cancel()
        for key, run in wanted.items():
            if key not in known:
                name = f"gate {run.gate.name} of {run.release}"
                task = asyncio.create_task(self._see_through(service, run), name=name)
                known[key] = _Running(task=task)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def outcomes(self, service: str) -> tuple[GateOutcome, ...]:
        """See ports.Gates."""
        return tuple(one.outcome for one in self._known.get(service, {}).values() if one.outcome is not None)

    async def close(self) -> None:
        """Stop every gate."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _see_through(self, service: str, run: GateRun) -> None:
        """From the start of a gate to its end, or until nobody waits for it any more."""
        name = f"gate-{run.release.rpartition('-')[2]}-{run.gate.name}"
        mark = f"{service}-{name}"
        left = Process.adopt(replica=mark, pid=None, create_time=None)  # by a crash
        if left is not None:
            await left.stop(GRACE_S)
        why = await self._why_not(service, run, name, mark)
        known = self._known[service].get((run.release, run.gate.name))
        if known is not None:
            known.outcome = GateOutcome(release=run.release, gate=run.gate.name, passed=not why, why=why)
            self._wake(service)

    async def _why_not(self, service: str, run: GateRun, name: str, mark: str) -> str:
        """Run it; why it did not pass, or ""."""
        address = self._url(service)
        env = {key: os.environ[key] for key in KEPT if key in os.environ}
        env |= {"PYTHONUNBUFFERED": "1", MARK: mark, **run.told(f"http://{address}" if address else "")}
        argv = [word.replace("{python}", sys.executable) for word in shlex.split(run.gate.command)]
        try:
            log, since = self._logs.path(service, name), self._logs.size(service, name)
            process = Process.spawn(argv, env=env, cwd=str(self._folder), output=log)
        except OSError as exc:
            return f"its command cannot be started: {exc.strerror or exc}"
        try:
            async with asyncio.timeout(run.gate.timeout_s):
                ended = await asyncio.shield(process.exited)
        except TimeoutError:
            await process.stop(GRACE_S)
            return f"it was not over within {run.gate.timeout_s:g} s; {_see(service, name)}"
        except asyncio.CancelledError:
            await process.stop(GRACE_S)
            raise
        if ended.status == 0:
            return ""
        last = self._logs.last_line(service, name, since)
        return "; ".join(part for part in (f"it {ended}", last, _see(service, name)) if part)


def _see(service: str, name: str) -> str:
    return f"`sternway logs {service} --replica {name}` shows its output"
