"""Everything that is known of a cluster, in memory: one reflector for each kind, read by all our adapters.

Implements the readers of `kubernetes.reading` and of the routers; a read costs no request. Used by the composition root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sternway.clock import Clock
from sternway.kubernetes.api import Api, Object, Resource, key_of
from sternway.kubernetes.ours import GATE
from sternway.kubernetes.patience import served
from sternway.kubernetes.reading import INDEXES
from sternway.kubernetes.reflector import Reflector, Selection, lean
from sternway.kubernetes.remembered import Basis
from sternway.kubernetes.resources import GUARDS, JOBS, PODS, POLICIES, RELEASES, REPLICA_SETS, SECRETS
from sternway.kubernetes.shelf import Index, Key, owners

OWNERS, NAMES, NAMESPACE, ADDRESS = "owner", "about", "namespace", "address"
NAME, EVERY = "name", "every"
"""What is no index: one object, all of a kind."""
_OURS_BY_FIELDS = (PODS, REPLICA_SETS)
"""Kinds of which nobody asks who owns which field: there are many of them, and that is most of their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """How a kind is followed: lists and watches begun since the start; how long the API has said nothing of it."""

    plural: str
    lists: int
    watches: int
    silent_s: float


class Stores:
    """The shelves. changed: called with a kind and an object when it was added, changed or deleted.

    viewed: called instead of `changed` where only the status of one of our own kinds did: a view, which nothing rests on.
    namespaces: those that are followed; empty: all. about: which services a route is about.
    beside: a further namespace in which a kind is followed.
    """

    def __init__(
        self,
        api: Api,
        *,
        clock: Clock,
        changed: Callable[[Resource, Object], None],
        viewed: Callable[[Resource, Object], None] = lambda *_: None,
        about: Callable[[Object], Iterable[str]],
        namespaces: Sequence[str] = (),
        beside: Mapping[Resource, str] | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._changed = changed
        self._viewed = viewed
        self._about = about
        self._namespaces = tuple(namespaces) or ("",)
        self._beside = dict(beside or {})
        self._reflectors: dict[Resource, tuple[Reflector, ...]] = {}
        self._routes: frozenset[Resource] = frozenset()
        self._last: dict[tuple[Resource, Key], Object] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.basis = Basis()
        """See kubernetes.reading.Reader."""

    async def start(self, resources: Sequence[Resource], *, routes: Sequence[Resource] = ()) -> None:
        """Follow these kinds, those of them that the API serves, and return when all is known. routes: for `about`."""
        wanted = tuple(dict.fromkeys((*resources, *routes)))
        there = await asyncio.gather(*(served(self._api, one) for one in wanted))
        self._routes = frozenset(routes)
        for resource in (one for one, found in zip(wanted, there, strict=True) if found):
            self._reflectors[resource] = tuple(self._reflector(resource, space) for space in self._spaces(resource))
        everyone = [one for reflectors in self._reflectors.values() for one in reflectors]
        self._tasks = [asyncio.create_task(one.run(), name=f"follow {one.resource.plural}") for one in everyone]
        await asyncio.gather(*(one.wait_synced() for one in everyone))

    async def close(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def serves(self, resource: Resource) -> bool:
        """Whether the API has this kind."""
        return resource in self._reflectors

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See kubernetes.reading.Reader."""
        self.basis.asked((resource.plural, NAME, (namespace, name)))
        found = (one.shelf.get(namespace, name) for one in self._reflectors.get(resource, ()))
        return next((obj for obj in found if obj is not None), None)

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """See kubernetes.reading.Reader."""
        if namespace:
            return self._under(resource, NAMESPACE, namespace)
        self.basis.asked((resource.plural, EVERY, ""))
        return tuple(obj for one in self._reflectors.get(resource, ()) for obj in one.shelf)

    def find(self, resource: Resource, index: Index, word: str, namespace: str) -> Sequence[Object]:
        """See kubernetes.reading.Reader."""
        return self._under(resource, index.__name__, f"{namespace}/{word}")

    def owned(self, resource: Resource, uid: str) -> Sequence[Object]:
        """See kubernetes.reading.Reader."""
        return self._under(resource, OWNERS, uid)

    def about(self, resource: Resource, service: str) -> Sequence[Object]:
        """The objects of a kind of routes that are about a service."""
        return self._under(resource, NAMES, service)

    def at(self, address: str) -> Sequence[Object]:
        """The pods that have an address of their own."""
        return self._under(PODS, ADDRESS, address)

    def named_in(self, resource: Resource, obj: Object) -> frozenset[str]:
        """The services that a route is about."""
        return frozenset(self._about(obj)) if resource in self._routes else frozenset()

    def followed(self) -> tuple[Followed, ...]:
        """How each kind is followed."""
        return tuple(
            Followed(
                plural=resource.plural,
                lists=sum(one.lists for one in reflectors),
                watches=sum(one.watches for one in reflectors),
                silent_s=max(one.age_s() for one in reflectors),
            )
            for resource, reflectors in self._reflectors.items()
        )

    def troubles(self) -> dict[str, str]:
        """Which kinds cannot be followed now, and why."""
        everyone = (one for reflectors in self._reflectors.values() for one in reflectors)
        return {one.resource.plural: str(one.error) for one in everyone if one.error is not None}

    def _under(self, resource: Resource, index: str, word: str) -> tuple[Object, ...]:
        self.basis.asked((resource.plural, index, word))
        return tuple(obj for one in self._reflectors.get(resource, ()) for obj in one.shelf.find(index, word))

    def _spaces(self, resource: Resource) -> tuple[str, ...]:
        if not resource.namespaced or not any(self._namespaces):
            return ("",)
        further = self._beside.get(resource)
        return tuple(dict.fromkeys((*self._namespaces, *((further,) if further else ()))))

    def _reflector(self, resource: Resource, namespace: str) -> Reflector:
        indexes: dict[str, Index] = {OWNERS: owners, NAMESPACE: _namespace}
        indexes |= {index.__name__: partial(_placed, index) for index in INDEXES}
        if resource in self._routes:
            indexes[NAMES] = self._about
        if resource == PODS:
            indexes[ADDRESS] = _addresses

        def questions(obj: Object) -> Iterator[tuple[str, str, object]]:
            """Everything that finds an object."""
            yield from ((resource.plural, NAME, key_of(obj)), (resource.plural, EVERY, ""))
            yield from ((resource.plural, name, word) for name, index in indexes.items() for word in index(obj))

        def told(key: Key) -> None:
            known = reflector.shelf.get(*key)
            gone = self._last.pop((resource, key), None)
            if known is not None:
                self._last[resource, key] = known
            if resource in _VIEWED and gone is not None and known is not None and _said(gone) == _said(known):
                self._viewed(resource, known)
                return
            for one in (gone, known):
                self.basis.changed(questions(one) if one is not None else ())
            obj = known or gone
            if obj is not None:
                self._changed(resource, obj)

        reflector = Reflector(
            self._api,
            resource,
            clock=self._clock,
            where=Selection(namespace=namespace, fields=_FIELDS.get(resource, ""), labels=_LABELS.get(resource, "")),
            indexes=indexes,
            trim=lean if resource in _OURS_BY_FIELDS else _as_it_is,
            on_change=told,
        )
        return reflector


_VIEWED = (GUARDS, POLICIES, RELEASES)
"""Kinds whose status is our own view."""

_FIELDS = {SECRETS: "type!=helm.sh/release.v1"}
"""Helm keeps every revision of a chart as a Secret: large, many, and nothing that a pod uses."""

_LABELS = {JOBS: GATE}
"""Of Jobs our own alone."""


def _namespace(obj: Object) -> Iterable[str]:
    return (str(obj["metadata"].get("namespace", "")),)


def _said(obj: Object) -> Object:
    """An object of our own kinds without its status, and what the API server notes of each write."""
    noted = ("managedFields", "resourceVersion")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in noted}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def _placed(index: Index, obj: Object) -> Iterable[str]:
    """The words of an index, each in the object's namespace."""
    namespace = obj["metadata"].get("namespace", "")
    return [f"{namespace}/{word}" for word in index(obj)]


def _addresses(pod: Object) -> Iterable[str]:
    """The IPs of a pod, while they are its own: not those of its machine, nor those that it has given back."""
    status = pod.get("status") or {}
    if (pod.get("spec") or {}).get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return ()
    return {str(one["ip"]) for one in status.get("podIPs") or ()} | (
        {str(status["podIP"])} if status.get("podIP") else set()
    )


def _as_it_is(obj: Object) -> Object:
    return obj
