"""What must be written so that objects are as wished. Pure; used by the router.

What is ours is applied whole, by server-side apply. Of a user's object only the fields that differ are sent, as a merge
patch that holds for the version that was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sternway.kubernetes.api import Object, Resource, key_of
from sternway.traffic.kubernetes.dialect import is_kind, made_for


class How(StrEnum):
    """In which way an object is written."""

    CREATE = "create"
    APPLY = "apply"
    EDIT = "edit"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write. seen: what is there; wanted: what shall be."""

    how: How
    resource: Resource
    wanted: Object
    seen: Object | None = None


def changes(
    service: str, seen: Sequence[Object], wanted: Sequence[Object], kinds: Sequence[Resource]
) -> tuple[Change, ...]:
    """The writes that are missing: what is new first, what goes last."""
    there = {(kind_of(obj, kinds), *key_of(obj)): obj for obj in seen}
    found = []
    for obj in wanted:
        kind = kind_of(obj, kinds)
        before = there.pop((kind, *key_of(obj)), None)
        if before is None:
            found.append(Change(how=How.CREATE, resource=kind, wanted=obj))
        elif made_for(before) == service:
            if not within(obj, before):
                found.append(Change(how=How.APPLY, resource=kind, wanted=obj, seen=before))
        elif difference(before, obj):
            found.append(Change(how=How.EDIT, resource=kind, wanted=obj, seen=before))
    for (kind, *_), obj in there.items():
        if made_for(obj) == service:
            found.append(Change(how=How.DELETE, resource=kind, wanted=obj, seen=obj))
    return tuple(sorted(found, key=lambda change: list(How).index(change.how)))


def kind_of(obj: Object, kinds: Sequence[Resource]) -> Resource:
    """The kind of an object, among those that a dialect reads."""
    return next(kind for kind in kinds if is_kind(obj, kind))


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `after` of `before`; lists are replaced whole."""
    patch: dict[str, Any] = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        patch[key] = difference(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
    return patch


def within(wanted: Any, seen: Any) -> bool:
    """Whether everything that is wanted is there; the server may have added defaults."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        return all(key in seen and within(value, seen[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(seen, list):
        return len(wanted) == len(seen) and all(within(*pair) for pair in zip(wanted, seen, strict=True))
    return bool(wanted == seen)
