"""The fake API as the tests of the router use it: with somebody who is quicker, controllers that speak, and a reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from sternway.kubernetes.api import Api, Object, Patch, Resource, name_of, namespace_of
from sternway.kubernetes.resources import SERVICES
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.registry import kinds, services_of
from sternway.traffic.kubernetes.service import ENDPOINT_SLICES

BUILT_IN = (SERVICES, ENDPOINT_SLICES)


class Cluster(FakeKubernetes):
    """before_write: called before each patch. status: what controllers say of an object that was written."""

    def __init__(self) -> None:
        super().__init__(kinds=kinds())
        self.before_write: Callable[[], None] = lambda: None
        self.status: Callable[[Object], Object] | None = None

    @property
    def objects(self) -> dict[tuple[Resource, str, str], Object]:
        """Everything that a mesh may read."""
        found = {}
        for kind in kinds():
            for obj in self.store.select(kind):
                found[kind, namespace_of(obj), name_of(obj)] = obj
        return found

    def put(self, resource: Resource, obj: Object) -> None:
        """Make or replace an object as a user would; controllers speak of it."""
        made = deepcopy(obj)
        known = self.store.get(resource, name_of(obj), namespace_of(obj))
        if known is None:
            self.store.create(resource, made, manager="kubectl")
        else:
            made["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
            self.store.replace(resource, made, manager="kubectl")
        self._speak(resource, name_of(obj), namespace_of(obj))

    def asked(self) -> list[str]:
        """The requests since the last time: verb, kind and name."""
        found = [f"{one.verb} {one.resource.plural} {one.name}" for one in self.requests]
        self.requests.clear()
        return found

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str = "",
        how: Patch = Patch.MERGE,
        **given: Any,
    ) -> Object | None:
        """See Api."""
        self.before_write()
        found = await super().patch(resource, name, patch, namespace=namespace, how=how, **given)
        self._speak(resource, name, namespace)
        return found

    def _speak(self, resource: Resource, name: str, namespace: str) -> None:
        known = self.store.get(resource, name, namespace)
        if self.status is not None and known is not None and resource not in BUILT_IN:
            said = {**known, **self.status(known)}
            self.store.replace(resource, said, subresource="status", manager="controller")


class Told:
    """A reader that knows what it was told of last; told of everything at once, unless it is `frozen`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._frozen: dict[tuple[Resource, str, str], Object] | None = None

    def freeze(self) -> None:
        """From now on learn nothing new, as a reflector that lags."""
        self._frozen = self._cluster.objects

    def about(self, resource: Resource, service: str) -> list[Object]:
        """See Reader."""
        known = self._cluster.objects if self._frozen is None else self._frozen
        return [obj for key, obj in known.items() if key[0] == resource and service in services_of(obj)]


def is_api(cluster: Cluster) -> Api:
    """The type checker's word that the fake is what the router asks for."""
    return cluster
