"""A Kubernetes API in one process, with faults on request and a record of what it was asked. Passes the suite of the real.

fake = FakeKubernetes(kinds=[VIRTUAL_SERVICES])
await fake.create(SERVICES, {...})
fake.faults.append(Fault(verb="patch", error=lambda: Unreachable("429", retry_in_s=1)))
assert fake.count(verb="patch") == 1
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sternway.clock import Clock
from sternway.kubernetes.api import MANAGER, Change, Listed, Object, Patch, Resource, Told, name_of, namespace_of
from sternway.kubernetes.errors import Gone
from sternway.kubernetes.resources import GUARDS, MESH_POLICIES, POLICIES, RELEASES
from sternway.testing.kubernetes.patches import copied
from sternway.testing.kubernetes.requests import Fault, Request
from sternway.testing.kubernetes.selectors import Matches
from sternway.testing.kubernetes.store import Entry, Store

T = TypeVar("T")

OURS = (GUARDS, RELEASES, POLICIES, MESH_POLICIES)


class FakeKubernetes:
    """Implements `Api`. kinds: custom resources that are installed, beside our own.

    `store`: the same without waiting, faults and record, for what others do to the cluster; of another one: its objects.
    """

    def __init__(
        self,
        *,
        kinds: Iterable[Resource] = (),
        ours: Iterable[Resource] = OURS,
        namespaces: Iterable[str] = ("default", "shop"),
        clock: Clock | None = None,
        store: Store | None = None,
    ) -> None:
        self.store = store or Store(kinds=(*kinds, *ours), namespaces=namespaces, clock=clock)
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lag_s = 0.0
        """So much later watches tell what happened."""
        self._ended = 0
        self._end_error: Callable[[], Exception] | None = None
        self._bells: set[asyncio.Event] = set()
        self.store.listeners.append(self._ring)

    # For tests --------------------------------------------------------------------------------------------------------

    def door(self) -> FakeKubernetes:
        """Another way to the same cluster, with faults and a record of its own."""
        return FakeKubernetes(store=self.store)

    def count(self, *, verb: str = "", resource: Resource | None = None) -> int:
        """How many requests there were, of a verb, for a kind."""
        return sum(verb in {"", one.verb} and resource in {None, one.resource} for one in self.requests)

    def end_watches(self, error: Callable[[], Exception] | None = None) -> None:
        """End every watch that runs, as an API server does now and then; with an error: as it fails."""
        self._ended += 1
        self._end_error = error
        self._ring()

    def forget(self) -> None:
        """Drop the history: who watches from before it is told 410."""
        self.store.forgotten = self.store.version

    def bookmark(self) -> None:
        """Tell every watch where it stands."""
        mark = {"metadata": {"resourceVersion": str(self.store.version)}}
        for history in self.store.history.values():
            history.append(Entry(version=self.store.version, change=Change.BOOKMARK, object=mark))
        self._ring()

    @property
    def watches(self) -> int:
        """How many watches run."""
        return len(self._bells)

    # Api --------------------------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Api."""
        request = Request(verb="get", resource=resource, namespace=namespace, name=name)
        return await self._answer(request, lambda: self.store.get(resource, name, namespace))

    async def list(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = "", page: int = 500
    ) -> Listed:
        """See Api."""
        request = Request(verb="list", resource=resource, namespace=namespace)
        listed: Listed | None = None
        pages = 0
        while listed is None or 0 < pages * page < len(listed.items):
            if listed is not None and self.store.forgotten > int(listed.resource_version):
                raise Gone("the provided continue parameter is too old")
            found = await self._answer(
                request,
                lambda: Listed(
                    items=self.store.select(resource, namespace=namespace, labels=labels, fields=fields),
                    resource_version=str(self.store.version),
                ),
            )
            listed = listed or found
            pages += 1
        return listed

    async def watch(
        self, resource: Resource, *, since: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> AsyncIterator[Told]:
        """See Api."""
        request = Request(verb="watch", resource=resource, namespace=namespace)
        matches = await self._answer(
            request, lambda: self.store.matching(resource, namespace=namespace, labels=labels, fields=fields)
        )
        if int(since) < self.store.forgotten:
            raise Gone(f"too old resource version: {since}")
        history = self.store.history[resource.group, resource.plural]
        at = bisect.bisect_right(history, int(since), key=lambda entry: entry.version)
        bell, ended = asyncio.Event(), self._ended
        self._bells.add(bell)
        try:
            while ended == self._ended:
                bell.clear()
                while at < len(history):
                    told = _told(history[at], matches)
                    at += 1
                    if told is not None:
                        yield told
                if ended == self._ended:
                    await bell.wait()
                    await asyncio.sleep(self.lag_s)
        finally:
            self._bells.discard(bell)
        if self._end_error is not None:
            raise self._end_error()

    async def create(self, resource: Resource, obj: Object) -> Object:
        """See Api."""
        name, namespace = obj["metadata"].get("name", ""), namespace_of(obj)
        request = Request(verb="create", resource=resource, namespace=namespace, name=name)
        return await self._answer(request, lambda: self.store.create(resource, obj))

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """See Api."""
        request = Request(
            verb="update",
            resource=resource,
            namespace=namespace_of(obj),
            name=name_of(obj),
            subresource=subresource,
        )
        return await self._answer(request, lambda: self.store.replace(resource, obj, subresource=subresource))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str = "",
        how: Patch = Patch.MERGE,
        subresource: str = "",
        manager: str = MANAGER,
        force: bool = False,
    ) -> Object | None:
        """See Api."""
        return await self._answer(
            Request(verb="patch", resource=resource, namespace=namespace, name=name, subresource=subresource),
            lambda: self.store.patch(
                resource,
                name,
                patch,
                namespace=namespace,
                how=how,
                subresource=subresource,
                manager=manager,
                force=force,
            ),
        )

    async def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "") -> None:
        """See Api."""
        request = Request(verb="delete", resource=resource, namespace=namespace, name=name)
        await self._answer(request, lambda: self.store.delete(resource, name, namespace, uid=uid))

    async def serves(self, resource: Resource) -> bool:
        """See Api."""
        return await self._answer(Request(verb="discover", resource=resource), lambda: self.store.serves(resource))

    # Inside -----------------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, effect: Callable[[], T]) -> T:
        self.requests.append(request)
        await asyncio.sleep(0)
        fault = next((one for one in self.faults if one.takes(request)), None)
        if fault is None:
            return effect()
        fault.met += 1
        if fault.until is not None:
            await fault.until.wait()
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.error is None:
            return effect()
        if fault.after:
            effect()
        raise fault.error()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()


def _told(entry: Entry, matches: Matches) -> Told | None:
    """Give what a watch of a selection is told: an object that leaves it is deleted for it, one that enters is added."""
    if entry.change is Change.BOOKMARK:
        return Told(change=entry.change, object=copied(entry.object))
    was = entry.before is not None and matches(entry.before)
    now = entry.change is not Change.DELETED and matches(entry.object)
    if not was and not now:
        return None
    change = Change.MODIFIED if was and now else Change.ADDED if now else Change.DELETED
    return Told(change=change, object=copied(entry.object))
