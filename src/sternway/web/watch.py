"""A stream of statuses: one each time something changed. Called by `web.api` and by `sternway up`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from sternway.control.status import PlatformStatus
from sternway.web import gather
from sternway.web.services import Services

AT_MOST_EVERY_S = 0.2
AT_LEAST_EVERY_S = 2.0


async def watch(services: Services, *, at_least_every_s: float = AT_LEAST_EVERY_S) -> AsyncIterator[PlatformStatus]:
    """Give the status now, then each time that it changed, and when nothing did, every `at_least_every_s`."""
    last: PlatformStatus | None = None
    marks: tuple[object, ...] = ()
    while True:
        before, marks = marks, await _marks(services)
        stale = last is None or services.clock.now() - last.at_s >= at_least_every_s
        if stale or not _same(before, marks):
            now = await gather.status(services)
            if stale or last is None or replace(last, at_s=now.at_s) != now:
                last = now
                yield now
        await asyncio.sleep(AT_MOST_EVERY_S)


async def _marks(services: Services) -> tuple[object, ...]:
    """Collect what is replaced by a new object whenever something happened: cheap to read, cheap to compare."""
    wanted = services.git.catalogue.wanted if services.git.catalogue else ()
    progress = [await services.reconciler.progress(w.service.name) for w in wanted]
    troubles = tuple(gather.troubles_now(services).values())
    return (services.git.head, services.git.problems, services.router.connected, *progress, *troubles)


def _same(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    return len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True))
