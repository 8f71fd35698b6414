"""By what a service's releases are judged now, and what to do where that is nothing. Pure; used by `cluster` and `views`."""

from __future__ import annotations

from dataclasses import dataclass

from sternway.control.status import ReleaseView
from sternway.engine.alerting import BLIND_AFTER_S, UNCOUNTED_AFTER_S
from sternway.engine.uncounted import REMEDY
from sternway.operator.conditions import Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What there is to see a service's releases by.

    heard: a connected proxy has told of it. listens: proxies may send their access log. metrics: its Guard or its mesh has
    some. counts: one of them counts requests. prometheus: it is known where they are read.
    """

    heard: bool = False
    listens: bool = False
    metrics: bool = False
    counts: bool = False
    prometheus: bool = False

    def __str__(self) -> str:
        if self.heard:
            return "access log"
        return "metrics" if self.metrics else "none"


def sighted(evidence: Evidence, release: ReleaseView | None, now_s: float) -> Said:
    """Say whether a release can be judged by its requests. release: the one under way."""
    if release is not None and release.blind_s is not None and release.blind_s >= BLIND_AFTER_S:
        what = f"not seen: {release.blind_to}" if release.blind_to else "nothing tells of the candidate's requests"
        return _said(holds=False, reason="Blind", message=f"{what}; the split holds")
    if evidence.heard:
        return _said(holds=True, reason="AccessLog", message="proxies tell of each request")
    if evidence.counts and evidence.prometheus:
        return _said(holds=True, reason="Metrics", message="requests are counted by metrics")
    if release is not None and release.uncounted and now_s - release.entered_s >= UNCOUNTED_AFTER_S:
        return _said(holds=False, reason="NothingCounts", message=f"{release.uncounted}; {REMEDY}")
    return _nothing(evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lack:
    """Why requests are not counted. then: what follows for a release."""

    reason: str
    missing: str
    then: str
    remedy: str


_NO_PROMETHEUS = _Lack(
    reason="NoPrometheus",
    missing="no Prometheus is known that its metrics could be read from",
    then="a release is blind",
    remedy="name one (`sternway operator --prometheus URL`)",
)
_NO_METRIC = _Lack(
    reason="NothingCounts",
    missing="no metric counts its requests",
    then="a release is judged by crashes and alerts alone, and where it waits for requests, it waits for a person",
    remedy=REMEDY,
)


def _nothing(evidence: Evidence) -> Said:
    """Nothing counts; where a log is listened to, it may yet come with the first request."""
    lack = _NO_PROMETHEUS if evidence.counts else _NO_METRIC
    if evidence.listens:
        said = f"no proxy has told of it yet, and {lack.missing}; if it has traffic, {lack.remedy}"
        return _said(holds=None, reason="NotHeardYet", message=said)
    said = f"no access log is listened to, and {lack.missing}: {lack.then}; {lack.remedy}"
    return _said(holds=False, reason=lack.reason, message=said)


def _said(*, holds: bool | None, reason: str, message: str) -> Said:
    return Said(type="Sighted", holds=holds, reason=reason, message=message)
