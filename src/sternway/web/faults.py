"""Errors of talking to the platform, and raising again what it answered. Used by `web.api` and `web.client`.

Imports next to nothing, so that a command that fails fails quickly.
"""

from __future__ import annotations

from typing import Any

from sternway.errors import (
    HistoryUnavailable,
    InvalidInput,
    NotApplied,
    PlatformUnavailable,
    Problem,
    Refused,
    SternwayError,
    StoreUnavailable,
    Temporary,
)


class NotFound(Refused):
    """Nothing has the name that was asked for."""


class NotRunning(Refused):
    """No platform is running there."""


class TookTooLong(Temporary):
    """The platform did not answer, or did not finish, in time."""


_KINDS: dict[str, type[SternwayError]] = {
    kind.__name__: kind
    for kind in (
        NotFound,
        Refused,
        PlatformUnavailable,
        NotApplied,
        HistoryUnavailable,
        StoreUnavailable,
        Temporary,
    )
}


def error_from(found: dict[str, Any]) -> SternwayError:
    """Give back the error that the other side described."""
    message, hint = str(found.get("error", "")), str(found.get("hint", ""))
    kind = str(found.get("kind", ""))
    if kind == "InvalidInput":
        return InvalidInput(tuple(Problem(**problem) for problem in found.get("problems", ())), hint=hint)
    error = _KINDS.get(kind, SternwayError)(message, hint=hint)
    if isinstance(error, Temporary):
        error.retry_in_s = float(found.get("retry_in_s", 1.0))
    return error
