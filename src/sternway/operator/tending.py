"""Workloads in a cluster beside the passes: what is asked for is done in a task of the service's own. Made by `cluster`.

A request that hangs, or waits for its turn because the server is busy, keeps no pass of its service from the next one: traffic
never waits for a workload. What is under way when something else is asked for is cut off, because it rests on a decision
that holds no more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sternway.clock import Clock
from sternway.control.queue import WorkQueue
from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.errors import SternwayError
from sternway.kubernetes.errors import Conflict
from sternway.ports import Platform

_CONFLICT_S = (0.1, 5.0)
"""(first, most) to wait after a conflict, doubled each time: what is new may come late by the watch, which wakes us."""


class Tending:
    """Implements ports.Platform over a platform.

    before: done before each step; when it fails, the step is taken all the same. after: told of each. again: when to take the
    next step though nothing changes, in s of the clock.
    """

    def __init__(
        self,
        platform: Platform,
        *,
        clock: Clock,
        before: Callable[[str], Awaitable[None]],
        after: Callable[[str], None],
        again: Callable[[str], float | None],
    ) -> None:
        self._platform = platform
        self._before, self._after = before, after
        self._again = again
        self._clock = clock
        self._asked: dict[str, tuple[WorkloadRun, ...]] = {}
        self._conflicts: dict[str, int] = {}
        self._queue = WorkQueue(clock=clock, work=self._work)

    async def apply(self, service: str, runs: Sequence[WorkloadRun]) -> None:
        """See ports.Platform. Returns at once; `troubles` says what is in the way."""
        await self._queue.drop(service)
        self._asked[service] = tuple(runs)
        self._queue.wake(service)

    async def describe(self, service: str) -> tuple[WorkloadState, ...]:
        """See ports.Platform."""
        return await self._platform.describe(service)

    def look(self, service: str) -> None:
        """Something of the service changed: take the next step."""
        if service in self._asked:
            self._queue.wake(service)

    async def forget(self, service: str) -> None:
        """Do nothing more for a service."""
        self._asked.pop(service, None)
        self._conflicts.pop(service, None)
        await self._queue.drop(service)

    def troubles(self) -> dict[str, str]:
        """What is in the way, by service."""
        return self._queue.troubles

    async def close(self) -> None:
        """Stop; the next leader goes on."""
        await self._queue.close()

    async def _work(self, service: str) -> float | None:
        try:
            return await self._step(service)
        finally:
            self._after(service)

    async def _step(self, service: str) -> float | None:
        failure: SternwayError | None = None
        try:
            await self._before(service)
        except SternwayError as found:
            failure = found
        try:
            await self._platform.apply(service, self._asked[service])
        except Conflict:
            first, most = _CONFLICT_S
            tries = self._conflicts[service] = self._conflicts.get(service, 0) + 1
            return self._clock.now() + min(most, first * 2.0 ** min(tries, 16))
        self._conflicts.pop(service, None)
        if failure is not None:
            raise failure
        return self._again(service)
