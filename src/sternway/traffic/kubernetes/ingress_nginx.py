"""ingress-nginx: a canary Ingress of ours beside each Ingress of the user that names the service.

The user's Ingress is not touched: what it sends to the Service reaches stable, and the canary takes its share of that
away. A pin would need a header or a cookie whose value nginx fixes (`always`), so pins are not offered. nginx takes one
canary for each rule and tells nothing of what it has taken, so a split is unverified.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from sternway.domain.traffic import MILLION, Can
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Resource, namespace_of
from sternway.kubernetes.backends import Backends
from sternway.traffic.kubernetes import weights
from sternway.traffic.kubernetes.dialect import Standing, Wish, made_for, no_route, own, users

INGRESSES = Resource(group="networking.k8s.io", version="v1", plural="ingresses", kind="Ingress")
_PREFIX = "nginx.ingress.kubernetes.io/"
_CLASS = "kubernetes.io/ingress.class"
_WEIGHT, _TOTAL = f"{_PREFIX}canary-weight", f"{_PREFIX}canary-weight-total"


class IngressNginx:
    """See the module."""

    name = "ingress-nginx"
    capabilities = frozenset({Can.WEIGHTS, Can.PREVIEW})
    reads = (INGRESSES,)
    routes = reads

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect. An Ingress of another class than nginx names nobody here."""
        mine = made_for(obj)
        if mine is not None:
            return frozenset({mine})
        if "nginx" not in (_class_of(obj) or "nginx") or _annotations(obj).get(f"{_PREFIX}canary") == "true":
            return frozenset()
        backends = [obj.get("spec", {}).get("defaultBackend") or {}, *(path["backend"] for path in _paths(obj))]
        found = {one["service"]["name"] for one in backends if "service" in one}
        return frozenset(f"{name}.{namespace_of(obj)}" for name in found)

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        found = users(seen)
        if not found:
            raise no_route(self.name, "Ingress", wish)
        return tuple(_canary(obj, wish) for obj in found)

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """See Dialect."""
        ours = [obj for obj in seen if made_for(obj) is not None]
        if not ours or backends.candidate is None:
            return None
        said = _annotations(ours[0])
        weight, total = int(said.get(_WEIGHT, "0")), int(said.get(_TOTAL, "100"))
        if backends.stable is None:
            return Standing(shares=((backends.candidate.service, MILLION),))
        rest, taken = weights.ppm([total - weight, weight])
        return Standing(shares=((backends.stable.service, rest), (backends.candidate.service, taken)))

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:  # noqa: ARG002 - no user's object was touched
        """See Dialect."""
        return ()


def _canary(ingress: Object, wish: Wish) -> Object:
    backends = wish.backends
    to = backends.candidate.service if backends.candidate else wish.to[0]
    taken = dict(wish.shares)[to]
    (rest, weight), _ = weights.scaled(100, [MILLION - taken, taken], [], most=MILLION)
    annotations = {f"{_PREFIX}canary": "true", _WEIGHT: str(weight)}
    if rest + weight != 100:
        annotations[_TOTAL] = str(rest + weight)
    if _CLASS in _annotations(ingress):
        annotations[_CLASS] = _annotations(ingress)[_CLASS]
    rules = list(_narrowed(ingress, backends.service, to))
    if not rules:
        said = f"Ingress {ingress['metadata']['name']} names {wish.key} as its default backend alone"
        raise NotApplied(said, hint="nginx shares out paths only: write a rule with a path.")
    spec: Object = {"rules": rules}
    if "ingressClassName" in ingress["spec"]:
        spec = {"ingressClassName": ingress["spec"]["ingressClassName"], **spec}
    return own(
        INGRESSES, f"{ingress['metadata']['name']}-sternway-{backends.service}", wish, spec, annotations=annotations
    )


def _narrowed(ingress: Object, service: str, to: str) -> Iterator[Object]:
    """The rules with those paths alone that lead to the service, and they lead to the candidate."""
    for rule in ingress["spec"].get("rules", []):
        paths = []
        for path in (rule.get("http") or {}).get("paths", []):
            if path["backend"].get("service", {}).get("name") == service:
                made = deepcopy(path)
                made["backend"]["service"]["name"] = to
                paths.append(made)
        if paths:
            yield {**rule, "http": {"paths": paths}}


def _paths(obj: Object) -> Iterator[dict[str, Any]]:
    for rule in obj.get("spec", {}).get("rules") or []:
        yield from (rule.get("http") or {}).get("paths", [])


def _annotations(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def _class_of(obj: Object) -> str:
    return obj.get("spec", {}).get("ingressClassName") or _annotations(obj).get(_CLASS, "")
