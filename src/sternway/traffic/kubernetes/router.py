"""The traffic router of a cluster: plans in, objects of the service's mesh out. Made by the operator.

Implements `ports.TrafficRouter`. A pass reads only what a reflector keeps, so it costs no request; a plan that differs from
what stands there costs one write for each object that differs, all at once: usually one. A conflict is read again and
tried again at once. A plan that takes everything to one version is written in the end whatever else changed: a
rollback cannot be blocked.

A plan counts as applied when the mesh says so, where it says anything; `standing` tells which it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from sternway.domain.traffic import Can, Split, TrafficPlan
from sternway.errors import NotApplied, Refused, SternwayError, Temporary
from sternway.kubernetes.api import Api, Object, Patch, Resource, key_of
from sternway.kubernetes.backends import Backends
from sternway.kubernetes.errors import Conflict, Invalid
from sternway.traffic.kubernetes.changes import Change, How, changes, difference
from sternway.traffic.kubernetes.dialect import (
    Dialect,
    Standing,
    Wish,
    Witness,
    refuse_what_it_cannot,
    touched,
    wish_of,
)

_TRIES = 6
_GUARDED_TRIES = 4
_LAG_S = 10.0


class Reader(Protocol):
    """What is known of the cluster, without asking it."""

    def about(self, resource: Resource, service: str) -> Sequence[Object]:
        """Every object of a kind that names the service: an index by `registry.services_of`."""
        ...


def nobody(_: str) -> Object | None:
    """No owner: what we make outlives the Guard until it is released."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fresh:
    """What a write of ours brought back; None: it is gone. The reader has it too, in a while. about: which services."""

    obj: Object | None
    about: frozenset[str]
    until_s: float


class KubernetesRouter:
    """See the module.

    dialects: every mesh there is. dialect: which of them carries a service. backends: what the platform published. owner:
    the owner reference of a service's Guard. patience_s: how long a mesh may take to say that it has taken a plan.
    """

    def __init__(
        self,
        api: Api,
        *,
        reader: Reader,
        dialects: Sequence[Dialect],
        dialect: Callable[[str], Dialect],
        backends: Callable[[str], Backends | None],
        owner: Callable[[str], Object | None] = nobody,
        patience_s: float = 5.0,
    ) -> None:
        self.capabilities: frozenset[Can] = frozenset().union(*(one.capabilities for one in dialects))
        self._api = api
        self._reader = reader
        self._dialects = dialects
        self._dialect = dialect
        self._backends = backends
        self._owner = owner
        self._patience_s = patience_s
        self._told: dict[str, TrafficPlan] = {}
        self._fresh: dict[tuple[Resource, str, str], _Fresh] = {}
        self._known: dict[str, tuple[object, TrafficPlan | None]] = {}
        self._by: dict[str, Dialect] = {}

    def can(self, service: str) -> frozenset[Can]:
        """What the mesh of a service can do; `capabilities` is what any can."""
        return self._mesh(service).capabilities

    def standing(self, service: str) -> Standing | None:
        """What stands in the objects, and whether the mesh has confirmed it; for people."""
        backends, dialect = self._backends(service), self._mesh(service)
        return dialect.read(backends, self._seen(service, dialect)) if backends is not None else None

    def carrying(self, service: str) -> frozenset[str]:
        """Our Services that stand in some route of any mesh: they may not go yet."""
        backends = self._backends(service)
        if backends is None:
            return frozenset()
        found = (one.read(backends, self._seen(service, one)) for one in self._dialects if one.routes)
        return frozenset(name for standing in found if standing is not None for name, _ in standing.shares)

    def told(self, service: str) -> TrafficPlan | None:
        """The plan that was applied last by this process."""
        return self._told.get(service)

    async def apply(self, plan: TrafficPlan) -> None:
        """See ports.TrafficRouter."""
        service = plan.service.name
        if plan.service.port is not None:
            dialect, wish = self._mesh(service), self._wish(plan)
            refuse_what_it_cannot(dialect, wish)
            if self._not_adopted(wish.backends, dialect, self._seen(service, dialect)):
                self._told[service] = plan
                return
            await self._converge(service, dialect, partial(dialect.write, wish), must=wish.takes_away)
            if self._by.get(service) is not dialect:
                await self._leave_others(service, dialect)
                self._by[service] = dialect
            await self._witnessed(service, dialect)
        self._told[service] = plan

    async def observe(self, service: str) -> TrafficPlan | None:
        """See ports.TrafficRouter. The plan as applied, or what somebody made of it since."""
        told = self._told.get(service)
        if told is None or told.service.port is None:
            return told
        dialect = self._mesh(service)
        seen = self._seen(service, dialect)
        known_by = (told, self._backends(service), [(id(obj), obj["metadata"].get("resourceVersion")) for obj in seen])
        known = self._known.get(service)
        if known is None or known[0] != known_by:
            known = self._known[service] = (known_by, self._observed(told, dialect, seen))
        return known[1]

    async def release(self, service: str) -> None:
        """See ports.TrafficRouter. Whatever mesh carried the service: the Guard that said it may be gone."""
        for dialect in self._dialects:
            if self._seen(service, dialect):
                await self._converge(service, dialect, partial(dialect.restore, service), must=True)
        self._told.pop(service, None)
        self._known.pop(service, None)
        self._by.pop(service, None)

    def _mesh(self, service: str) -> Dialect:
        """The mesh of a service. Where it cannot be told any more, the one that carried it: a rollback must not wait for it."""
        try:
            return self._dialect(service)
        except Refused:
            if service not in self._by:
                raise
            return self._by[service]

    async def _leave_others(self, service: str, dialect: Dialect) -> None:
        """Give back the routes of other meshes, where the service was shared out before."""
        for other in self._dialects:
            kinds = [kind for kind in other.reads if kind not in dialect.reads]
            if not kinds:
                continue
            if any(touched(obj, service) for obj in self._seen(service, other, kinds)):
                await self._converge(service, other, partial(other.restore, service), must=True, kinds=kinds)

    def _wish(self, plan: TrafficPlan) -> Wish:
        service = plan.service.name
        backends = self._backends(service)
        if backends is None:
            raise NotApplied(f"it is not known yet where {service} runs", hint="Its Deployment is being prepared.")
        return wish_of(plan, backends, self._owner(service))

    def _seen(self, service: str, dialect: Dialect, kinds: Sequence[Resource] = ()) -> tuple[Object, ...]:
        """What the reader knows, with what our own writes brought back since. kinds: of these alone, else all that it reads."""
        kinds = kinds or dialect.reads
        found = {
            (kind, *key_of(obj)): obj
            for kind in kinds
            for obj in self._reader.about(kind, service)
            if service in dialect.names(obj)
        }
        now_s = asyncio.get_running_loop().time()
        for key in [key for key, fresh in self._fresh.items() if fresh.until_s < now_s]:
            del self._fresh[key]
        for key, fresh in self._fresh.items():
            if key[0] not in kinds:
                continue
            if fresh.obj is None:
                found.pop(key, None)
            elif service in fresh.about and service in dialect.names(fresh.obj) and _newer(fresh.obj, found.get(key)):
                found[key] = fresh.obj
        return tuple(
            obj for _, obj in sorted(found.items(), key=lambda one: (dialect.reads.index(one[0][0]), one[0][1:]))
        )

    def _not_adopted(self, backends: Backends, dialect: Dialect, seen: Sequence[Object]) -> bool:
        """Before there is a twin, and while nothing is shared out, the users' routes reach the users' pods: all is well."""
        return backends.stable is None and dialect.read(backends, seen) is None

    def _observed(self, told: TrafficPlan, dialect: Dialect, seen: Sequence[Object]) -> TrafficPlan | None:
        backends = self._backends(told.service.name)
        if backends is None:
            return None
        if self._not_adopted(backends, dialect, seen):
            return told
        standing = dialect.read(backends, seen)
        if standing is None or not standing.acknowledged:
            return None
        try:
            wanted = dialect.write(self._wish(told), seen)
        except NotApplied:
            wanted = None  # a version has no workload any more, or the user's routes have changed
        if wanted is not None and not changes(told.service.name, seen, wanted, dialect.reads):
            return told
        found = _plan_of(told, backends, standing)
        return found if found != told else None

    async def _converge(
        self,
        service: str,
        dialect: Dialect,
        wanted: Callable[[Sequence[Object]], Sequence[Object]],
        *,
        must: bool,
        kinds: Sequence[Resource] = (),
    ) -> None:
        """Write until nothing is missing. must: what cannot be written holds nothing else up."""
        for attempt in range(_TRIES):
            seen = self._seen(service, dialect, kinds)
            missing = changes(service, seen, wanted(seen), dialect.reads)
            guarded = not must or attempt < _GUARDED_TRIES
            failures = await self._write(missing, guarded=guarded, all_=must)
            if not failures:
                return
            conflicts = [failure for failure in failures if isinstance(failure, Conflict)]
            worst = next((failure for failure in failures if failure not in conflicts), None)
            if worst is not None and not (must and conflicts):
                raise _not_applied(service, worst) from worst
        raise NotApplied(
            f"routes of {service} change faster than they can be written", hint="Somebody else writes them too."
        )

    async def _write(self, missing: Sequence[Change], *, guarded: bool, all_: bool) -> list[SternwayError]:
        """New objects first, then the edits at once, then what goes. all_: go on after a failure."""
        failures: list[SternwayError] = []
        for wave in ((How.CREATE,), (How.APPLY, How.EDIT), (How.DELETE,)):
            todo = [change for change in missing if change.how in wave]
            answers = await asyncio.gather(*(self._one(change, guarded=guarded) for change in todo))
            failures += [failure for failure in answers if failure is not None]
            if failures and not all_:
                break
        return failures

    async def _one(self, change: Change, *, guarded: bool) -> SternwayError | None:
        namespace, name = key_of(change.wanted)
        key = (change.resource, namespace, name)
        try:
            try:
                written = await self._send(change, guarded=guarded)
            except Conflict as conflict:
                self._keep(key, await self._api.get(change.resource, name, namespace))
                return conflict
        except SternwayError as failure:
            return failure
        self._keep(key, written)
        return Conflict(f"{name} is gone") if written is None and change.how is How.EDIT else None

    def _send(self, change: Change, *, guarded: bool) -> Awaitable[Object | None]:
        namespace, name = key_of(change.wanted)
        if change.how is How.EDIT:
            assert change.seen is not None
            patch = difference(change.seen, change.wanted)
            if guarded:
                patch = {**patch, "metadata": patch.get("metadata", {}) | _version(change.seen)}
            return self._api.patch(change.resource, name, patch, namespace=namespace, how=Patch.MERGE)
        if change.how is How.DELETE:
            return self._delete(change)
        force = change.how is How.APPLY
        return self._api.patch(change.resource, name, change.wanted, namespace=namespace, how=Patch.APPLY, force=force)

    async def _delete(self, change: Change) -> None:
        namespace, name = key_of(change.wanted)
        await self._api.delete(change.resource, name, namespace, uid=change.wanted["metadata"].get("uid", ""))

    def _keep(self, key: tuple[Resource, str, str], obj: Object | None) -> None:
        about = frozenset().union(*(one.names(obj) for one in self._dialects if obj and key[0] in one.reads))
        self._fresh[key] = _Fresh(obj=obj, about=about, until_s=asyncio.get_running_loop().time() + _LAG_S)

    async def _witnessed(self, service: str, dialect: Dialect) -> None:
        """Return once the mesh has taken what was written. Raises NotApplied."""
        loop = asyncio.get_running_loop()
        deadline_s, look_s = loop.time() + self._patience_s, 0.01
        while True:
            standing = self.standing(service)
            if standing is None or standing.acknowledged:
                return
            if standing.witness is Witness.REFUSED or loop.time() > deadline_s:
                said = f"{dialect.name} has not taken the traffic of {service}: {standing.words}"
                raise NotApplied(said, hint="What the proxies had before stays in force.")
            await asyncio.sleep(look_s)
            look_s = min(0.2, look_s * 2)


def _version(obj: Object) -> Object:
    return {"resourceVersion": obj["metadata"]["resourceVersion"]}


def _newer(fresh: Object, known: Object | None) -> bool:
    """Resource versions of one kind rise; what is no number is taken for old."""
    if known is None:
        return True
    mine, theirs = (str(obj["metadata"].get("resourceVersion", "")) for obj in (fresh, known))
    return mine.isdigit() and theirs.isdigit() and int(mine) > int(theirs)


def _plan_of(told: TrafficPlan, backends: Backends, standing: Standing) -> TrafficPlan | None:
    """What somebody made of a plan: shares by the versions that run where they go; no pins, no mirror."""
    shares: dict[str, int] = {}
    for name, ppm in standing.shares:
        here = [v.id for v in told.versions if (place := backends.of(v.workload.id)) and place.service == name]
        if not here and ppm:
            return None  # to a workload that runs no version of the plan
        if here:
            shares[here[0]] = shares.get(here[0], 0) + ppm
    return replace(told, split=Split(shares=tuple(shares.items())), pins=(), mirror=None)


def _not_applied(service: str, failure: SternwayError) -> NotApplied:
    retry_in_s = failure.retry_in_s if isinstance(failure, Temporary) else 5.0
    said = f"traffic of {service} could not be written: {failure.message}"
    hint = failure.hint or ("The API server refuses the route as it would be." if isinstance(failure, Invalid) else "")
    return NotApplied(said, hint=hint, retry_in_s=retry_in_s)
