"""Ports for what tests start: of a worker's own range, below those that the system and Sternway hand out by themselves.

A port that is asked of the system is free only until somebody else is given it: another worker, or an outgoing connection.
Sternway looks whether a port is free before it uses it, too, and so many platforms never start at once but in tests.
"""

from __future__ import annotations

import os
import random
import socket

from sternway.platforms.local import network
from sternway.traffic.envoy import ports

FIRST, EACH = 10_000, 1_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


class _Range:
    """Begins anywhere, so that two runs on one machine seldom meet, and comes back to a port as late as possible."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._next = random.SystemRandom().randrange(EACH)

    def take(self) -> int:
        for _ in range(EACH):
            port = self._first + self._next
            self._next = (self._next + 1) % EACH
            if _is_free(port):
                return port
        raise RuntimeError(f"no port from {self._first} on is free")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_RANGE = _Range(FIRST + _WORKER % 10 * EACH)


def keep_apart() -> None:
    """Have the platforms of this process choose their ports where those of other workers do not, and Envoy where no replica does."""
    first, each = network.FIRST, (network.LAST + 1 - network.FIRST) // 8
    ports._FIRST = first + _WORKER % 4 * 2 * each
    network.FIRST = ports._FIRST + each
    ports._LAST, network.LAST = network.FIRST - 1, network.FIRST + each - 1


def free_port() -> int:
    """One of 127.0.0.1 that nobody has, and that nobody else will be given."""
    return _RANGE.take()
