"""How a service of the shop calls the next one: kept connections, through the mesh where http_proxy names it.

Used by `service`. A request goes out once: whether to repeat it is the mesh's decision.
"""

from __future__ import annotations

import http.client
import select
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 10.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class CallError(Exception):
    """No answer came: no connection, a reset, a time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back. `version`: who answered, and whom they asked."""

    status: int
    body: bytes
    version: str


class Calls:
    """A pool of connections, shared by the threads of a service."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._proxy = urlsplit(environment.get("http_proxy", "")).netloc
        self._idle: dict[str, list[http.client.HTTPConnection]] = defaultdict(list)
        self._lock = threading.Lock()

    def call(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answered:
        """Send one request. Raises CallError."""
        parts = urlsplit(url)
        direct = not self._proxy or parts.hostname in _LOOPBACK
        target = parts.path if direct else url  # a proxy is asked by the whole URL
        place = parts.netloc if direct else self._proxy
        connection = self._take(place)
        try:
            typed = {"content-type": "application/json"} if body else {}
            connection.request(method, target, body=body, headers={**headers, **typed})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise CallError(str(exc) or type(exc).__name__) from exc
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle[place].append(connection)
        return Answered(status=answer.status, body=content, version=answer.headers.get("x-version", ""))

    def _take(self, place: str) -> http.client.HTTPConnection:
        """Take a kept connection that the other side has not closed meanwhile, or a new one."""
        while True:
            with self._lock:
                connection = self._idle[place].pop() if self._idle[place] else None
            if connection is None:
                return http.client.HTTPConnection(place, timeout=TIMEOUT_S)
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
