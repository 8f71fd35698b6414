"""Keeps alerts at Alertmanager, by its API v2. Used by `sternway.control.keeper`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import StandingAlert
from sternway.endpoint import HttpSource

_AT_ONCE = 200


class AlertmanagerSink:
    """Implements ports.AlertSink."""

    def __init__(self) -> None:
        self._sources: dict[Endpoint, HttpSource] = {}

    async def post(self, to: Endpoint, alerts: Sequence[StandingAlert]) -> None:
        """See ports.AlertSink. Nothing to post is posted too: it shows whether alerts are taken."""
        source = self._sources.get(to)
        if source is None:
            source = self._sources[to] = HttpSource("Alertmanager", lambda: to)
        for start in range(0, max(1, len(alerts)), _AT_ONCE):
            await source.tell("/api/v2/alerts", [_document(one) for one in alerts[start : start + _AT_ONCE]])

    async def close(self) -> None:
        """Close every connection."""
        for source in self._sources.values():
            await source.close()


def _document(alert: StandingAlert) -> dict[str, object]:
    document: dict[str, object] = {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": _time(min(alert.starts_s, alert.ends_s)),
        "endsAt": _time(alert.ends_s),
    }
    return {**document, "generatorURL": alert.link} if alert.link else document


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
