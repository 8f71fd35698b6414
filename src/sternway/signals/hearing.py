"""Of which versions the connected proxies have told. Used by the access log, one for all services.

A proxy opens its stream of logs with its first entry and keeps it open while nothing happens: who has told of a version and is
still connected would tell of it again, so silence means that nobody asked it. No traffic is no blindness.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Teller:
    """One stream of logs. proxy: the node id of the Envoy that opened it, which its first message says."""

    proxy: str = ""
    services: set[str] = field(default_factory=set)


class Hearing:
    """See the module."""

    def __init__(self) -> None:
        self._heard: dict[str, dict[str, set[Teller]]] = {}
        self._lost_s: dict[str, float] = {}

    def told(self, teller: Teller, service: str, version: str) -> bool:
        """A stream has told of a version. True when nobody was there before who had told of the service."""
        new = service not in self._heard
        self._heard.setdefault(service, {}).setdefault(version, set()).add(teller)
        teller.services.add(service)
        self._lost_s.pop(service, None)
        return new

    def gone(self, teller: Teller, now_s: float) -> tuple[str, ...]:
        """A stream has ended. Gives the services that nobody is there any more to tell of."""
        lost = []
        for service in teller.services:
            heard = self._heard.get(service, {})
            for version in [version for version, tellers in heard.items() if teller in tellers]:
                heard[version].discard(teller)
                if not heard[version]:
                    del heard[version]
            if service in self._heard and not heard:
                del self._heard[service]
                self._lost_s[service] = now_s
                lost.append(service)
        teller.services.clear()
        return tuple(lost)

    def versions(self, service: str) -> frozenset[str]:
        """The versions of a service that a connected proxy has told of."""
        return frozenset(self._heard.get(service, ()))

    def lost_s(self, service: str) -> float | None:
        """When the last proxy that had told of a service went; None when one is there, or none ever was."""
        return self._lost_s.get(service)

    def only(self, service: str, versions: Collection[str]) -> None:
        """Of these versions alone somebody wants to know; those of releases long past do not pile up."""
        heard = self._heard.get(service, {})
        for version in [version for version in heard if version not in versions]:
            if len(heard) > 1:  # as long as a proxy is there that told of the service, it is heard
                del heard[version]

    def forget(self, service: str) -> None:
        """The service is no more."""
        self._heard.pop(service, None)
        self._lost_s.pop(service, None)
