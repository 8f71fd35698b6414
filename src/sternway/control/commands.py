"""People's commands on their way to the engine and its answer back. Called by the HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sternway.clock import Clock
from sternway.domain.releases import Reply, Verb
from sternway.errors import Refused
from sternway.ports import CommandQueue

PATIENCE_S = 20.0


class Commands:
    """Stores a command durably, wakes its service and waits for the engine's answer."""

    def __init__(
        self, *, queue: CommandQueue, clock: Clock, wake: Callable[[str], None], known: Callable[[str], bool]
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._wake = wake
        self._known = known
        self._waiting: dict[int, asyncio.Future[Reply]] = {}

    async def submit(self, service: str, verb: Verb, *, by: str, to: str | None = None, reason: str = "") -> Reply:
        """The engine's reply. Raises Refused for a service that does not exist."""
        if not self._known(service):
            raise Refused(f"there is no service {service}", hint="`sternway services` lists them")
        command = await self._queue.add(service, verb.value, by, self._clock.now(), to, reason)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[command.id] = future
        self._wake(service)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await future
        except TimeoutError:
            message = "the command is recorded and will be obeyed as soon as the service can be looked at"
            return Reply(command=command.id, accepted=True, message=message)
        finally:
            self._waiting.pop(command.id, None)

    def answer(self, reply: Reply) -> None:
        """Hand the engine's reply to whoever waits for it."""
        future = self._waiting.get(reply.command)
        if future is not None and not future.done():
            future.set_result(reply)
