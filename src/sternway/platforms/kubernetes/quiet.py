"""How long requests have gone the way that they go now. Used by `platform`.

Objects say at once where requests are to go; each proxy of a mesh, and each node, learns of it when it does. Pods that
nothing leads to any more therefore stay for a while: until then some proxy may still send requests to them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sternway.clock import Clock

Way = tuple[frozenset[str], tuple[tuple[str, str], ...]]
"""The Services of ours that routes lead to, and what the user's own Service and our stable one select."""


class Quiet:
    """See the module. linger_s: how long proxies may take to learn of a change. After a start nobody knows, so it is waited."""

    def __init__(self, clock: Clock, linger_s: float) -> None:
        self._clock = clock
        self._linger_s = linger_s
        self._ways: dict[str, tuple[Way, float]] = {}

    def until(self, service: str, carrying: Collection[str], selector: Mapping[str, str]) -> float | None:
        """When every proxy will know the present way; None when they do."""
        way = (frozenset(carrying), tuple(sorted(selector.items())))
        known, since_s = self._ways.get(service, (None, 0.0))
        if known != way:
            since_s = self._clock.now()
            self._ways[service] = (way, since_s)
        end_s = since_s + self._linger_s
        return end_s if self._clock.now() < end_s else None

    def forget(self, service: str) -> None:
        """A service is no concern of ours any more."""
        self._ways.pop(service, None)
