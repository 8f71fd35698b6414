"""A service as cheap as Python allows, so that what is measured is Sternway. Started by the local platform.

    python bench/service.py --port 8080 --version 3-e50

The version says how it does: `3-e50` fails 50 requests in a thousand, `e1000` all. Each answer carries
`x-version: VERSION@SECONDS`, the moment (of the monotonic clock, which processes share) when the request arrived.
The standard library alone; stops on SIGTERM once what is under way is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import time
from typing import cast


class Service(asyncio.Protocol):
    """One connection. Requests are answered in the moment in which they are whole, so nothing is ever under way."""

    version = "0-e0"
    bad = 0.0
    draining = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        at_s = time.monotonic()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, found, rest = head.partition(b"\r\ncontent-length:")
            whole = end + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._answer(at_s, healthy=b" /healthz " in head)

    def _answer(self, at_s: float, *, healthy: bool) -> None:
        status = b"200 OK" if healthy or random.random() >= self.bad else b"500 Internal Server Error"
        close = b"connection: close\r\n" if Service.draining else b""
        version = f"x-version: {self.version}@{at_s:.6f}\r\n".encode()
        self._transport.write(b"HTTP/1.1 " + status + b"\r\n" + version + close + b"content-length: 3\r\n\r\nok\n")


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT; connections that are open get a moment to move on."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(Service, "127.0.0.1", port)
    await stop.wait()
    Service.draining = True
    server.close()
    await asyncio.sleep(0.2)


def main() -> None:
    """Read the version and serve."""
    parser = argparse.ArgumentParser(description="A service to measure with.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    options = parser.parse_args()
    Service.version = options.version
    Service.bad = int(options.version.rpartition("-e")[2]) / 1000
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
