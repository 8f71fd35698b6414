"""Who owns which field: server-side apply, as pure functions over objects. Used by the fake API.

A field is the path that `metadata.managedFields` writes: `("f:spec", "f:replicas")`, `k:{…}` for an item of a list that
is a map, `v:…` for a value of a list that is a set. Lists without a well-known key are one field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sternway.kubernetes.api import Object
from sternway.kubernetes.errors import Conflict
from sternway.testing.kubernetes.patches import copied

Path = tuple[str, ...]
Owner = tuple[str, str, str, str]
"""(manager, Apply or Update, apiVersion, subresource)"""
Owned = dict[Owner, frozenset[Path]]

_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "listeners": ("name",),
}
"""Lists that are maps, by their name, and what tells their items apart."""
_ATOMIC = {
    ("f:spec", "f:selector"),
    ("f:spec", "f:template", "f:spec", "f:nodeSelector"),
}
_SETS = {("f:metadata", "f:finalizers")}
_NOT_OWNED = ("apiVersion", "kind")
_NOT_OWNED_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "generateName",
    "selfLink",
)


def _keys(path: Path) -> tuple[str, ...]:
    name = path[-1].removeprefix("f:") if path else ""
    if name == "ports":
        return ("containerPort", "protocol") if "f:containers" in path else ("port", "protocol")
    return _KEYS.get(name, ())


def _item(item: Any, keys: tuple[str, ...]) -> str | None:
    if not keys or not isinstance(item, dict):
        return None
    named = {key: item.get(key, "TCP" if key == "protocol" else None) for key in keys}
    return None if None in named.values() else "k:" + json.dumps(named, sort_keys=True, separators=(",", ":"))


def _items(value: list[Any], path: Path) -> dict[str, Any] | None:
    """Give the items of a list that is a map by their keys; None for a list that is one field."""
    if not value:
        return {} if _keys(path) or path in _SETS else None
    if path in _SETS:
        return {f"v:{json.dumps(item)}": item for item in value}
    found = {_item(item, _keys(path)): item for item in value}
    return None if None in found or len(found) != len(value) else {str(key): item for key, item in found.items()}


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value and path not in _ATOMIC:
        for key, inner in value.items():
            if path or key not in _NOT_OWNED:
                if path == ("f:metadata",) and key in _NOT_OWNED_METADATA:
                    continue
                yield from _walk(inner, (*path, f"f:{key}"))
    elif isinstance(value, list) and (items := _items(value, path)) is not None:
        for key, inner in items.items():
            yield (*path, key), None
            if key.startswith("k:"):
                yield from _walk(inner, (*path, key))
    elif path:
        yield path, value


def fields_of(obj: Object) -> dict[Path, Any]:
    """Give every field that an object states, and its value (None for the being there of an item)."""
    return dict(_walk(obj, ()))


def owned_by(obj: Object) -> Owned:
    """Read managedFields."""
    return {
        (entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", "")): frozenset(
            _paths(entry["fieldsV1"], ())
        )
        for entry in obj["metadata"].get("managedFields") or ()
    }


def _paths(tree: dict[str, Any], path: Path) -> Iterator[Path]:
    if not tree and path:
        yield path
    for key, inner in tree.items():
        if key == ".":
            yield path
        else:
            yield from _paths(inner, (*path, key))


def managed(owned: Owned, now: str, before: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Write managedFields; an entry that is as before keeps its time."""
    entries = []
    times = {json.dumps({**entry, "time": ""}, sort_keys=True): entry["time"] for entry in before}
    for (manager, operation, version, subresource), paths in owned.items():
        if not paths:
            continue
        tree: dict[str, Any] = {}
        for path in sorted(paths):
            node = tree
            for part in path:
                node = node.setdefault(part, {})
        for path in paths:
            node = tree
            for part in path:
                node = node[part]
            if node:
                node["."] = {}
        entry = {
            "manager": manager,
            "operation": operation,
            "apiVersion": version,
            "time": "",
            "fieldsType": "FieldsV1",
            "fieldsV1": tree,
        }
        if subresource:
            entry["subresource"] = subresource
        entry["time"] = times.get(json.dumps(entry, sort_keys=True), now)
        entries.append(entry)
    return entries


def updated(before: Object | None, after: Object, owner: Owner) -> Owned:
    """Say who owns what after a plain write: what it changed is the writer's alone."""
    old, new = fields_of(before) if before else {}, fields_of(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    owned: Owned = {}
    for other, paths in (owned_by(before) if before else {}).items():
        owned[other] = frozenset(path for path in paths if path in new and path not in changed)
    owned[owner] = owned.get(owner, frozenset()) | changed
    return owned


def applied(live: Object | None, config: Object, owner: Owner, *, force: bool) -> tuple[Object, Owned]:
    """Apply: what `config` states is set, what this owner stated before and no longer does is removed.

    Raises Conflict that names the other owners and the fields, unless `force`.
    """
    stated = fields_of(config)
    if live is None:
        return copied(config), {owner: frozenset(stated)}
    now, owned = fields_of(live), owned_by(live)
    taken = {path for path, value in stated.items() if path not in now or now[path] != value}
    clashes = {other: lost for other, paths in owned.items() if other != owner and (lost := taken & paths)}
    if clashes and not force:
        told = "; ".join(f'"{who[0]}" owns {", ".join(map(_said, sorted(lost)))}' for who, lost in clashes.items())
        raise Conflict(f"apply failed with conflicts: {told}", hint="apply with force to take the fields over")
    result = _put(live, config, ())
    others = set().union(*(paths - clashes.get(other, set()) for other, paths in owned.items() if other != owner))
    for path in sorted(owned.get(owner, frozenset()) - stated.keys(), key=len):
        if not any(kept[: len(path)] == path for kept in (*others, *stated)):
            result = _without(result, path)
    new = {other: frozenset(paths - clashes.get(other, set())) for other, paths in owned.items() if other != owner}
    return result, {**new, owner: frozenset(stated)}


def _said(path: Path) -> str:
    return "".join(f".{part[2:]}" if part.startswith("f:") else f"[{part[2:]}]" for part in path)


def _put(live: Any, config: Any, path: Path) -> Any:
    if isinstance(config, dict) and isinstance(live, dict) and path not in _ATOMIC:
        return {
            **live,
            **{key: _put(live.get(key), value, (*path, f"f:{key}")) for key, value in config.items()},
        }
    if isinstance(config, list) and isinstance(live, list) and path not in _ATOMIC:
        mine, theirs = _items(config, path), _items(live, path)
        if mine is not None and theirs is not None:
            kept = {key: _put(item, mine[key], (*path, key)) if key in mine else item for key, item in theirs.items()}
            return list({**kept, **{key: copied(item) for key, item in mine.items() if key not in theirs}}.values())
    return copied(config)


def _without(value: Any, path: Path) -> Any:
    """Remove a field, and what is empty then."""
    head, rest = path[0], path[1:]
    if isinstance(value, dict):
        name = head.removeprefix("f:")
        if name not in value:
            return value
        inner = _without(value[name], rest) if rest else None
        if inner:
            return {**value, name: inner}
        return {key: one for key, one in value.items() if key != name}
    if isinstance(value, list):
        return [left for item in value if (left := _left(item, head, rest)) is not None]
    return value


def _left(item: Any, head: str, rest: Path) -> Any:
    if head.startswith("v:"):
        return None if json.dumps(item) == head[2:] else item
    named = json.loads(head[2:])
    if not isinstance(item, dict) or any(
        item.get(key, "TCP" if key == "protocol" else None) != value for key, value in named.items()
    ):
        return item
    return _without(item, rest) if rest else None
