"""Alertmanager as a signal source: the alerts that fire, for the services that they may concern. Used by `together`.

Its API is asked every few seconds, and says what fires, what is silenced and what is inhibited. A webhook is a hint that
comes sooner: it counts until the next answer of the API, and asks for it at once. So a lost, a late or a repeated
webhook does no harm. Without an API to ask, webhooks count alone: each (alert, start) fires once and is resolved
once, in whatever order and how often its news come.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sternway.clock import Clock
from sternway.domain.metrics import Alert, MetricQuestion, Unseen
from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import about_us
from sternway.domain.tallies import Question, Reading
from sternway.endpoint import HttpSource
from sternway.errors import SignalUnavailable
from sternway.signals.attribution import Mesh, paths_to

POLL_S = 5.0
REMEMBERED = 10_000
_ALL = "/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Firing:
    """One alert that is there. active: neither silenced nor inhibited. since_s: by our clock."""

    labels: Mapping[str, str]
    starts: str
    since_s: float
    active: bool
    told_s: float


class Alertmanager:
    """Implements ports.SignalSource for alerts alone, and takes webhooks.

    listens: whether webhooks may come. mesh: who calls whom, and whose replica an address is.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        where: Callable[[], Endpoint | None],
        mesh: Mesh,
        listens: Callable[[], bool] = lambda: False,
        wake: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._mesh = mesh
        self._listens = listens
        self._wake = wake
        self.source = HttpSource("Alertmanager", where)
        self._wanted: dict[str, MetricQuestion] = {}
        self._firing: dict[str, _Firing] = {}
        self._over: OrderedDict[str, str] = OrderedDict()
        self._asked_s: float | None = None
        self._unseen: tuple[float, str] | None = None
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        question = self._wanted.get(service)
        if question is None:
            return Reading()
        return Reading(alerts=tuple(self._concerning(service, question)), unseen=self._unseen_now())

    def ask(self, service: str, question: Question | None) -> None:
        """See ports.SignalSource."""
        metrics = question.metrics if question else None
        if metrics is None or not metrics.alerts:
            self._wanted.pop(service, None)
        else:
            self._wanted[service] = metrics
        if self._wanted and self._task is None:
            self._unseen = (self._clock.now(), "not asked yet")
            self._task = asyncio.create_task(self._run(), name="ask Alertmanager")
        elif not self._wanted and self._task is not None:
            self._task.cancel()
            self._task = None

    def take(self, alerts: Iterable[Mapping[str, Any]]) -> int:
        """Take in a webhook's alerts; gives how many of them were news. Raises ValueError, LookupError, TypeError."""
        now_s, news = self._clock.now(), 0
        for alert in alerts:
            labels = {str(name): str(value) for name, value in alert["labels"].items()}
            news += self._told(str(alert.get("fingerprint") or _fingerprint(labels)), alert, labels, now_s)
        if news:
            self._hint.set()
            for service in self._wanted:
                self._wake(service)
        return news

    async def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
        await self.source.close()

    def _told(self, id_: str, alert: Mapping[str, Any], labels: Mapping[str, str], now_s: float) -> bool:
        starts = str(alert["startsAt"])
        starts_s = _seconds(starts)
        known = self._firing.get(id_)
        if alert["status"] == "resolved":
            self._resolve(id_, starts)
            if known is not None and _seconds(known.starts) <= starts_s:
                del self._firing[id_]
                return True
            return False
        over = self._over.get(id_)
        if alert["status"] != "firing" or (over is not None and starts_s <= _seconds(over)):
            return False
        if (known is not None and starts_s <= _seconds(known.starts)) or len(self._firing) >= REMEMBERED:
            return False
        since_s = min(max(starts_s, self._asked_s or starts_s), now_s)
        self._firing[id_] = _Firing(labels=labels, starts=starts, since_s=since_s, active=True, told_s=now_s)
        return True

    def _resolve(self, id_: str, starts: str) -> None:
        before = self._over.get(id_)
        if before is None or _seconds(starts) > _seconds(before):
            self._over[id_] = starts
            self._over.move_to_end(id_)
            if len(self._over) > REMEMBERED:
                self._over.popitem(last=False)

    async def _run(self) -> None:
        while True:
            self._hint.clear()
            if self.source.known:
                await self._poll()
            else:
                self._unseen = None if self._listens() else self._since(f"{_NOWHERE}: see monitoring.yaml")
            for service in self._wanted:
                self._wake(service)
            try:
                async with asyncio.timeout(POLL_S):
                    await self._hint.wait()
            except TimeoutError:
                continue

    async def _poll(self) -> None:
        began_s = self._clock.now()
        try:
            found = await self.source.ask(_ALL)
            told = {str(alert["fingerprint"]): self._polled(alert, began_s) for alert in found}
        except SignalUnavailable as trouble:
            self._unseen = self._since(trouble.message)
            return
        except (ValueError, LookupError, TypeError, AttributeError):
            self._unseen = self._since("Alertmanager answered with what cannot be read")
            return
        self._unseen = None
        self._asked_s = began_s
        since = {id_: one for id_, one in self._firing.items() if one.told_s >= began_s}
        self._firing = {**since, **told}

    def _polled(self, alert: Mapping[str, Any], now_s: float) -> _Firing:
        """How an alert of the API stands. What was not there at the last look has begun since, whatever its clock says."""
        starts = str(alert["startsAt"])
        known = self._firing.get(str(alert["fingerprint"]))
        if known is not None and known.starts == starts:
            since_s = known.since_s
        else:
            since_s = min(max(_seconds(starts), self._asked_s or 0.0), now_s)
        return _Firing(
            labels={str(name): str(value) for name, value in alert["labels"].items()},
            starts=starts,
            since_s=since_s,
            active=alert["status"]["state"] == "active",
            told_s=now_s,
        )

    def _concerning(self, service: str, question: MetricQuestion) -> Iterable[Alert]:
        """Find what fires here, at who calls this service or is called by it, or at nobody who could be named.

        What is about Sternway itself (its own alerts come back by API and webhook) judges nobody.
        """
        paths: dict[str, tuple[str, ...]] | None = None
        for id_, one in sorted(self._firing.items()):
            if not one.active or about_us(one.labels) or not any(rule.fits(one.labels) for rule in question.alerts):
                continue
            named, version = self._mesh.named(one.labels)
            via: tuple[str, ...] = ()
            if named and named != service:
                paths = paths_to(service, self._mesh.edges()) if paths is None else paths
                if named not in paths:
                    continue
                via, version = paths[named], ""
            labels = tuple(sorted(one.labels.items()))
            yield Alert(id=id_, labels=labels, since_s=one.since_s, version=version, via=via)

    def _unseen_now(self) -> tuple[Unseen, ...]:
        if self._unseen is None:
            return ()
        since_s, why = self._unseen
        return (Unseen(criterion="alerts", since_s=since_s, why=why),)

    def _since(self, why: str) -> tuple[float, str]:
        return (self._unseen[0] if self._unseen else self._clock.now(), why)


_NOWHERE = "no Alertmanager is configured"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _fingerprint(labels: Mapping[str, str]) -> str:
    text = "\n".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
