"""What `kubectl get guards,releases` shows: our views as the status of custom resources. Pure; used by `writers`.

The models in `manifests/models/status.py` say what each field means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sternway.control.gating import GateView
from sternway.control.measures import Measured, account
from sternway.control.status import ReleaseView, ServiceStatus, VersionView
from sternway.errors import Problem
from sternway.kubernetes.api import Object
from sternway.manifests.models.status import (
    CommandStatus,
    GateStatus,
    GuardStatus,
    Release,
    ReleaseSpec,
    ReleaseStatus,
    VersionStatus,
)
from sternway.operator.conditions import Said, conditions, when
from sternway.operator.evidence import Evidence, sighted

IDLE = "idle"
_LONGEST_MESSAGE = 1024


class Twin(Enum):
    """Whether the twin runs the stable version and users reach it; before, a change of the Deployment may wait for that."""

    SERVES = "serves"
    AWAITED = "awaited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The Guard that a status is written for. before: the status that it has."""

    name: str
    namespace: str
    uid: str
    generation: int
    before: Mapping[str, object]


def guard_status(
    about: About,
    shown: ServiceStatus | None,
    problems: Sequence[Problem],
    *,
    mesh: str,
    evidence: Evidence,
    twin: Twin = Twin.SERVES,
    answer: CommandStatus | None,
    now_s: float,
) -> Object:
    """Give the status of a Guard. shown: None until the service was looked at for the first time.

    twin: whether stable is reached alone, by the twin or within its workload.
    """
    release = shown.release if shown else None
    under_way = release if release is not None and release.outcome == "under way" else None
    versions = {view.role: view for view in shown.versions} if shown else {}
    said = (
        _ready(shown, problems, twin if under_way is None else Twin.SERVES),
        _progressing(under_way),
        _degraded(shown, release),
        sighted(evidence, under_way, now_s),
    )
    status = GuardStatus(
        observed_generation=about.generation,
        phase=under_way.phase if under_way else IDLE,
        stable=_version(versions.get("stable")),
        candidate=_version(versions.get("candidate")),
        weight=_weight(under_way, versions),
        release=resource_name(release.name) if release else None,
        mesh=mesh or None,
        evidence=str(evidence),
        message=_short(shown.reason if shown else ""),
        last_command=answer,
        conditions=conditions(said, about.before, about.generation, now_s),
    )
    return _plain(status)


def release_object(
    about: About,
    view: ReleaseView,
    images: Mapping[str, str],
    before: Object | None,
    *,
    revision: str = "",
    measured: Measured | None = None,
    false_alarm: bool = False,
) -> Object:
    """Give the Release that shows a release, owned by its Guard. before: as it stands in the cluster.

    revision: the Git commit that brought the candidate; "" where nobody knows, which forgets none that was known.
    measured: its figures; None to leave those that stand there. false_alarm: a person said so.
    """
    known = (before or {}).get("status", {})
    spec = ReleaseSpec(
        guard=about.name,
        service=view.service.removesuffix(f".{about.namespace}"),
        candidate=VersionStatus(id=view.to_version, image=images.get(view.to_version, "")),
        stable=VersionStatus(id=view.from_version, image=images.get(view.from_version, "")),
    )
    over = view.outcome != "under way"
    changed_s = view.ended_s if view.ended_s is not None else view.entered_s
    succeeded = {"promoted": True, "rolled back": False}.get(view.outcome)
    said = (
        Said(type="Progressing", holds=not over, reason=_word(view.phase), message=_short(view.step) or ""),
        Said(type="Succeeded", holds=succeeded, reason=_word(view.outcome), message=_short(view.reason) or ""),
        Said(type="Withdrawn", holds=view.phase == "withdrawn", reason=_word(view.phase)),
    )
    status = ReleaseStatus(
        phase=view.phase,
        weight=round(view.percent, 4),
        message=_short("; ".join(part for part in (view.reason, view.uncounted) if part)),
        requests=view.requests,
        hurt=view.hurt,
        withdrawals=view.withdrawals,
        started_at=when(view.started_s),
        detected_at=when(view.detected_s),
        ended_at=when(view.ended_s),
        **(figures(measured) if measured is not None else {name: known.get(name) for name in FIGURES}),
        false_alarm=false_alarm or known.get("falseAlarm"),
        revision=revision or known.get("revision"),
        gates=tuple(map(_gate, view.gates)) or None,
        reverted=view.revert_commit,
        undone=_short(view.revert_message) or None,
        conditions=conditions(said, known, None, changed_s),
    )
    labels = {"sternway.dev/guard": about.name}
    owner = {"apiVersion": "sternway.dev/v1alpha1", "kind": "Guard", "name": about.name, "uid": about.uid}
    release = Release(
        api_version="sternway.dev/v1alpha1",
        kind="Release",
        metadata={
            "name": resource_name(view.name),
            "namespace": about.namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        spec=spec,
        status=status,
    )
    return _plain(release)


FIGURES = ("endedBy", "leadSeconds", "detectSeconds", "restoreSeconds", "blindSeconds", "afterPromotion")
"""What `operator.accounts` reads of a Release's status beside what people read of it."""


def figures(measured: Measured) -> Mapping[str, Any]:
    """The figures of a release for its status, of those that a report is made from."""
    found = account(measured)
    times = (found.lead_s, found.detect_s, found.restore_s, found.blind_s)
    over = found.ended_s is not None
    values = (found.by.value if over else None, *map(_to_the_ms, times), found.of_stable or None)
    return dict(zip(FIGURES, values, strict=True))


def _to_the_ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def resource_name(release: str) -> str:
    """`orders.shop-17` -> `orders-17`: the namespace is the resource's own."""
    service, _, number = release.rpartition("-")
    return f"{service.rpartition('.')[0] or service}-{number}"


def _ready(shown: ServiceStatus | None, problems: Sequence[Problem], twin: Twin) -> Said:
    if problems:
        message = "; ".join(str(problem) for problem in problems)
        return Said(type="Ready", holds=False, reason="Invalid", message=_short(message) or "")
    if shown is None or shown.stable is None:
        return Said(type="Ready", holds=None, reason="Starting", message="the proven-good version is being prepared")
    if shown.troubles:
        trouble = shown.troubles[0]
        message = f"{trouble.message}; {trouble.hint}" if trouble.hint else trouble.message
        return Said(type="Ready", holds=False, reason="InTheWay", message=_short(message) or "")
    if not shown.ready:
        stable = next((view for view in shown.versions if view.role == "stable"), None)
        message = (stable.failure if stable else None) or f"{shown.stable} has not all its replicas"
        return Said(type="Ready", holds=False, reason="StableNotReady", message=message)
    if twin is not Twin.SERVES:
        till = "waits until it is, and is then released" if twin is Twin.AWAITED else "rolls out unguarded"
        message = f"{shown.stable} is not set apart from what comes yet: a change now {till}"
        return Said(type="Ready", holds=False, reason="TwinNotReady", message=message)
    return Said(type="Ready", holds=True, reason="InForce", message=f"{shown.stable} serves")


def _progressing(release: ReleaseView | None) -> Said:
    if release is None:
        return Said(type="Progressing", holds=False, reason="Idle")
    message = f"{release.to_version}: {release.step or release.phase}"
    return Said(type="Progressing", holds=True, reason=_word(release.phase), message=_short(message) or "")


def _degraded(shown: ServiceStatus | None, release: ReleaseView | None) -> Said:
    held = shown is not None and shown.wanted is not None and shown.wanted in shown.held
    if held and shown is not None:
        message = f"{shown.wanted} was taken back and is held; {release.reason if release else shown.note}"
        return Said(type="Degraded", holds=True, reason="RolledBack", message=_short(message) or "")
    if release is not None and release.outcome == "under way" and release.phase in ("withdrawn", "rolling-back"):
        return Said(type="Degraded", holds=True, reason=_word(release.phase), message=_short(release.reason) or "")
    return Said(type="Degraded", holds=False, reason="AsWanted")


def _gate(view: GateView) -> GateStatus:
    return GateStatus.model_validate(
        {
            "name": view.name,
            "point": view.point,
            "state": view.state,
            "since": when(view.since_s),
            "message": _short(view.message),
        }
    )


def _version(view: VersionView | None) -> VersionStatus | None:
    return VersionStatus(id=view.id, image=view.image) if view else None


def _weight(release: ReleaseView | None, versions: Mapping[str, VersionView]) -> float | None:
    """What the proxies show, not what is wished."""
    candidate = versions.get("candidate")
    return None if release is None else round(candidate.percent if candidate else 0.0, 4)


def _word(text: str) -> str:
    """`rolled back` -> `RolledBack`: reasons are one word."""
    return "".join(part.capitalize() for part in text.replace("-", " ").split()) or "Unknown"


def _short(text: str) -> str | None:
    return None if not text else text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"


def _plain(model: GuardStatus | Release) -> Object:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
