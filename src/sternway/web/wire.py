"""What goes over the API's socket as JSON: views, requests, errors. Used by `web.api`, and by whoever reads a view.

The other half of errors, raising them again, is `web.faults`.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sternway.domain.releases import Verb
from sternway.errors import InvalidInput, Problem, Refused, SternwayError, Temporary
from sternway.web.faults import NotFound

T = TypeVar("T")

STATUSES: dict[type[SternwayError], int] = {
    NotFound: 404,
    InvalidInput: 422,
    Refused: 409,
    Temporary: 503,
    SternwayError: 500,
}
"""The first class that fits decides."""

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


class CommandBody(BaseModel):
    """POST /v1/services/NAME/commands."""

    model_config = ConfigDict(extra="forbid")
    verb: Verb
    by: str = "somebody"
    to: str | None = None
    reason: str = ""


class ImageBody(BaseModel):
    """POST /v1/images. `author`: `Name <address>`; without one, the identity that Git knows."""

    model_config = ConfigDict(extra="forbid")
    workload: str
    container: str
    image: str
    message: str = ""
    author: str | None = None


class StopBody(BaseModel):
    """POST /v1/stop. `keep`: leave services and proxy running for the next start."""

    model_config = ConfigDict(extra="forbid")
    keep: bool = False


def to_json(value: object, kind: Any = None) -> bytes:
    """Write a value; `kind` is needed where its type alone does not say (tuples)."""
    return _adapter(type(value) if kind is None else kind).dump_json(value)


def from_json(kind: type[T], text: bytes | str) -> T:
    """Read a value back."""
    value: T = _adapter(kind).validate_json(text)
    return value


def body(kind: type[T], text: bytes) -> T:
    """Read a request's body. Raises InvalidInput, a problem for every field that is wrong."""
    try:
        return from_json(kind, text or b"{}")
    except ValidationError as exc:
        problems = tuple(
            Problem(file="request", field=".".join(map(str, error["loc"])), message=error["msg"])
            for error in exc.errors()
        )
        raise InvalidInput(problems) from exc


def error_json(error: SternwayError) -> dict[str, Any]:
    """Describe an error for the other side."""
    found: dict[str, Any] = {"kind": type(error).__name__, "error": error.message, "hint": error.hint}
    if isinstance(error, InvalidInput):
        found["problems"] = json.loads(to_json(error.problems, tuple[Problem, ...]))
    if isinstance(error, Temporary):
        found["retry_in_s"] = error.retry_in_s
    return found


def status_of(error: SternwayError) -> int:
    """Give the HTTP status of an error."""
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
