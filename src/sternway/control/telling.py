"""Tells people outside: alerts that stand at Alertmanager, messages to addresses. Wired by `sternway.bootstrap`.

After each pass, and every second, it is worked out anew what is to be told; what is told to whom is the work of a `Keeper`
or a `Courier`, each a task of its own. Nothing here is waited for: a pass only leaves word where its service stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from sternway.clock import Clock
from sternway.control.courier import Courier
from sternway.control.keeper import Keeper, Labels
from sternway.control.status import troubles as read_troubles
from sternway.domain.monitoring import Endpoint, Monitoring
from sternway.domain.notices import SEVERITIES, Failing, Message, Notice, StandingAlert
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Progress
from sternway.engine import wording
from sternway.engine.alerting import notices, of_platform
from sternway.ports import AlertSink, Journal, Messenger

LOOK_EVERY_S = 1.0
ALERTS_TO, NOTIFY = "alerts to", "notify"
"""So begin the names of troubles of telling itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    progress: Progress
    workloads: tuple[WorkloadState, ...]


class Telling:
    """Everything that is told. troubles: what does not work now; tell(about, text): what is in the way of telling."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        settings: Callable[[], Monitoring],
        troubles: Callable[[], Mapping[str, str]],
        sink: AlertSink,
        messenger: Messenger,
        tell: Callable[[str, str], None],
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._settings = settings
        self._troubles = troubles
        self._sink = sink
        self._messenger = messenger
        self._tell = tell
        self._places: dict[str, _Place] = {}
        self._moved: list[_Place] = []
        self._news = asyncio.Event()
        self._failing_since: dict[str, float] = {}
        self._standing: dict[str, dict[str, Notice]] = {}
        self._keepers: dict[Endpoint, tuple[Keeper, asyncio.Task[None]]] = {}
        self._couriers: dict[str, tuple[Courier, asyncio.Task[None]]] = {}

    def look(self, progress: Progress, workloads: Sequence[WorkloadState] = ()) -> None:
        """Take in where a service stands. Called in each pass: it neither waits nor fails."""
        place = _Place(progress=progress, workloads=tuple(workloads))
        before = self._places.get(progress.service)
        self._places[progress.service] = place
        if (before is None or _news(before.progress) != _news(progress)) and (self._keepers or self._couriers):
            self._moved.append(place)  # each one, however soon the next comes
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                self.round()
            except Exception:  # noqa: BLE001  a bug here must not end it for ever; it is shown in `status`
                self._tell("telling", traceback.format_exc())
            else:
                self._tell("telling", "")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._news.wait()

    async def close(self) -> None:
        """Stop telling; what stands and what waits is told on by the next process."""
        tasks = [task for _, task in (*self._keepers.values(), *self._couriers.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def round(self) -> None:
        """Work out what is to be told, and hand it on."""
        self._news.clear()
        self._follow()
        moved, self._moved = self._moved, []
        if not self._keepers and not self._couriers:
            return
        failing = self._failing()
        for place in (*moved, *self._places.values()):
            self._stand(place.progress.service, self._notices(place, failing))
        self._stand("", of_platform(self._shared(failing), now_s=self._clock.now()))
        for keeper, _ in self._keepers.values():
            keeper.look()
        for courier, _ in self._couriers.values():
            courier.forget()

    def _follow(self) -> None:
        """Tell whom the manifests name now, and nobody else."""
        settings = self._settings()
        files = {one.url_file for one in settings.notifications}
        for gone in set(self._keepers) - set(settings.alerted):
            self._keepers.pop(gone)[1].cancel()
            self._tell(f"{ALERTS_TO} {gone.url}", "")
        for left in set(self._couriers) - files:
            courier, task = self._couriers.pop(left)
            task.cancel()
            self._tell(f"{NOTIFY} {courier.name}", "")
        for to in set(settings.alerted) - set(self._keepers):
            keeper = Keeper(
                to, sink=self._sink, clock=self._clock, standing=self._alerts, tell=self._teller(ALERTS_TO, to.url)
            )
            self._keepers[to] = (keeper, asyncio.create_task(keeper.run(), name=f"{ALERTS_TO} {to.url}"))
        for file in files - set(self._couriers):
            courier = self._courier(file)
            self._couriers[file] = (courier, asyncio.create_task(courier.run(), name=f"{NOTIFY} {courier.name}"))

    def _courier(self, file: str) -> Courier:
        def words(notice: Notice) -> Message:
            return wording.message(notice, self._settings().alerts, since_s=notice.since_s or self._clock.now())

        name = file.rpartition("/")[2]
        return Courier(
            file,
            messenger=self._messenger,
            journal=self._journal,
            clock=self._clock,
            wording=words,
            tell=self._teller(NOTIFY, name),
        )

    def _teller(self, what: str, name: str) -> Callable[[str], None]:
        return lambda text: self._tell(f"{what} {name}", text)

    def _failing(self) -> dict[str, Failing]:
        """What does not work, each with the time since when it is known."""
        now_s = self._clock.now()
        found = read_troubles(self._troubles())
        self._failing_since = {one.about: self._failing_since.get(one.about, now_s) for one in found}
        return {
            one.about: Failing(
                about=one.about, message=one.message, hint=one.hint, since_s=self._failing_since[one.about]
            )
            for one in found
        }

    def _shared(self, failing: Mapping[str, Failing]) -> list[Failing]:
        """What is in the way of no single service: one cause that many suffer is told once."""
        many = Counter(one.message for one in failing.values())
        alone = [one for one in failing.values() if self._service_of(one.about) is None]
        common: dict[str, Failing] = {}
        for about, one in sorted(failing.items()):
            if many[one.message] > 1 and one not in alone:
                common.setdefault(one.message, replace(one, about=f"{about} and others"))
        return [*alone, *common.values()]

    def _notices(self, place: _Place, failing: Mapping[str, Failing]) -> tuple[Notice, ...]:
        many = Counter(one.message for one in failing.values())
        service = place.progress.service
        mine = [one for about, one in failing.items() if self._service_of(about) == service and many[one.message] == 1]
        return notices(
            place.progress,
            place.workloads,
            mine,
            now_s=self._clock.now(),
            rolled_back_s=self._settings().alerts.rolled_back_s,
        )

    def _service_of(self, about: str) -> str | None:
        """`orders`, `marks orders` and `revert orders-17` are about orders."""
        what, _, name = about.rpartition(" ")
        service = name.rpartition("-")[0] if what == "revert" else name
        return service if what in ("", "marks", "revert") and service in self._places else None

    def _stand(self, service: str, found: Sequence[Notice]) -> None:
        """Note what stands, and since when; offer it to whoever wants to be told."""
        now_s, known = self._clock.now(), self._standing.get(service, {})
        dated = {}
        for one in found:
            before = known.get(one.key)
            since_s = before.since_s if before else one.since_s
            dated[one.key] = replace(one, since_s=now_s if since_s is None else since_s)
        self._standing[service] = dated
        for notice in dated.values():
            if now_s >= notice.tell_from_s:
                self._offer(notice)

    def _offer(self, notice: Notice) -> None:
        for one in self._settings().notifications:
            wanted = not notice.service or any(fnmatchcase(notice.service, pattern) for pattern in one.services)
            courier, _ = self._couriers[one.url_file]
            if notice.what in one.when and wanted and notice.which != f"{NOTIFY} {courier.name}":
                courier.offer(notice)

    def _alerts(self, ends_s: float) -> dict[Labels, StandingAlert]:
        """What stands and is worth an alert, by its labels."""
        settings = self._settings().alerts
        made = [
            wording.alert(notice, settings, since_s=notice.since_s or 0.0, ends_s=ends_s)
            for standing in self._standing.values()
            for notice in standing.values()
            if notice.what in SEVERITIES and not notice.which.startswith(ALERTS_TO)
        ]
        return {one.labels: one for one in made}


def _news(progress: Progress) -> tuple[object, ...]:
    """What of a progress may be gone in the next pass and has to be told all the same."""
    release = progress.release
    if release is None:
        return (progress.note,)
    held = release.judgement is not None and bool(release.judgement.hold)
    return (progress.note, release.name, release.phase, release.withdrawals, held)
