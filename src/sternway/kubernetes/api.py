"""READ THIS FIRST: what our adapters ask of a Kubernetes API server.

`client` implements `Api` over HTTP; `sternway.testing.kubernetes` in one process. One suite runs on both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

Object = dict[str, Any]
"""An object of the API as JSON: apiVersion, kind, metadata, …"""

MANAGER = "sternway"
"""Who owns the fields that we apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of objects, as the API serves it. group "" is the core group. plural: its name in addresses."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`apps/v1`; `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """Where the API serves it: `/apis/apps/v1`, `/api/v1`."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"


class Change(StrEnum):
    """What a watch tells of an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event of a watch. A bookmark's object has nothing but metadata.resourceVersion."""

    change: Change
    object: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a list found, and from where a watch goes on."""

    items: tuple[Object, ...]
    resource_version: str


class Patch(StrEnum):
    """How a patch is written."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class Api(Protocol):
    """A Kubernetes API server. namespace "": all namespaces in `list` and `watch`, none for cluster-wide kinds.

    Raises the kinds of `sternway.kubernetes.errors`: Unreachable (Temporary: no answer, 429, 5xx), Conflict (Temporary:
    409, read again), Denied (401, 403: names the verb and the resource that are missing), Invalid (400, 422: names
    the field), Gone (410: list again).
    """

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """One object; None when there is none (or its kind is not served)."""
        ...

    async def list(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = "", page: int = 500
    ) -> Listed:
        """Every object, in pages of `page`."""
        ...

    def watch(
        self, resource: Resource, *, since: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> AsyncIterator[Told]:
        """What happened after `since`, until the server ends the watch. Raises Gone."""
        ...

    async def create(self, resource: Resource, obj: Object) -> Object:
        """A new object. Raises Conflict when it is there already."""
        ...

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Put the whole object. With metadata.resourceVersion: only over that one, else Conflict."""
        ...

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
        """Change some fields; None when there is no such object (APPLY makes it).

        force: take fields over that others own (APPLY); else Conflict names them.
        """
        ...

    async def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "") -> None:
        """Delete it, with what it owns, in the background; nothing happens when it is not there.

        uid: only this very object.
        """
        ...

    async def serves(self, resource: Resource) -> bool:
        """Whether the API has this kind in this version (a custom resource may not be installed)."""
        ...


def name_of(obj: Object) -> str:
    """`metadata.name`."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str:
    """`metadata.namespace`; "" for what has none."""
    return str(obj["metadata"].get("namespace", ""))


def key_of(obj: Object) -> tuple[str, str]:
    """(namespace, name)."""
    return namespace_of(obj), name_of(obj)


def ordinal_of(obj: Object) -> int:
    """The number at the end of a name: `orders-2` -> 2; 0 where there is none."""
    number = name_of(obj).rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def condition_of(obj: Object, kind: str) -> Object:
    """A condition of `status` as it stands, by its type; empty where it was not written yet."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})


def is_ready(obj: Object) -> bool:
    """Whether an object says of itself that it is ready: a pod, that it takes traffic."""
    return bool(condition_of(obj, "Ready").get("status") == "True")
