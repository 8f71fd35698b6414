"""Merge patch (RFC 7386) and JSON patch (RFC 6902), as pure functions. Used by the fake API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from sternway.kubernetes.errors import Conflict, Invalid

T = TypeVar("T")


def copied(value: T) -> T:
    """Copy JSON, all the way down."""
    if isinstance(value, Mapping):
        return cast("T", {key: copied(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return cast("T", [copied(inner) for inner in value])
    return value


def merged(target: Any, patch: Any) -> Any:
    """Apply a merge patch: null removes, lists are replaced."""
    if not isinstance(patch, Mapping):
        return copied(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def json_patched(target: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """Apply a JSON patch. Where it has a `test`, all that does not fit is a Conflict: a server tells no difference."""
    try:
        return _json_patched(target, operations)
    except Invalid as exc:
        if any(operation.get("op") == "test" for operation in operations):
            raise Conflict(exc.message) from exc
        raise


def _json_patched(target: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    result = copied(target)
    for operation in operations:
        kind, path = operation.get("op"), _parts(str(operation.get("path", "")))
        if kind in {"add", "replace", "test"} and "value" not in operation:
            raise Invalid(f"JSON patch: {kind} {operation.get('path')}: no value")
        if kind == "test":
            if _read(result, path, missing=None) != operation["value"]:
                raise Conflict(f"JSON patch: testing value {operation['path']} failed")
        elif kind == "remove":
            result, _ = _taken(result, path)
        elif kind == "replace":
            result, _ = _taken(result, path)
            result = _added(result, path, copied(operation["value"]))
        elif kind == "add":
            result = _added(result, path, copied(operation["value"]))
        elif kind in {"move", "copy"}:
            source = _parts(str(operation.get("from", "")))
            value = copied(_read(result, source))
            if kind == "move":
                result, _ = _taken(result, source)
            result = _added(result, path, value)
        else:
            raise Invalid(f"JSON patch: unknown operation {kind!r}")
    return result


def _parts(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise Invalid(f"JSON patch: {pointer!r} does not begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


_REQUIRED = object()


def _read(target: Any, path: Sequence[str], missing: Any = _REQUIRED) -> Any:
    for part in path:
        try:
            target = target[int(part)] if isinstance(target, list) else target[part]
        except (KeyError, IndexError, ValueError, TypeError):
            if missing is _REQUIRED:
                raise Invalid(f"JSON patch: nothing at /{'/'.join(path)}") from None
            return missing
    return target


def _taken(target: Any, path: Sequence[str]) -> tuple[Any, Any]:
    if not path:
        return None, target
    parent, last = _read(target, path[:-1]), path[-1]
    _read(target, path)
    return target, parent.pop(int(last) if isinstance(parent, list) else last)


def _added(target: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _read(target, path[:-1]), path[-1]
    if isinstance(parent, list):
        index = len(parent) if last == "-" else int(last) if last.isdigit() else -1
        if not 0 <= index <= len(parent):
            raise Invalid(f"JSON patch: nothing at /{'/'.join(path)}")
        parent.insert(index, value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise Invalid(f"JSON patch: nothing at /{'/'.join(path)}")
    return target
