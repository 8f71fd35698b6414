"""One GET over the unix socket with the standard library alone. Used by completion, where every millisecond is felt."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

PATIENCE_S = 0.5


def get(path: Path, url: str) -> Any:
    """Give the JSON value. Raises OSError or ValueError."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", url)
        return json.loads(connection.getresponse().read())
    except http.client.HTTPException as exc:
        raise ValueError(str(exc)) from exc
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("sternway", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))
