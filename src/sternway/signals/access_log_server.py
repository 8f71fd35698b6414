"""The port to which the proxies of a cluster send their access log. Opened by `sternway.cluster` while it leads.

Plain gRPC, as Envoy speaks it. A stand-by does not listen: what it is told would not be judged, and a proxy that is refused asks
the next replica, or again.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio

from sternway.errors import InvalidInput, Problem

OFF = "off"
_LOST_AFTER_MS = 10_000
"""A proxy whose machine has gone without a word is asked for a sign of life this often."""
_OPTIONS = (
    ("grpc.keepalive_time_ms", _LOST_AFTER_MS),
    ("grpc.keepalive_timeout_ms", _LOST_AFTER_MS // 2),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.so_reuseport", 0),
)


class AccessLogServer:
    """Listens at `HOST:PORT`, or nowhere when that is `off`. register: adds what is served."""

    def __init__(self, listen: str, register: Callable[[grpc.aio.Server], None]) -> None:
        self._listen = listen
        self._register = register
        self._server: grpc.aio.Server | None = None
        self.port = 0
        """That is listened at; 0 when nobody listens."""

    async def start(self) -> None:
        """Listen from now on. Raises InvalidInput when that cannot be done."""
        if self._listen in ("", OFF):
            return
        server = grpc.aio.server(options=_OPTIONS)
        self._register(server)
        try:
            self.port = server.add_insecure_port(self._listen)
        except RuntimeError as exc:
            said = f"nothing can listen at {self._listen}: {exc}"
            problem = Problem(file="--access-log", message=said, fix="say HOST:PORT of a free port, or off")
            raise InvalidInput((problem,)) from exc
        self._server = server
        await server.start()

    async def stop(self) -> None:
        """Close every stream; the proxies open them anew as soon as somebody listens."""
        self.port = 0
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
