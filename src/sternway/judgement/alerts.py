"""Alerts that fire: whom they blame, and what follows. Called by `metrics`.

An alert whose labels name the candidate blames it. One that names neither version blames it by time: it began while the
candidate had traffic, at this service or at one that calls it or is called by it. That is no proof, so at first it only
withdraws; when it falls silent meanwhile and begins again in the next exposure, it is as good as a name. An alert that
names stable blames nobody, and nor does one that stable has too. What fired before the candidate came is not its doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sternway.domain.evidence import Alerted, Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.metrics import Alert, OnAlert
from sternway.domain.tallies import Reading

ALERTS = "alerts"
VERSION_LABELS = frozenset(
    {
        "version",
        "tag",
        "app_version",
        "service_version",
        "destination_version",
        "label_version",
        "app_kubernetes_io_version",
    }
)
"""Labels whose value may be a version's tag; its id may stand in any."""


def fold_alerts(settings: JudgeSettings, evidence: Evidence, reading: Reading) -> tuple[Alerted, ...]:
    """Bring what is known of alerts up to date."""
    known = {one.id: one for one in evidence.measured.alerts}
    if any(one.criterion == ALERTS for one in reading.unseen):
        return evidence.measured.alerts
    seen = {one.id: one for one in _blaming(settings, evidence, reading)}
    return tuple(
        _again(evidence, known.get(id_), seen.get(id_), known.get(id_) or seen[id_]) for id_ in sorted({*known, *seen})
    )


def condemning(settings: JudgeSettings, evidence: Evidence) -> Alerted | None:
    """An alert that takes the release back."""
    return next((one for one in _firing(evidence) if _then(settings, one) is OnAlert.ROLLBACK and _proven(one)), None)


def suspecting(settings: JudgeSettings, evidence: Evidence) -> Alerted | None:
    """An alert of this exposure that withdraws the candidate."""
    return next(
        (
            one
            for one in _firing(evidence)
            if _then(settings, one) is not OnAlert.HOLD and (one.sure or _of_this_exposure(evidence, one.since_s))
        ),
        None,
    )


def holding(evidence: Evidence) -> Alerted | None:
    """An alert that keeps the release where it is; a withdrawn one, withdrawn until it is silent."""
    return next(_firing(evidence), None)


def words(one: Alerted) -> str:
    """What an alert says, for people."""
    if one.sure:
        return one.words
    times = f", in {one.exposures} exposures" if one.exposures > 1 else ""
    return f"{one.words}; it names no version, but began while the candidate had traffic{times}"


def names(alert: Alert, version: str, other: str) -> bool:
    """Whether an alert's labels name a version: by its id, by a tag that the other has not, or by a replica of it."""
    if not version or alert.version:
        return bool(version) and alert.version == version
    tag, other_tag = version.rpartition("-")[0], other.rpartition("-")[0]
    for label, value in alert.labels:
        if {version, version.replace(".", "_")} & set(value.split("|")):  # Envoy's statistics have no dots in names
            return True
        if label in VERSION_LABELS and tag and tag != other_tag and value == tag:
            return True
    return False


def _blaming(settings: JudgeSettings, evidence: Evidence, reading: Reading) -> Iterator[Alerted]:
    stable, candidate = evidence.stable, evidence.candidate
    of_stable = {alert.name for alert in reading.alerts if names(alert, stable, candidate)}
    for alert in reading.alerts:
        labels = dict(alert.labels)
        rule = next((number for number, one in enumerate(settings.alerts) if one.fits(labels)), None)
        sure = names(alert, candidate, stable)
        if rule is None or names(alert, stable, candidate) or (sure and alert.name in of_stable):
            continue
        if sure or _of_this_exposure(evidence, alert.since_s) or _known(evidence, alert):
            yield Alerted(id=alert.id, words=_describe(alert), rule=rule, since_s=alert.since_s, sure=sure)


def _describe(alert: Alert) -> str:
    said = " ".join(f"{label}={value}" for label, value in alert.labels if label != "alertname")
    way = f" at {' -> '.join(alert.via)}" if alert.via else ""
    return f"the alert {alert.name} fires{way}" + (f" ({said})" if said else "")


def _known(evidence: Evidence, alert: Alert) -> bool:
    return any(one.id == alert.id for one in evidence.measured.alerts)


def _again(evidence: Evidence, known: Alerted | None, seen: Alerted | None, either: Alerted) -> Alerted:
    if seen is None:
        return replace(either, firing=False)
    if known is None:
        return seen
    since_s = evidence.measured.since_s
    anew = since_s is not None and known.since_s < since_s <= seen.since_s
    return replace(seen, exposures=known.exposures + anew)


def _of_this_exposure(evidence: Evidence, since_s: float) -> bool:
    return evidence.measured.since_s is not None and since_s >= evidence.measured.since_s


def _firing(evidence: Evidence) -> Iterator[Alerted]:
    return (one for one in evidence.measured.alerts if one.firing)


def _then(settings: JudgeSettings, one: Alerted) -> OnAlert:
    return settings.alerts[one.rule].then if one.rule < len(settings.alerts) else OnAlert.HOLD


def _proven(one: Alerted) -> bool:
    return one.sure or one.exposures > 1
