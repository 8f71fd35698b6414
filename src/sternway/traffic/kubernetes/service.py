"""A plain Service, without any mesh: all traffic by its selector, shares by how many pods stand behind it.

The selector of the user's Service points at the pods of the version with the larger share. The smaller share is made of
single pods of the other version, put behind the same Service in an EndpointSlice of ours: one of ten pods gets a tenth
of the connections. So a share is as fine as there are pods (a share that is asked for is at least one pod; `read` says
what it comes to), it is of connections rather than requests, and it is unverified. Taking a version away deletes
the slice, or turns the selector: one write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

from sternway.domain.traffic import MILLION, Can
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Resource, name_of, namespace_of
from sternway.kubernetes.backends import Backend, Backends
from sternway.kubernetes.ours import SELECTOR, SERVICE
from sternway.kubernetes.reading import own_selector
from sternway.kubernetes.resources import SERVICES
from sternway.traffic.kubernetes import weights
from sternway.traffic.kubernetes.dialect import Standing, Wish, compact, is_kind, made_for, own, user_names

ENDPOINT_SLICES = Resource(group="discovery.k8s.io", version="v1", plural="endpointslices", kind="EndpointSlice")
_OF = "kubernetes.io/service-name"
_BY = "endpointslice.kubernetes.io/managed-by"


class PlainService:
    """See the module."""

    name = "service"
    capabilities = frozenset({Can.WEIGHTS, Can.PREVIEW})
    reads = (SERVICES, ENDPOINT_SLICES)
    routes: tuple[Resource, ...] = ()

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect. The slices of our two Services belong to the service too: its pods are found in them."""
        mine = made_for(obj)
        if mine is not None:
            return frozenset({mine})
        name = name_of(obj)
        if is_kind(obj, ENDPOINT_SLICES):
            labels = obj["metadata"].get("labels") or {}
            name = labels.get(_OF, "")
            name = labels.get(SERVICE) or next(iter(user_names(name)), name)
        return frozenset({f"{name}.{namespace_of(obj)}"})

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        service = _service(wish.backends, seen)
        if service is None:
            raise NotApplied(f"there is no Service {wish.key}", hint="The Guard's `spec.service` names it.")
        ordered = sorted(_places(wish.backends), key=lambda place: -dict(wish.shares)[place.service])
        made = [_pointed(service, wish.backends, ordered[0])]
        if len(ordered) > 1 and (ppm := dict(wish.shares)[ordered[1].service]):
            made += _slices(wish, seen, base=ordered[0], extra=ordered[1], ppm=ppm)
        return tuple(made)

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """See Dialect. A selector of somebody else's says nothing of us."""
        service = _service(backends, seen)
        base = next(
            (p for p in _places(backends) if service and service["spec"].get("selector") == dict(p.labels)), None
        )
        if base is None:
            return None
        added = sum(len(obj.get("endpoints") or []) for obj in seen if made_for(obj) is not None)
        pods = {place.service: _count(seen, place) if place == base else added for place in _places(backends)}
        words = ", ".join(f"{number} pods of {name}" for name, number in pods.items()) if added else ""
        if not sum(pods.values()):
            pods[base.service] = 1
        shares = tuple(zip(pods, weights.ppm(list(pods.values())), strict=True))
        return Standing(shares=shares, words=words)

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect. The selector is given back by the platform, once pods of the user's are there."""
        return tuple(obj for obj in seen if is_kind(obj, SERVICES) and service in self.names(obj))


def _service(backends: Backends, seen: Sequence[Object]) -> Object | None:
    return next((obj for obj in seen if is_kind(obj, SERVICES) and name_of(obj) == backends.service), None)


def _places(backends: Backends) -> list[Backend]:
    return [place for place in (backends.stable, backends.candidate) if place is not None]


def _pointed(service: Object, backends: Backends, base: Backend) -> Object:
    """The Service with the selector of one workload; the user's own is kept, unless it is ours already."""
    made = deepcopy(service)
    selector = service["spec"].get("selector") or {}
    annotations = service["metadata"].get("annotations") or {}
    is_twins = backends.stable is not None and selector == dict(backends.stable.labels)
    is_pods = backends.candidate is not None and selector == dict(backends.candidate.labels)
    if not is_twins and not (is_pods and SELECTOR in annotations):
        made["metadata"]["annotations"] = {**annotations, SELECTOR: compact(own_selector(service))}
    made["spec"]["selector"] = dict(base.labels)
    return made


def _slices(wish: Wish, seen: Sequence[Object], *, base: Backend, extra: Backend, ppm: int) -> Iterator[Object]:
    """Pods of the version with the smaller share, of each family of addresses."""
    wanted = max(1, round(_count(seen, base) * ppm / (MILLION - ppm)))
    for family in ("IPv4", "IPv6"):
        there = [obj for obj in _of(seen, extra) if obj.get("addressType") == family]
        ready = sorted((one for obj in there for one in _ready(obj)), key=lambda one: str(one["addresses"]))
        if not ready:
            continue
        name = f"{wish.backends.service}-sternway-{family.lower()}"
        made = own(ENDPOINT_SLICES, name, wish, None)
        del made["spec"]
        made["metadata"]["labels"] |= {_OF: wish.backends.service, _BY: "sternway.dev"}
        ports = [{k: v for k, v in port.items() if v is not None} for port in there[0].get("ports") or []]
        yield {**made, "addressType": family, "endpoints": ready[:wanted], "ports": ports}


def _of(seen: Sequence[Object], place: Backend) -> list[Object]:
    slices = [obj for obj in seen if is_kind(obj, ENDPOINT_SLICES) and made_for(obj) is None]
    return [obj for obj in slices if (obj["metadata"].get("labels") or {}).get(_OF) == place.service]


def _ready(slice_: Object) -> list[Object]:
    """What may get connections; without a word on it the API means ready."""
    return [one for one in slice_.get("endpoints") or [] if (one.get("conditions") or {}).get("ready", True)]


def _count(seen: Sequence[Object], place: Backend) -> int:
    found = _of(seen, place)
    families: dict[str, int] = {}
    for obj in found:
        families[obj.get("addressType", "")] = families.get(obj.get("addressType", ""), 0) + len(_ready(obj))
    return max(families.values(), default=place.replicas)
