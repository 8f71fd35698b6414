"""The release that only an alert takes back: what the shop's Guard says of it, and how long it all took. Used by `demo.run`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from sternway.bootstrap import Sternway
from sternway.control.status import ReleaseView
from sternway.demo.load import Answer
from sternway.demo.origin import Origin
from sternway.web import gather
from sternway.web.listeners import Listeners
from sternway.web.webhook import AlertWebhook

_GUARD = """\
  service: web
  deployment: web
"""
_ALERTS = """\
  alerts: # a rule of prometheus-rules/, which reads what the service counts by itself
    - match:
        alertname: OrdersFallAway
      onAlert: rollback
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Seconds from the first lost order to the alert, and to the last decision that took the version's traffic away."""

    alert_s: float
    back_s: float


async def watch_orders(origin: Origin) -> None:
    """Have the Guard heed the alert. It is no part of the sample: without Alertmanager every release would be blind to it."""
    await origin.change("guards.yaml", _GUARD, _GUARD + _ALERTS, "web: take a release back when orders fall away")


@contextlib.asynccontextmanager
async def listening(sternway: Sternway) -> AsyncIterator[None]:
    """Listen for what Alertmanager tells, as `sternway up` does."""
    server = Listeners((AlertWebhook(sternway.alertmanager, where=sternway.webhook),), tell=sternway.trouble)
    task = asyncio.create_task(server.run(), name="listen for webhooks")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(sternway: Sternway, release: ReleaseView, answers: Iterable[Answer]) -> Lost | None:
    """Say how long it took; None when one of the moments is not known."""
    lost = [answer.at_s for answer in answers if _lost(answer, release)]
    fired = [
        alert.since_s
        async for entry in gather.pages(sternway, release=release.name)
        if entry.observation is not None
        for alert in entry.observation.reading.alerts
    ]
    if not lost or not fired or release.decided_s is None:
        return None
    return Lost(alert_s=min(fired) - min(lost), back_s=release.decided_s - min(lost))


def _lost(answer: Answer, release: ReleaseView) -> bool:
    """A checkout that the candidate thanked for and told nobody of."""
    tag = release.to_version.rpartition("-")[0]
    return answer.method == "POST" and answer.status == 201 and answer.version == f"{release.service}/{tag}"
