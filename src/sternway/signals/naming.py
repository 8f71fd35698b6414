"""Whose request an entry of an access log is about: what an entry says of its way, and who reads it.

`OwnNames` reads the names that our own Envoy router gives, a contract with it: route `KIND|SERVICE|VERSION` (kind: split, pin,
preview, mirror; more parts may follow) or KIND alone, and cluster `SERVICE|VERSION` or `SERVICE|VERSION|shield`. The route says
to whom the request was sent, the cluster who answered it. A route named KIND alone is read by its cluster, which says less:

- Envoy logs no cluster when a version has no healthy replica, so the cluster alone loses these failures.
- Of an aggregate cluster Envoy logs the member that answered, so the cluster alone would blame stable for a rescue.

Behind a cluster named `…|shield`, two attempts mean that stable answered. `cluster_names` reads the names of meshes that are
not ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

_NAMES_KEPT = 10_000


class Sent(NamedTuple):
    """What an entry says of a request's way.

    proxy: the node id of the Envoy that tells of it. port: of the listener that it came in by; 0 when unknown. authority: the
    host that was asked for. route, cluster: their names. replica: `address:port` that was asked last; None when none was.
    """

    proxy: str
    port: int
    authority: str
    route: str
    cluster: str
    replica: str | None


class Named(NamedTuple):
    """Whom a request was sent to.

    route: split, pin, preview or mirror. rescued: another version answered. aggregate: at a second attempt another version
    answers. mixed: at a second attempt any version may be asked, so that attempts tell nothing of this one.
    """

    service: str
    version: str
    route: str = "split"
    rescued: bool = False
    aggregate: bool = False
    mixed: bool = False


class Attribution(Protocol):
    """Knows versions by the names that a mesh uses."""

    def named(self, sent: Sent) -> Named | None:
        """Whom a request was sent to; None for what is about no version that we look after."""
        ...

    def caller(self, sent: Sent) -> str | None:
        """Which service sent it; "" is the world outside the mesh, None is nobody who could be named."""
        ...


class OwnNames:
    """Implements Attribution for our own Envoy.

    caller_of: the service that owns an outbound listener's port, "" for an inbound one, None for any other.
    """

    def __init__(self, caller_of: Callable[[int], str | None]) -> None:
        self._caller_of = caller_of
        self._names: dict[tuple[str, str], Named | None] = {}

    def named(self, sent: Sent) -> Named | None:
        """See Attribution. Each pair of names is read once."""
        pair = sent.route, sent.cluster
        try:
            return self._names[pair]
        except KeyError:
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            named = self._names[pair] = _read_names(*pair)
            return named

    def caller(self, sent: Sent) -> str | None:
        """See Attribution."""
        return self._caller_of(sent.port) if sent.port else None


def _read_names(route: str, cluster: str) -> Named | None:
    """Split the names of a route and of the cluster that answered; None when they name no version."""
    kind, *sent = route.split("|")
    answered = cluster.split("|") if cluster else []
    if len(sent) < 2 and (len(answered) == 2 or answered[2:] == ["shield"]):
        sent = answered
    if len(sent) < 2:
        return None
    return Named(
        service=sent[0],
        version=sent[1],
        route=kind,
        rescued=len(answered) >= 2 and answered[1] != sent[1],
        aggregate=answered[2:] == ["shield"],
    )
