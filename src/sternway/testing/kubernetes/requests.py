"""What a fake API was asked, and what is to go wrong in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sternway.kubernetes.api import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of the API, in the words of a Role. A list in three pages is three."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


WRITES = ("create", "update", "patch", "delete")


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong with requests that match; fields left out match any. verb `write`: any that changes something.

    error: what is raised: `lambda: Unreachable("429", retry_in_s=2)`. after: the request has its effect first, only the
    answer is lost. until: the request hangs until then. delay_s: it takes so long. every: only each n-th that matches.
    times: how often; None: until the fault is taken away.
    """

    verb: str = ""
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str | None = None
    error: Callable[[], Exception] | None = None
    after: bool = False
    until: asyncio.Event | None = None
    delay_s: float = 0.0
    every: int = 1
    times: int | None = 1
    met: int = field(default=0, init=False)
    matched: int = field(default=0, init=False)

    def takes(self, request: Request) -> bool:
        """Whether the request is to meet this fault; counts those that could."""
        fits = (
            (self.times is None or self.met < self.times)
            and (self.verb in {"", request.verb} or (self.verb == "write" and request.verb in WRITES))
            and self.resource in {None, request.resource}
            and self.namespace in {"", request.namespace}
            and self.name in {"", request.name}
            and self.subresource in {None, request.subresource}
        )
        self.matched += fits
        return fits and self.matched % self.every == 0
