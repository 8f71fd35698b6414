"""TCP ports of `sternway up` that monitoring.yaml asks for: where Alertmanager posts, and where Prometheus scrapes.

Each part says what it serves and where it is wanted now; this follows. Parts that want the same address share a server. The
rest of the API stays on its socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import web

LOOK_EVERY_S = 1.0
MOST_BYTES = 4_000_000


class Part(Protocol):
    """Something that is served. name: what its troubles are shown under."""

    name: str

    def listen(self) -> str | None:
        """`HOST:PORT` where it is wanted now; None: nowhere."""
        ...

    def routes(self) -> Sequence[web.RouteDef]:
        """What it serves."""
        ...


class Listeners:
    """Listens where the parts are wanted. tell: (part, what is in its way, "" when nothing is)."""

    def __init__(
        self, parts: Sequence[Part], *, tell: Callable[[str, str], None] = lambda _part, _trouble: None
    ) -> None:
        self._parts = parts
        self._tell = tell
        self._open: dict[str, tuple[tuple[Part, ...], web.AppRunner]] = {}

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                await self.follow()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await self._close(self._open)

    async def follow(self) -> None:
        """Listen where it is wanted now."""
        wanted: dict[str, tuple[Part, ...]] = {}
        for part in self._parts:
            address = part.listen()
            if address is None:
                self._tell(part.name, "")
            else:
                wanted[address] = (*wanted.get(address, ()), part)
        await self._close({at: one for at, one in self._open.items() if wanted.get(at) != one[0]})
        for address, parts in wanted.items():
            if address not in self._open:
                await self._start(address, parts)

    async def _start(self, address: str, parts: tuple[Part, ...]) -> None:
        app = web.Application(client_max_size=MOST_BYTES)
        for part in parts:
            app.add_routes(part.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        host, _, port = address.rpartition(":")
        trouble = ""
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as exc:
            await runner.cleanup()
            trouble = f"{address} cannot be listened on: {exc.strerror or exc}"
        else:
            self._open[address] = parts, runner
        for part in parts:
            self._tell(part.name, trouble)

    async def _close(self, some: Mapping[str, tuple[tuple[Part, ...], web.AppRunner]]) -> None:
        for address, (_, runner) in list(some.items()):
            del self._open[address]
            await runner.cleanup()
