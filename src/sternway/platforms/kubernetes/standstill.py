"""Gates whose pod does not start: why, since when, and how long that is borne. Used by `gates`.

What the kubelet, the scheduler or the Job controller says is shown at once. It fails the gate when it lasts: a registry may be away for
a moment, and a new node takes minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sternway.kubernetes.api import Api, Object, name_of, namespace_of
from sternway.kubernetes.errors import Denied
from sternway.kubernetes.reading import Reader
from sternway.kubernetes.resources import EVENTS, PODS
from sternway.platforms.kubernetes.states import start_failure, unschedulable

EVENTS_AGAIN_S = 10.0
"""How often the events of a Job are read that has no pod."""


class Kind(Enum):
    """What does not go on, and how long that is borne, in s."""

    START = 30.0
    """Its image cannot be pulled, or its container cannot be started."""
    PLACE = 120.0
    """No node takes its pod, or its pod or its Job may not be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstill:
    """Why a gate does not get on. since_s: when this kind of it was seen first."""

    kind: Kind
    why: str
    since_s: float


class Standstills:
    """Remembers those of every gate that runs, by the mark of its Job."""

    def __init__(self, *, api: Api, reader: Reader) -> None:
        self._api = api
        self._reader = reader
        self._known: dict[str, Standstill] = {}
        self._read_s: dict[str, float] = {}

    def of(self, mark: str) -> Standstill | None:
        """Why a gate does not get on, as it was seen last."""
        return self._known.get(mark)

    def keep(self, mark: str, kind: Kind, why: str, now_s: float) -> None:
        """It does not get on."""
        before = self._known.get(mark)
        since_s = before.since_s if before is not None and before.kind is kind else now_s
        self._known[mark] = Standstill(kind=kind, why=why, since_s=since_s)

    def forget(self, mark: str) -> None:
        """It gets on, or nobody waits for it any more."""
        self._known.pop(mark, None)
        self._read_s.pop(mark, None)

    async def look(self, mark: str, job: Object, now_s: float) -> None:
        """See how a Job that runs gets on."""
        pods = self._reader.owned(PODS, str(job["metadata"]["uid"]))
        start = next(filter(None, map(start_failure, pods)), "")
        place = next(filter(None, map(unschedulable, pods)), "")
        if start:
            self.keep(mark, Kind.START, start, now_s)
        elif place:
            self.keep(mark, Kind.PLACE, place, now_s)
        elif pods:
            self.forget(mark)
        else:
            await self._without_pods(mark, job, now_s)

    async def _without_pods(self, mark: str, job: Object, now_s: float) -> None:
        """A Job does not say why it has no pod; its events do. It may also rest until somebody lets it begin."""
        first = mark not in self._read_s
        if first or now_s - self._read_s[mark] < EVENTS_AGAIN_S:
            self._read_s.setdefault(mark, now_s)
            return
        self._read_s[mark] = now_s
        about = f"involvedObject.name={name_of(job)},reason=FailedCreate"
        try:
            found = (await self._api.list(EVENTS, namespace=namespace_of(job), fields=about)).items
        except Denied as exc:
            self.keep(mark, Kind.PLACE, f"its Job has no pod, and why may not be read: {exc}", now_s)
            return
        mine = [one for one in found if one["involvedObject"].get("uid") == job["metadata"]["uid"]]
        if mine:
            last = max(mine, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
            self.keep(mark, Kind.PLACE, f"its pod cannot be made: {last.get('message', '')}", now_s)
        else:
            self._known.pop(mark, None)
