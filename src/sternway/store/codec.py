"""Our values <-> JSON, floats bit for bit. Used by the store alone.

Three rules keep the journal small and readable for a long time:
- A field that holds its default is left out; a field that this Sternway does not know is ignored.
- Values that stay the same for many passes (INTERNED: a version with its files, a guard, …) are written once, under
  the digest of their text; in their place stands `{"$ref": digest}`. Read back, they are one shared object.
- Where a field allows several dataclasses (TAGGED), the object says which: `{"$type": "BlueGreen", …}`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from sternway.domain.guards import Guard, Strategy
from sternway.domain.metrics import MetricQuestion
from sternway.domain.releases import Wanted
from sternway.domain.versions import Version, Workload
from sternway.errors import StoreUnavailable

T = TypeVar("T")

INTERNED: Mapping[str, type] = {kind.__name__: kind for kind in (Guard, MetricQuestion, Version, Wanted, Workload)}
TAGGED: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Strategy)}

_INTERNED = frozenset(INTERNED.values())
_TAGGED = frozenset(TAGGED.values())
_SCALARS = frozenset({str, int, float, bool, type(None)})
_REMEMBERED = 2048
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interned:
    """A value that is written once, under the digest of its type and text."""

    digest: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The text of a value, and by digest every interned value that it needs, at any depth."""

    text: str
    interned: Mapping[str, Interned]


class Encoder:
    """Writes values. Remembers the interned ones by identity, so that a pass does not write them again."""

    def __init__(self) -> None:
        self._fields: Callable[[Any], tuple[tuple[str, object, type], ...]] = _fields
        self._remembered: dict[int, tuple[object, Mapping[str, Interned], str]] = {}

    def encode(self, value: object) -> Encoded:
        """Give the text of one of our values."""
        interned: dict[str, Interned] = {}
        return Encoded(text=_text(self._plain(value, interned, whole=False)), interned=interned)

    def _plain(self, value: Any, interned: dict[str, Interned], *, whole: bool) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            return value
        if kind is tuple:
            return [i if type(i) in _SCALARS else self._plain(i, interned, whole=False) for i in value]
        if isinstance(value, StrEnum):
            return value.value
        if kind in _INTERNED and not whole:
            return {"$ref": self._intern(value, interned)}
        plain: dict[str, Any] = {"$type": kind.__name__} if kind in _TAGGED else {}
        for name, default, of_default in self._fields(kind):
            item = getattr(value, name)
            if item is default:
                continue
            of_item = type(item)
            if of_item not in _SCALARS:
                plain[name] = self._plain(item, interned, whole=False)
            elif item != default or of_item is not of_default or (item == 0 and repr(item) != repr(default)):
                plain[name] = item  # left out only if reading gives exactly it again: 0.0 == -0.0 and 1 == True
        return plain

    def _intern(self, value: object, interned: dict[str, Interned]) -> str:
        found = self._remembered.get(id(value))
        if found is None or found[0] is not value:
            inside: dict[str, Interned] = {}
            kind = type(value).__name__
            text = _text(self._plain(value, inside, whole=True))
            digest = hashlib.blake2b(f"{kind} {text}".encode(), digest_size=12).hexdigest()
            inside[digest] = Interned(digest=digest, kind=kind, text=text)
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            found = self._remembered[id(value)] = (value, inside, digest)
        interned.update(found[1])
        return found[2]


def decode(kind: type[T], text: str, look_up: Callable[[str], object]) -> T:
    """Read a value back. `look_up` gives the interned value of a digest. Raises StoreUnavailable on damaged text."""
    adapters: Callable[[Any], TypeAdapter[Any]] = _adapter

    def hook(plain: dict[str, Any]) -> Any:
        if "$ref" in plain:
            return look_up(plain["$ref"])
        if "$type" in plain:
            return adapters(TAGGED[plain["$type"]]).validate_python(plain)
        return plain

    try:
        value: T = adapters(kind).validate_python(json.loads(text, object_hook=hook))
    except (ValidationError, ValueError, KeyError) as exc:
        msg = f"the journal holds a {kind.__name__} that cannot be read: {exc}"
        raise StoreUnavailable(
            msg, hint="The database is damaged, or was written by a newer Sternway; move it away to start afresh."
        ) from exc
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _fields(kind: Any) -> tuple[tuple[str, object, type], ...]:
    """Give name, default and the default's type of every field; this runs once for each type."""
    if not is_dataclass(kind):
        msg = f"the journal cannot hold a {kind.__name__}"
        raise TypeError(msg)
    return tuple((field.name, field.default, type(field.default)) for field in fields(kind))


def _text(plain: object) -> str:
    """Compact JSON. A lone surrogate, which no database takes, becomes `?`: a record must not fail on it."""
    text = _JSON.encode(plain)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
