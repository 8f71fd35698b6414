"""Conditions of a status, by the convention of Kubernetes. Pure; used by `views`, `evidence` and `policies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sternway.manifests.models.status import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A condition before it is known since when it holds. holds: None is `Unknown`."""

    type: str
    holds: bool | None
    reason: str
    message: str = ""


def conditions(
    said: Sequence[Said], before: Mapping[str, object], generation: int | None, now_s: float
) -> tuple[Condition, ...]:
    """A condition keeps its time while its status stays the same."""
    listed = before.get("conditions")
    known = {one["type"]: one for one in listed} if isinstance(listed, list) else {}
    found = []
    for one in said:
        status = "Unknown" if one.holds is None else str(one.holds)
        old = known.get(one.type, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        found.append(
            Condition.model_validate(
                {
                    "type": one.type,
                    "status": status,
                    "reason": one.reason,
                    "message": one.message,
                    "lastTransitionTime": since or when(now_s),
                    "observedGeneration": generation,
                }
            )
        )
    return tuple(found)


def when(at_s: float | None) -> str | None:
    """Seconds since the epoch as Kubernetes writes a time."""
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
