"""Which services a changed object is about: watches wake services by name only. Used by the composition root.

Pods, ReplicaSets and revisions are known by the workload that made them, configuration by the templates that use it. What a service
rests on is remembered each time that it was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sternway.kubernetes.api import Object, Resource, key_of, name_of, namespace_of
from sternway.kubernetes.ours import SERVICE, TWIN, named, service_key, split_key
from sternway.kubernetes.reading import WORKLOADS, Reader, own_selector, released, selects
from sternway.kubernetes.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    GUARDS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
)
from sternway.kubernetes.template import references

_CONFIG = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}
_Key = tuple[str, str, str]
"""(plural, namespace, name)."""


@dataclass(slots=True)
class Concerned:
    """What each service rests on, and the other way round."""

    reader: Reader
    _rests: dict[str, frozenset[_Key]] = field(default_factory=dict)
    _services: dict[_Key, set[str]] = field(default_factory=dict)

    def remember(self, service: str, namespace: str, deployment: str | None) -> None:
        """After a look: what the service rests on now."""
        rests: set[_Key] = set()
        if deployment is not None:
            rests |= {(DEPLOYMENTS.plural, namespace, name) for name in (deployment, named(deployment, "stable"))}
            found = released(self.reader, service, deployment)
            rests |= {(found[0].plural, namespace, deployment)} if found is not None else set()
            used = references(found[1]["spec"]["template"]) if found is not None else ()
            rests |= {(_CONFIG[one.kind].plural, namespace, one.name) for one in used}
        self._keep(service, frozenset(rests))

    def forget(self, service: str) -> None:
        """The service is no more."""
        self._keep(service, frozenset())
        del self._rests[service]

    def of(self, resource: Resource, obj: Object, everyone: Callable[[str], Iterable[str]]) -> frozenset[str]:
        """Which services an object is about. everyone: all of a namespace, for what nobody is known to rest on yet."""
        namespace = namespace_of(obj)
        named_there = _named_in(resource, obj)
        if named_there is not None:
            return frozenset({service_key(namespace, named_there)} if named_there else ())
        if resource in (PODS, REPLICA_SETS, CONTROLLER_REVISIONS):
            plural, name = self._maker(obj)
            return frozenset(self._services.get((plural, namespace, name), ()))
        known = frozenset(self._services.get((resource.plural, *key_of(obj)), ()))
        if known or resource not in WORKLOADS:
            return known
        return frozenset(
            one for one in everyone(namespace) if self._may_select(one, obj)
        )  # a Guard may have waited for it

    def _may_select(self, service: str, workload: Object) -> bool:
        namespace, name = split_key(service)
        found = self.reader.get(SERVICES, name, namespace)
        return found is not None and selects(own_selector(found), workload)

    def _maker(self, obj: Object) -> tuple[str, str]:
        """(plural, name) of the workload that made a ReplicaSet or revision, or a pod, maybe through one; "" for none."""
        twin = (obj["metadata"].get("labels") or {}).get(TWIN)
        if twin:
            return DEPLOYMENTS.plural, str(twin)
        owner = _controller(obj)
        if owner is not None and owner.get("kind") == REPLICA_SETS.kind:
            made = self.reader.get(REPLICA_SETS, str(owner["name"]), namespace_of(obj))
            owner = _controller(made) if made is not None else None
        kind = owner.get("kind") if owner is not None else None
        return next(((one.plural, str(owner["name"])) for one in WORKLOADS if owner and one.kind == kind), ("", ""))

    def _keep(self, service: str, rests: frozenset[_Key]) -> None:
        before = self._rests.get(service, frozenset())
        for gone in before - rests:
            self._services[gone].discard(service)
            if not self._services[gone]:
                del self._services[gone]
        for new in rests - before:
            self._services.setdefault(new, set()).add(service)
        self._rests[service] = rests


def _named_in(resource: Resource, obj: Object) -> str | None:
    """The service that an object is about by what stands in it; "" for none, None where that has to be looked up."""
    if resource is GUARDS:
        said = (obj.get("spec") or {}).get("service")
        return said if isinstance(said, str) else ""
    ours = (obj["metadata"].get("labels") or {}).get(SERVICE)
    return str(ours) if ours else name_of(obj) if resource is SERVICES else None


def _controller(obj: Object) -> Object | None:
    return next((one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")), None)
