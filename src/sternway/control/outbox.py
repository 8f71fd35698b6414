"""Git work that follows a decision: reverts and ledger marks, tried until done, never in the way of traffic.

Posted by `control.act`; what came of it is observed by the next pass. Idempotent: after a crash it is posted again.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable

from sternway.domain.releases import Decision, Mark, Revert, Reverted
from sternway.errors import SternwayError, Temporary
from sternway.ports import Undoing

LONGEST_WAIT_S = 30.0


class Outbox:
    """One task for each piece of Git work under way."""

    def __init__(self, *, history: Undoing, wake: Callable[[str], None]) -> None:
        self._history = history
        self._wake = wake
        self._reverts: dict[str, Reverted] = {}
        self._marks: dict[str, tuple[Mark, ...]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.troubles: dict[str, str] = {}

    def post(self, decision: Decision) -> None:
        """Start what is not under way yet."""
        service = decision.service
        if decision.revert is not None and self._reverts.get(service, _NONE).release != decision.revert.release:
            revert = decision.revert
            self._start(f"revert {revert.release}", service, lambda: self._revert(service, revert))
        new = tuple(mark for mark in decision.marks if mark not in self._marks.get(service, ()))
        if new:
            self._start(f"marks {service}", service, lambda: self._mark(service, new))

    def reverted(self, service: str) -> Reverted | None:
        """What became of the service's latest revert."""
        return self._reverts.get(service)

    def marked(self, service: str) -> tuple[Mark, ...]:
        """Marks that stand in the ledger now."""
        return self._marks.get(service, ())

    async def close(self) -> None:
        """Stop; unfinished work is posted again after the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, name: str, service: str, work: Callable[[], Awaitable[None]]) -> None:
        if name not in self._tasks:
            task = asyncio.create_task(self._until_done(name, service, work), name=name)
            self._tasks[name] = task
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _until_done(self, name: str, service: str, work: Callable[[], Awaitable[None]]) -> None:
        wait_s = 0.0
        while True:
            try:
                await work()
            except Temporary as trouble:
                self.troubles[name] = str(trouble)
                wait_s = min(LONGEST_WAIT_S, max(trouble.retry_in_s, 2 * wait_s))
                await asyncio.sleep(wait_s)
            except Exception as bug:  # noqa: BLE001  it must neither spin nor vanish: it is shown in `status`
                known = isinstance(bug, SternwayError)
                self.troubles[name] = str(bug) if known else "".join(traceback.format_exception(bug))
                await asyncio.sleep(LONGEST_WAIT_S)
            else:
                self.troubles.pop(name, None)
                self._wake(service)
                return

    async def _revert(self, service: str, revert: Revert) -> None:
        try:
            self._reverts[service] = await self._history.revert(revert)
        except Temporary:
            raise
        except SternwayError as final:
            self._reverts[service] = Reverted(release=revert.release, commit=None, message=str(final))

    async def _mark(self, service: str, marks: tuple[Mark, ...]) -> None:
        await self._history.mark(marks)
        self._marks[service] = (*self._marks.get(service, ()), *marks)[-100:]


_NONE = Reverted(release="", commit=None)
