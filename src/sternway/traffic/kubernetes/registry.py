"""Every mesh that there is a dialect for, and which of them carries a service. Used by the operator.

A new mesh is one file and one line in `DIALECTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sternway.errors import Refused
from sternway.kubernetes.api import Object, Resource
from sternway.traffic.kubernetes.consul import SPLITTERS, Consul
from sternway.traffic.kubernetes.contour import Contour
from sternway.traffic.kubernetes.dialect import Dialect, is_kind, users
from sternway.traffic.kubernetes.gateway_api import GatewayApi
from sternway.traffic.kubernetes.ingress_nginx import IngressNginx
from sternway.traffic.kubernetes.istio import VIRTUAL_SERVICES, Istio
from sternway.traffic.kubernetes.linkerd import POLICY_ROUTES, Linkerd
from sternway.traffic.kubernetes.service import PlainService
from sternway.traffic.kubernetes.traefik import Traefik

DIALECTS: tuple[Dialect, ...] = (
    Istio(),
    Linkerd(),
    Consul(),
    GatewayApi(),
    Contour(),
    Traefik(),
    IngressNginx(),
    PlainService(),
)

_MARKS = (
    ("istio", VIRTUAL_SERVICES, "istio-injection", ("enabled",)),
    ("istio", VIRTUAL_SERVICES, "istio.io/rev", ()),
    ("istio", VIRTUAL_SERVICES, "istio.io/dataplane-mode", ("ambient",)),
    ("istio", VIRTUAL_SERVICES, "sidecar.istio.io/inject", ("true",)),
    ("linkerd", POLICY_ROUTES, "linkerd.io/inject", ("enabled", "ingress")),
    ("consul", SPLITTERS, "consul.hashicorp.com/connect-inject", ("true",)),
)
"""Labels and annotations of a namespace or a pod template that put pods into a mesh, and the values that do (any: none)."""


def dialect(name: str) -> Dialect:
    """The dialect of this name. Raises Refused, naming those that there are."""
    found = next((one for one in DIALECTS if one.name == name), None)
    if found is None:
        known = ", ".join(sorted(one.name for one in DIALECTS))
        raise Refused(f"there is no traffic router named {name!r}", hint=f"Known are: {known}.")
    return found


def kinds() -> tuple[Resource, ...]:
    """Every kind of objects that any dialect reads."""
    return tuple(dict.fromkeys(kind for one in DIALECTS for kind in one.reads))


def services_of(obj: Object) -> frozenset[str]:
    """Every service (NAME.NAMESPACE) that an object is about, in any mesh: the index of what a reflector keeps."""
    readers = [one for one in DIALECTS if any(is_kind(obj, kind) for kind in one.reads)]
    return frozenset().union(*(one.names(obj) for one in readers))


def detect(
    service: str,
    about: Callable[[Resource], Sequence[Object]],
    *,
    serves: Callable[[Resource], bool],
    marked: Sequence[Object] = (),
) -> Dialect:
    """The dialect for a service whose Guard states none.

    about: the objects of a kind that name the service. serves: whether the API has a kind. marked: what may say that the pods
    are in a mesh: the Namespace and the pod template, by their labels and annotations.
    First the users' routes that name the service decide; then the mesh that its pods are in; else it is a plain Service.
    Raises Refused where the routes are of two meshes.
    """
    meshes = _meshes(marked, serves)
    found = [one for one in DIALECTS if any(_routes(one, service, about, kind) for kind in one.routes)]
    names = {one.name for one in found}
    if "linkerd" in names and "gateway-api" in names:  # the same kind: whose it is, the pods or Linkerd's own kind tell
        is_linkerd = "linkerd" in meshes or bool(users(about(POLICY_ROUTES)))
        names.discard("gateway-api" if is_linkerd else "linkerd")
    if len(names) > 1:
        said = f"routes of {' and '.join(sorted(names))} send traffic to {service}"
        raise Refused(said, hint="Say in the Guard which of them shares it out.")
    return dialect(next(iter([*names, *meshes]), "service"))


def _routes(one: Dialect, service: str, about: Callable[[Resource], Sequence[Object]], kind: Resource) -> bool:
    """Whether a user's route of this kind names the service, as this dialect reads it."""
    return any(service in one.names(obj) for obj in users(about(kind)))


def _meshes(marked: Sequence[Object], serves: Callable[[Resource], bool]) -> list[str]:
    found = []
    for obj in marked:
        said = {**(obj["metadata"].get("labels") or {}), **(obj["metadata"].get("annotations") or {})}
        for name, kind, mark, values in _MARKS:
            if mark in said and (not values or said[mark] in values) and serves(kind):
                found.append(name)
    return found
