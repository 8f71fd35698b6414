"""Keeps alerts at one Alertmanager as they stand. Used by `control.telling`, a task for each.

What stands is posted when it changes, and again and again, because an alert that is not heard of any more ends there by itself.
So a restart of either side loses nothing, and there is no queue: what could not be posted is posted as it stands then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from sternway.clock import Clock
from sternway.control.persisting import persist
from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import StandingAlert
from sternway.ports import AlertSink

RESEND_S = 60.0
STANDS_S = 4 * RESEND_S
"""An alert that was posted ends by itself after so long; Prometheus does the same."""
SHORTEST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0

Labels = tuple[tuple[str, str], ...]
Standing = Callable[[float], Mapping[Labels, StandingAlert]]
"""Gives what stands, by its labels, to end at the time given if nothing more is heard."""


class Keeper:
    """One place where alerts are kept. tell: is told what is in the way, "" when nothing is."""

    def __init__(
        self, to: Endpoint, *, sink: AlertSink, clock: Clock, standing: Standing, tell: Callable[[str], None]
    ) -> None:
        self._to = to
        self._sink = sink
        self._clock = clock
        self._standing = standing
        self._tell = tell
        self._posted: dict[Labels, StandingAlert] = {}
        self._posted_s: float | None = None
        self._news = asyncio.Event()

    def look(self) -> None:
        """Something may have changed."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled; alerts are not ended then, because the next process goes on with them."""
        waits_s = (SHORTEST_WAIT_S, LONGEST_WAIT_S)
        await persist(self.post, news=self._news, tell=self._tell, waits_s=waits_s, every_s=RESEND_S)

    async def post(self) -> None:
        """Post what changed or is due. Raises SignalUnavailable; the next time everything is posted as it stands then."""
        now_s = self._clock.now()
        standing = dict(self._standing(now_s + STANDS_S))
        ended = [replace(one, ends_s=now_s) for labels, one in self._posted.items() if labels not in standing]
        due = self._posted_s is None or now_s - self._posted_s >= RESEND_S
        if not ended and not due and _texts(standing) == _texts(self._posted):
            return
        if standing or ended:
            await self._sink.post(self._to, [*standing.values(), *ended])
        self._posted, self._posted_s = standing, now_s


def _texts(alerts: Mapping[Labels, StandingAlert]) -> dict[Labels, StandingAlert]:
    """Alerts without what changes by the mere passing of time."""
    return {labels: replace(one, ends_s=0.0) for labels, one in alerts.items()}
