"""Which port each listener has: chosen once, remembered in the state folder. Called by the router.

Loopback ports are part of what other programs know (addresses, processes' environment), so they outlive a
restart. A service keeps its own port where it can; every other port is taken from a range below the one that
systems hand out to outgoing connections, so that none is occupied by chance while Envoy is down.
"""

from __future__ import annotations

import errno
import json
import socket
import zlib
from pathlib import Path

from sternway.domain.versions import Service
from sternway.errors import Refused
from sternway.traffic.envoy import names

_FIRST, _LAST = 20_000, 29_999
_PRIVILEGED = 1024


class Ports:
    """Listener name -> port."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ports: dict[str, int] = {}

    def load(self) -> None:
        """Read what is remembered. Raises Refused when the file is not ours."""
        if not self._file.exists():
            return
        try:
            self._ports = {str(k): int(v) for k, v in json.loads(self._file.read_text()).items()}
        except (ValueError, AttributeError, TypeError) as exc:
            hint = "Remove the file: the listeners get new ports then, and running processes must be restarted."
            raise Refused(f"{self._file} does not hold the ports of listeners: {exc}", hint=hint) from exc

    def get(self, listener: str) -> int | None:
        """Return a listener's port, when it has one."""
        return self._ports.get(listener)

    def items(self) -> tuple[tuple[str, int], ...]:
        """List every listener and its port."""
        return tuple(self._ports.items())

    def for_service(self, service: Service) -> int:
        """Choose the inbound port: the service's own one. Raises Refused when another program listens on it."""
        listener, preferred = names.inbound(service.name), service.port
        known = self._ports.get(listener)
        ours = preferred in self._ports.values()
        if preferred is None or preferred < _PRIVILEGED or (ours and known != preferred):
            return self.choose(listener)
        if known == preferred:
            return known
        if not _free(preferred):
            raise Refused(
                f"port {preferred} of service {service.name} is taken by another program on this machine",
                hint="Stop that program (`lsof -i` names it), or change spec.ports[].port of the Service.",
            )
        return self._remember(listener, preferred)

    def choose(self, listener: str) -> int:
        """Choose the listener's port: the one that it has, or a free one."""
        if (known := self._ports.get(listener)) is not None:
            return known
        taken, count = set(self._ports.values()), _LAST - _FIRST + 1
        start = zlib.crc32(f"{self._file}{listener}".encode()) % count
        for step in range(count):
            port = _FIRST + (start + step) % count
            if port not in taken and _free(port):
                return self._remember(listener, port)
        hint = "Programs on this machine hold all of them; `lsof -i -P` names them."
        raise Refused(f"no port between {_FIRST} and {_LAST} is free for {listener}", hint=hint)

    def forget(self, *listeners: str) -> None:
        """Let others have the ports."""
        for listener in listeners:
            self._ports.pop(listener, None)
        self._save()

    def _remember(self, listener: str, port: int) -> int:
        self._ports[listener] = port
        self._save()
        return port

    def _save(self) -> None:
        draft = self._file.with_name(self._file.name + ".new")
        draft.write_text(json.dumps(self._ports, indent=1, sort_keys=True))
        draft.replace(self._file)


def _free(port: int) -> bool:
    """Whether Envoy could listen on the port of loopback, and nobody answers there on another address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) != 0
