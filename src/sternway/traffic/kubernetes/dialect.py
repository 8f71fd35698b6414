"""READ THIS FIRST: what a mesh is to us. Implemented by one file for each mesh; used by `router`.

Where a user has a route that names the service, that route is edited in place: only the service's destinations, and what the
user wrote is kept in the annotation `sternway.dev/original`. Where there is none, an object of our own is made, owned by
the Guard. Both are derived anew from the user's present text each time, so a later edit of the user survives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from sternway.domain.traffic import MILLION, Can, TrafficPlan
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.backends import Backend, Backends
from sternway.kubernetes.resources import OURS

ORIGINAL = f"{OURS}/original"
"""Annotation: the rules of a route as the user wrote them."""
SPLIT = f"{OURS}/split"
"""Annotation: which services of a route we share out, and between whom."""
ROUTES = f"{OURS}/routes"
"""Label of what a router has made: the service that it is for. The platform's own objects have others."""
MANAGED_BY = "app.kubernetes.io/managed-by"


class Witness(StrEnum):
    """Whether the proxies have taken what stands in the objects."""

    CONFIRMED = "confirmed"
    AWAITED = "awaited"
    REFUSED = "refused"
    UNVERIFIED = "unverified"
    """The mesh says nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is in force. shares: (Service of ours, parts per million), as the mesh counts them."""

    shares: tuple[tuple[str, int], ...]
    witness: Witness = Witness.UNVERIFIED
    words: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether it may be taken for what the proxies do."""
        return self.witness in (Witness.CONFIRMED, Witness.UNVERIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinTo:
    """Requests with this header or cookie go to a Service of ours."""

    to: str
    header: tuple[str, str] | None = None
    cookie: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTo:
    """Copies of `percent` of the requests go to a Service of ours."""

    to: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A traffic plan in the words of a cluster.

    shares: (Service of ours, parts per million) for every Service that there is, stable's first; they sum to a million.
    owner: the owner reference of the Guard.
    """

    backends: Backends
    shares: tuple[tuple[str, int], ...]
    pins: tuple[PinTo, ...] = ()
    mirror: CopyTo | None = None
    owner: Object | None = None

    @property
    def key(self) -> str:
        """The service as the engine knows it: NAME.NAMESPACE."""
        return f"{self.backends.service}.{self.backends.namespace}"

    @property
    def to(self) -> tuple[str, ...]:
        """The Services of ours."""
        return tuple(name for name, _ in self.shares)

    @property
    def takes_away(self) -> bool:
        """Everything goes to one version: nobody may stand in the way of that."""
        return any(ppm == MILLION for _, ppm in self.shares) and not self.pins


class Dialect(Protocol):
    """One mesh, without effects. `seen`: every object of the kinds in `reads` that `names` the service.

    Raises NotApplied where the user's routes leave no way to do what is wished.
    """

    @property
    def name(self) -> str:
        """As a Guard states it."""
        ...

    @property
    def capabilities(self) -> frozenset[Can]:
        """What it can do; what it cannot is refused at admission."""
        ...

    @property
    def reads(self) -> tuple[Resource, ...]:
        """The kinds to watch."""
        ...

    @property
    def routes(self) -> tuple[Resource, ...]:
        """Those of them by which users send traffic to a service."""
        ...

    def names(self, obj: Object) -> frozenset[str]:
        """The services (NAME.NAMESPACE) that an object sends traffic to, or that it is made for."""
        ...

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """Every object as it shall be. What is ours in `seen` and stands not in the answer is no longer needed."""
        ...

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """What is in force; None when nothing shares out the traffic of the service."""
        ...

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:
        """The users' objects as they were before us; what is ours goes."""
        ...


def wish_of(plan: TrafficPlan, backends: Backends, owner: Object | None = None) -> Wish:
    """Translate a plan. Raises NotApplied when a version with traffic runs nowhere."""
    shares = {place.service: 0 for place in (backends.stable, backends.candidate) if place is not None}
    for version, ppm in plan.split.shares:
        shares[_place(plan, version, backends).service] += ppm
    mirror = plan.mirror
    return Wish(
        backends=backends,
        shares=tuple(shares.items()),
        pins=tuple(
            PinTo(to=_place(plan, pin.version, backends).service, header=pin.header, cookie=pin.cookie)
            for pin in plan.pins
        ),
        mirror=CopyTo(to=_place(plan, mirror.version, backends).service, percent=mirror.percent) if mirror else None,
        owner=owner,
    )


def refuse_what_it_cannot(dialect: Dialect, wish: Wish) -> None:
    """Raise NotApplied where a wish asks for more than a mesh can do, if admission has let it through."""
    asked = {Can.PINS: wish.pins, Can.MIRROR: wish.mirror}
    for can, said in asked.items():
        if said and can not in dialect.capabilities:
            message = f"{dialect.name} cannot do {can.value}, which {wish.key} asks for"
            raise NotApplied(message, hint="The Guard needs another strategy, or the service another mesh.")


def _place(plan: TrafficPlan, version: str, backends: Backends) -> Backend:
    workload = next(v.workload.id for v in plan.versions if v.id == version)
    place = backends.of(workload)
    if place is None:
        said = f"{version} of {backends.service}.{backends.namespace} runs in no workload of the cluster yet"
        raise NotApplied(said, hint="It gets traffic as soon as its Deployment is there.")
    return place


def own(kind: Resource, name: str, wish: Wish, spec: Any, *, annotations: dict[str, str] | None = None) -> Object:
    """Make an object of ours, which goes with the Guard."""
    labels = {MANAGED_BY: "sternway", ROUTES: wish.backends.service}
    metadata: Object = {"name": name, "namespace": wish.backends.namespace, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    if wish.owner is not None:
        metadata["ownerReferences"] = [wish.owner]
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def made_for(obj: Object) -> str | None:
    """The service (NAME.NAMESPACE) that a router made an object for; None when no router did."""
    service = (obj["metadata"].get("labels") or {}).get(ROUTES)
    return f"{service}.{obj['metadata'].get('namespace', '')}" if service else None


def touched(obj: Object, service: str) -> bool:
    """Whether a router made an object for this service, or shares it out in it."""
    return made_for(obj) == service or service in (annotation(obj, SPLIT) or {})


def our_names(service: str) -> tuple[str, str]:
    """What the platform calls our two Services, where that is short enough for a name."""
    return f"{service}-stable", f"{service}-candidate"


def user_names(name: str) -> tuple[str, ...]:
    """The user's Service, if this is what one of ours would be called."""
    found = (name.removesuffix("-stable"), name.removesuffix("-candidate"))
    return tuple(one for one in found if one != name)


def users(seen: Iterable[Object]) -> tuple[Object, ...]:
    """Those that are not ours."""
    return tuple(obj for obj in seen if made_for(obj) is None)


def is_kind(obj: Object, kind: Resource) -> bool:
    """Whether an object is of a kind, in whichever version it was read."""
    return obj.get("kind") == kind.kind and obj.get("apiVersion", "").rpartition("/")[0] == kind.group


def annotation(obj: Object, name: str) -> dict[str, Any] | None:
    """An annotation that holds a JSON object; None without it, or when somebody has spoilt it."""
    text = (obj["metadata"].get("annotations") or {}).get(name)
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def compact(value: object) -> str:
    """JSON for an annotation."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def speaks_http(name: str, protocol: str) -> bool:
    """Whether a port of a Service is routed by request: by `appProtocol`, else by its name as meshes read it."""
    said = (protocol or name.partition("-")[0]).lower().removeprefix("kubernetes.io/")
    return said not in (
        "tcp",
        "tls",
        "https",
        "udp",
        "mongo",
        "mysql",
        "redis",
        "postgres",
        "postgresql",
        "kafka",
        "amqp",
    )


def speaks_grpc(name: str, protocol: str) -> bool:
    """Whether a port of a Service is for gRPC."""
    return (protocol or name.partition("-")[0]).lower() == "grpc"


def no_route(mesh: str, kind: str, wish: Wish) -> NotApplied:
    """The error where only a user can write the first route."""
    said = f"{mesh}: no {kind} sends traffic to Service {wish.backends.service} in namespace {wish.backends.namespace}"
    return NotApplied(said, hint="Write one that names the Service; from then on its traffic is shared out there.")


def unverified(_: Object) -> tuple[Witness, str]:
    """The witness of a mesh that tells nothing."""
    return Witness.UNVERIFIED, ""
