"""Work by name: a wake-up says which service to look at, never what to do. Used by `sternway.bootstrap`.

Passes of one service never overlap; wake-ups during a pass are one more pass after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable

from sternway.clock import Clock
from sternway.errors import SternwayError, Temporary

UNEXPECTED_RETRY_S = 5.0


class WorkQueue:
    """One task a service; each waits for a wake-up or for the time that its last pass asked for."""

    def __init__(self, *, clock: Clock, work: Callable[[str], Awaitable[float | None]]) -> None:
        self._clock = clock
        self._work = work
        self._events: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        self.troubles: dict[str, str] = {}

    def wake(self, service: str) -> None:
        """Look at a service soon. Must be called on the event loop."""
        if self._closed:
            return
        event = self._events.setdefault(service, asyncio.Event())
        event.set()
        if service not in self._tasks:
            self._tasks[service] = asyncio.create_task(self._serve(service, event), name=f"service {service}")

    @property
    def depth(self) -> int:
        """How many services were woken and are not looked at yet."""
        return sum(event.is_set() for event in self._events.values())

    async def drop(self, service: str) -> None:
        """Cut off a pass under way, and forget the service until it is woken again."""
        task = self._tasks.pop(service, None)
        self._events.pop(service, None)
        self.troubles.pop(service, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Stop after the passes under way have been cancelled."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, service: str, event: asyncio.Event) -> None:
        wait_s: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await event.wait()
            event.clear()
            wait_s = await self._pass(service)

    async def _pass(self, service: str) -> float | None:
        try:
            look_at_s = await self._work(service)
        except Temporary as trouble:
            self.troubles[service] = str(trouble)
            return trouble.retry_in_s
        except SternwayError as trouble:
            self.troubles[service] = str(trouble)
            return UNEXPECTED_RETRY_S
        except Exception:  # noqa: BLE001  one service's bug must not stop the others; it is shown in `status`
            self.troubles[service] = traceback.format_exc()
            return UNEXPECTED_RETRY_S
        self.troubles.pop(service, None)
        return None if look_at_s is None else max(0.0, look_at_s - self._clock.now())
