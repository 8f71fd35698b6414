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


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong with requests that match; fields left out match any.

    error: what is raised: `lambda: Unreachable("429", retry_in_s=2)`. after: the request has its effect first, only the
    answer is lost. until: the request hangs until then. times: how often; None: until the fault is taken away.
    """

    verb: str = ""
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str | None = None
    error: Callable[[], Exception] | None = None
    after: bool = False
    until: asyncio.Event | None = None
    times: int | None = 1
    met: int = field(default=0, init=False)

    def takes(self, request: Request) -> bool:
        """Whether the request is to meet this fault."""
        return (
            (self.times is None or self.met < self.times)
            and self.verb in {"", request.verb}
            and self.resource in {None, request.resource}
            and self.namespace in {"", request.namespace}
            and self.name in {"", request.name}
            and self.subresource in {None, request.subresource}
        )
