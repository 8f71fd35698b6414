"""What may be written to a cluster, as data: `plan` decides on it, `platform` does it in this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sternway.kubernetes.api import Object, Resource, name_of, namespace_of
from sternway.kubernetes.ours import APPLIED, annotation
from sternway.kubernetes.template import digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Make an object that never changes; if it is there already, all is well."""

    resource: Resource
    obj: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Let an object of ours be like this."""

    resource: Resource
    obj: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Change some fields of an object as it was seen (`patch` holds its resourceVersion): a merge patch."""

    resource: Resource
    name: str
    namespace: str
    patch: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Delete this very object."""

    resource: Resource
    name: str
    namespace: str
    uid: str


Write = Keep | Apply | Edit | Remove


def applied(resource: Resource, desired: Object, live: Object | None) -> tuple[Write, ...]:
    """The write that makes an object of ours as desired; none when it is."""
    whole = {**desired, "metadata": {**desired["metadata"], "annotations": {APPLIED: digest(desired, 8)}}}
    if (
        live is not None
        and annotation(live, APPLIED) == whole["metadata"]["annotations"][APPLIED]
        and holds(live, whole)
    ):
        return ()
    return (Apply(resource=resource, obj=whole),)


def edit(resource: Resource, live: Object, change: Object) -> Edit:
    """A change to an object, refused by the API when it is not the one that was seen."""
    metadata = {**change.get("metadata", {}), "resourceVersion": live["metadata"]["resourceVersion"]}
    patch = {**change, "metadata": metadata}
    return Edit(resource=resource, name=name_of(live), namespace=namespace_of(live), patch=patch)


def remove(resource: Resource, live: Object) -> Remove:
    """Delete what was seen."""
    return Remove(
        resource=resource, name=name_of(live), namespace=namespace_of(live), uid=str(live["metadata"].get("uid", ""))
    )


def holds(live: Any, desired: Any) -> bool:
    """Whether an object has everything that is desired of it; what the API filled in beside it is no matter."""
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(
            (key in live and holds(live[key], item)) or (key not in live and item in ({}, [], None))
            for key, item in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(live, list)
            and len(live) == len(desired)
            and all(holds(one, other) for one, other in zip(live, desired, strict=True))
        )
    return bool(live == desired)


def merge_patch(live: Any, desired: Object) -> Object:
    """The merge patch that makes a mapping exactly as desired: what is not desired is taken out."""
    patch: Object = {}
    for key in live.keys() - desired.keys():
        patch[key] = None
    for key, item in desired.items():
        if isinstance(item, dict) and isinstance(live.get(key), dict):
            inner = merge_patch(live[key], item)
            if inner:
                patch[key] = inner
        elif key not in live or live[key] != item:
            patch[key] = item
    return patch
