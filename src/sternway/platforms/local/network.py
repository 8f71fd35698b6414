"""Free ports for replicas, and whether something listens on one. Used by replica and health."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket

from sternway.errors import PlatformUnavailable

ADDRESS = "127.0.0.1"
FIRST, LAST = 20_000, 31_999
"""Below the ports that systems give to outgoing connections, which could take one between choice and use."""


class Ports:
    """Hands out ports of 127.0.0.1 that nobody listens on and that no other replica was given."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._next = FIRST + secrets.randbelow(LAST - FIRST)

    def take(self) -> int:
        """Choose a free port, held until it is given back."""
        for _ in range(LAST - FIRST + 1):
            port, self._next = self._next, FIRST + (self._next + 1 - FIRST) % (LAST - FIRST + 1)
            if port not in self._held and _is_free(port):
                self._held.add(port)
                return port
        raise PlatformUnavailable(
            f"no free port between {FIRST} and {LAST} on {ADDRESS}", hint="stop programs that listen there"
        )

    def keep(self, port: int) -> None:
        """Hold a port that an adopted replica uses."""
        self._held.add(port)

    def give_back(self, port: int) -> None:
        """Let another replica have it."""
        self._held.discard(port)


async def accepts(port: int, timeout_s: float = 1.0) -> str | None:
    """None when the port accepts a connection, otherwise why not."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, (ADDRESS, port))
        except TimeoutError:
            return f"port {port} did not accept a connection in {timeout_s:g} s"
        except OSError:
            return f"nothing listens on port {port}"
    return None


def _is_free(port: int) -> bool:
    for address in (ADDRESS, ""):
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
            try:
                sock.bind((address, port))
            except OSError:
                return False
    return True
