"""A Kubernetes API in a dictionary, for the router alone: versions, conflicts, patches, and faults on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from sternway.kubernetes.api import Listed, Object, Patch, Resource
from sternway.kubernetes.errors import Conflict, Invalid
from sternway.traffic.kubernetes.registry import services_of

Key = tuple[Resource, str, str]


@dataclass
class TinyApi:
    """See the module. requests: what was asked, in words. faults: raised by the next writes, in their order.

    before_write: called before each write, to play somebody who is quicker. status: what controllers say of an object.
    """

    objects: dict[Key, Object] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    faults: list[Exception | None] = field(default_factory=list)
    before_write: Callable[[], None] = lambda: None
    status: Callable[[Object], Object] = lambda _: {}
    _version: int = 0

    def put(self, resource: Resource, obj: Object) -> Object:
        """Store as somebody else would, without a request."""
        self._version += 1
        key = (resource, obj["metadata"]["namespace"], obj["metadata"]["name"])
        known = self.objects.get(key)
        stored = deepcopy(obj)
        generation = known["metadata"]["generation"] if known else 0
        changed = known is None or known.get("spec") != stored.get("spec")
        stored["metadata"] |= {
            "resourceVersion": str(self._version),
            "generation": generation + changed,
            "uid": known["metadata"]["uid"] if known else f"uid-{self._version}",
        }
        stored |= self.status(stored)
        self.objects[key] = stored
        return deepcopy(stored)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Api."""
        self.requests.append(f"get {resource.plural} {name}")
        return deepcopy(self.objects.get((resource, namespace, name)))

    async def list(self, resource: Resource, **_: Any) -> Listed:
        """See Api."""
        self.requests.append(f"list {resource.plural}")
        items = tuple(deepcopy(obj) for (kind, *_), obj in self.objects.items() if kind == resource)
        return Listed(items=items, resource_version=str(self._version))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str = "",
        how: Patch = Patch.MERGE,
        force: bool = False,
        **_: Any,
    ) -> Object | None:
        """See Api. Applied objects are stored whole."""
        assert isinstance(patch, Mapping)
        self.requests.append(f"{'apply' if how is Patch.APPLY else 'patch'} {resource.plural} {name}")
        self.before_write()
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault
        known = self.objects.get((resource, namespace, name))
        if how is Patch.APPLY:
            if known is not None and not force and known["spec"] != patch.get("spec"):
                raise Conflict(f"{name} has another manager")
            return self.put(
                resource, deepcopy(dict(patch)) | ({"status": known["status"]} if known and "status" in known else {})
            )
        if known is None:
            return None
        asked = patch.get("metadata", {}).get("resourceVersion")
        if asked is not None and asked != known["metadata"]["resourceVersion"]:
            raise Conflict(f"{name} is at {known['metadata']['resourceVersion']}, not at {asked}")
        if str(patch.get("spec", "")).find("refused") >= 0:
            raise Invalid(f"{name}: spec: refused by an admission webhook")
        merged = _merged(known, patch)
        return deepcopy(known) if merged == known else self.put(resource, merged)

    async def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "") -> None:
        """See Api."""
        self.requests.append(f"delete {resource.plural} {name}")
        self.objects.pop((resource, namespace, name), None)


@dataclass
class Store:
    """A reader that knows everything at once, unless it is `frozen`."""

    api: TinyApi
    frozen: list[tuple[Resource, Object]] | None = None

    def freeze(self) -> None:
        """From now on learn nothing new, as a reflector that lags."""
        self.frozen = self._all()

    def _all(self) -> list[tuple[Resource, Object]]:
        return [(key[0], deepcopy(obj)) for key, obj in self.api.objects.items()]

    def about(self, resource: Resource, service: str) -> list[Object]:
        """See Reader."""
        known = self._all() if self.frozen is None else self.frozen
        return [obj for kind, obj in known if kind == resource and service in services_of(obj)]


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping) or not isinstance(old, Mapping):
        return deepcopy(patch)
    made = dict(old)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(old.get(key, {}), value)
    return made
