"""Follows one kind of objects: lists it, watches it, and tells which of them changed, by key alone.

    reflector = Reflector(api, DEPLOYMENTS, clock=clock, indexes={"owner": owners}, on_change=queue_it)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(reflector.run())
        await reflector.wait_synced()
        reflector.shelf.get("shop", "orders")

Rule: what is on the shelf may be old (`age_s` says how old), never half: an object is there as the server had it. What
happened unseen, while no watch ran, is found by listing again, deletions too.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from sternway.clock import Clock
from sternway.errors import SternwayError, Temporary
from sternway.kubernetes.api import Api, Change, Object, Resource, Told, key_of
from sternway.kubernetes.errors import Gone, Unreachable
from sternway.kubernetes.shelf import Index, Key, Shelf

_PAGE = 500
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def lean(obj: Object) -> Object:
    """Leave out what nobody reads and what fills the memory: managedFields, and what kubectl notes for itself."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if _LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: one for key, one in metadata["annotations"].items() if key != _LAST_APPLIED}
    return {**obj, "metadata": metadata}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects are followed; namespace "": in all."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""


EVERYWHERE = Selection()


class Reflector:
    """Keeps `shelf` as the server has it. on_change: given the key of what was added, changed or deleted.

    trim: what of an object is kept. backoff_s: (first, most) to wait after a failure, doubled each time.
    """

    def __init__(
        self,
        api: Api,
        resource: Resource,
        *,
        clock: Clock,
        where: Selection = EVERYWHERE,
        indexes: Mapping[str, Index] | None = None,
        trim: Callable[[Object], Object] = lean,
        on_change: Callable[[Key], None] = lambda _: None,
        backoff_s: tuple[float, float] = (0.5, 10.0),
    ) -> None:
        self.resource = resource
        self.shelf = Shelf(indexes or {})
        self.error: SternwayError | None = None
        self.lists = self.watches = 0
        """How many were begun: a watch that begins often ends often."""
        self._api, self._clock, self._trim, self._on_change = api, clock, trim, on_change
        self._where, self._backoff_s = where, backoff_s
        self._synced = asyncio.Event()
        self._heard_s = clock.now()
        self._failures = 0
        self._since = ""

    @property
    def synced(self) -> bool:
        """Whether it has listed everything once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until everything was listed once."""
        await self._synced.wait()

    def age_s(self) -> float:
        """How long ago the server last said anything: an event, a bookmark (one a minute), a list."""
        return self._clock.now() - self._heard_s

    async def run(self) -> None:
        """Follow for ever. `error` says what is wrong while it does not succeed."""
        page = _PAGE
        while True:
            try:
                if not self._since:
                    await self._list(page)
                    page = _PAGE
                await self._watch()
            except Gone as exc:
                # A list in pages that takes longer than the history is kept would never end: then all at once.
                page = page if self._since else 0
                self._since = ""
                self._fail(exc)
            except SternwayError as exc:
                self._fail(exc)
            except Exception:  # noqa: BLE001  what nobody thought of must not leave everybody with an old view for ever
                self._since = ""  # what came last may be half taken in
                self._fail(Unreachable(traceback.format_exc()))
            await asyncio.sleep(self._pause_s())

    def _fail(self, error: SternwayError) -> None:
        self.error = error
        self._failures += 1

    async def _list(self, page: int) -> None:
        self.lists += 1
        listed = await self._api.list(
            self.resource,
            namespace=self._where.namespace,
            labels=self._where.labels,
            fields=self._where.fields,
            page=page,
        )
        gone = self.shelf.keys() - {key_of(obj) for obj in listed.items}
        changed = [key_of(obj) for obj in listed.items if self.shelf.put(self._trim(obj))]
        for key in gone:
            self.shelf.drop(key)
        self._hear(listed.resource_version)
        self._synced.set()
        for key in (*changed, *gone):
            self._on_change(key)

    async def _watch(self) -> None:
        self.watches += 1
        watch = self._api.watch(
            self.resource,
            since=self._since,
            namespace=self._where.namespace,
            labels=self._where.labels,
            fields=self._where.fields,
        )
        async with aclosing(cast("AsyncGenerator[Told]", watch)):
            async for told in watch:
                self._take(told)

    def _take(self, told: Told) -> None:
        self._hear(told.object["metadata"]["resourceVersion"])
        if told.change is Change.BOOKMARK:
            return
        key = key_of(told.object)
        deleted = told.change is Change.DELETED
        known = self.shelf.drop(key) if deleted else self.shelf.put(self._trim(told.object))
        if known:
            self._on_change(key)

    def _hear(self, version: str) -> None:
        self._since = version
        self._heard_s = self._clock.now()
        self._failures = 0
        self.error = None

    def _pause_s(self) -> float:
        """Wait a little after a watch that ended, longer after each failure; never all reflectors at once."""
        first, most = self._backoff_s
        longest = min(most, first * 2.0 ** min(self._failures, 16))
        asked = self.error.retry_in_s if isinstance(self.error, Temporary) else 0.0
        return max(asked, longest * random.uniform(0.5, 1.0))  # noqa: S311 # jitter
