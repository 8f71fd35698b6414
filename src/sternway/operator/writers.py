"""Writes what people see: the status of Guards, Releases, and Events. Views alone: nothing is ever read back to decide on.

One write only where something changed; a service's status at most once a second, but for a new phase.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sternway.control.measures import Measured
from sternway.control.status import ReleaseView, ServiceStatus
from sternway.errors import Problem
from sternway.kubernetes.api import Api, Object, Patch, name_of, namespace_of, ordinal_of
from sternway.kubernetes.errors import Conflict
from sternway.kubernetes.reading import Reader, of_guard
from sternway.kubernetes.resources import EVENTS, GUARDS, POLICIES, RELEASES
from sternway.manifests.models.status import CommandStatus
from sternway.operator.conditions import when
from sternway.operator.evidence import Evidence
from sternway.operator.views import IDLE, About, Twin, guard_status, release_object, resource_name

KEPT = 10
"""So many Releases of a Guard stay."""
_WARNINGS = ("withdrawn", "rolling-back", "rolled-back", "asking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is to be shown of a service now. revision: the Git commit that brought the release under way.

    measured: the figures of its last release; None where they stand in the Release already. false_alarms: the releases of
    which a person said that they should not have been rolled back.
    """

    status: ServiceStatus | None = None
    problems: tuple[Problem, ...] = ()
    mesh: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    twin: Twin = Twin.SERVES
    answer: CommandStatus | None = None
    revision: str = ""
    measured: Measured | None = None
    false_alarms: tuple[str, ...] = ()


class Writer:
    """Brings what stands in the cluster to what is to be shown."""

    def __init__(self, *, api: Api, reader: Reader) -> None:
        self._api = api
        self._reader = reader
        self._told: dict[tuple[str, str], str] = {}
        self._wrote: dict[str, Object] = {}
        """The status that a Guard or Policy should have, by its uid."""
        self._releases: dict[str, tuple[str, Object]] = {}
        """The name and the status of the last Release, by its Guard's uid."""

    def wrote(self, obj: Object) -> bool:
        """Whether a Guard or Policy has the status that it was given here last."""
        return self._wrote.get(_uid(obj)) == obj.get("status")

    def stands(self, guard: Object) -> bool:
        """Whether a Guard and its last Release show what they were given here last."""
        name, status = self._releases.get(_uid(guard), ("", {}))
        release = self._reader.get(RELEASES, name, namespace_of(guard)) if name else {"status": status}
        return self.wrote(guard) and release is not None and release.get("status") == status

    async def write(self, guard: Object, shown: Shown, now_s: float) -> None:
        """Write what differs. Raises the API's errors; all of it is compared again next time."""
        about = about_guard(guard)
        release = shown.status.release if shown.status else None
        if release is not None and shown.status is not None:
            images = {view.id: view.image for view in shown.status.versions}
            await self._release(about, release, images, shown)
            await self._false_alarms(about, shown.false_alarms)
            await self._event(about, release, now_s)
            await self._prune(about, resource_name(release.name))
        found = guard_status(
            about,
            shown.status,
            shown.problems,
            mesh=shown.mesh,
            evidence=shown.evidence,
            twin=shown.twin,
            answer=shown.answer,
            now_s=now_s,
        )
        await self._unsighted(about, found, now_s)
        self._wrote[about.uid] = found  # before it is: the watch may be quicker than the answer
        if found != dict(about.before):
            patch = [{"op": "add", "path": "/status", "value": found}]
            await self._api.patch(
                GUARDS, about.name, patch, namespace=about.namespace, how=Patch.JSON, subresource="status"
            )

    async def policy(self, policy: Object, found: Object) -> None:
        """Write the status of a Policy, if it differs."""
        self._wrote[_uid(policy)] = found
        if found != (policy.get("status") or {}):
            patch = [{"op": "add", "path": "/status", "value": found}]
            name, namespace = name_of(policy), namespace_of(policy)
            await self._api.patch(POLICIES, name, patch, namespace=namespace, how=Patch.JSON, subresource="status")

    def told(self, guard: Object, release: str) -> bool:
        """Whether the Release in the cluster holds the figures of a release that has ended."""
        found = self._reader.get(RELEASES, resource_name(release), namespace_of(guard)) or {}
        return "endedBy" in (found.get("status") or {})

    async def _release(self, about: About, view: ReleaseView, images: Mapping[str, str], shown: Shown) -> None:
        before = self._reader.get(RELEASES, resource_name(view.name), about.namespace)
        obj = release_object(
            about,
            view,
            images,
            before,
            revision=shown.revision,
            measured=shown.measured,
            false_alarm=view.name in shown.false_alarms,
        )
        status = obj.pop("status")
        self._releases[about.uid] = (name_of(obj), status)
        if before is None:
            with contextlib.suppress(Conflict):  # the store has not told of it yet
                await self._api.create(RELEASES, obj)
        elif before.get("status") == status:
            return
        patch = [{"op": "add", "path": "/status", "value": status}]
        await self._api.patch(
            RELEASES, name_of(obj), patch, namespace=about.namespace, how=Patch.JSON, subresource="status"
        )

    async def _false_alarms(self, about: About, names: Sequence[str]) -> None:
        """Note what a person says of a release on its Release, also once it is not the last one."""
        for name in map(resource_name, names):
            found = self._reader.get(RELEASES, name, about.namespace)
            status = (found or {}).get("status")
            if status and not status.get("falseAlarm") and name != self._releases[about.uid][0]:
                patch = {"status": {"falseAlarm": True}}
                await self._api.patch(RELEASES, name, patch, namespace=about.namespace, subresource="status")

    async def _event(self, about: About, view: ReleaseView, now_s: float) -> None:
        """One Event for each phase that a release enters, however often it is looked at."""
        undone = f"; {view.revert_message}" if view.phase == "rolled-back" and view.revert_message else ""
        await self._tell(
            about,
            f"{view.name} {view.phase} {view.withdrawals} {view.entered_s}",
            slot="phase",
            kind="Warning" if view.phase in _WARNINGS else "Normal",
            reason="".join(part.capitalize() for part in view.phase.split("-")),
            message=f"{resource_name(view.name)}: {view.to_version} {view.reason}{undone}",
            now_s=now_s,
        )

    async def _unsighted(self, about: About, status: Object, now_s: float) -> None:
        """One Event when nothing tells of a service's requests, and one for each release that goes on without."""
        found = next(one for one in status["conditions"] if one["type"] == "Sighted")
        if found["status"] != "False" or status.get("stable") is None:
            return
        under_way = status["phase"] != IDLE
        about_what = status["release"] if under_way else found["lastTransitionTime"]
        await self._tell(
            about,
            f"{found['reason']} {about_what}",
            slot="release unsighted" if under_way else "unsighted",
            kind="Warning",
            reason=found["reason"],
            message=found["message"],
            now_s=now_s,
        )

    async def _tell(
        self, about: About, said: str, *, slot: str, kind: str, reason: str, message: str, now_s: float
    ) -> None:
        """Tell an Event about a Guard once. said: which one; slot: in which row of Events it stands."""
        if self._told.get((about.uid, slot)) == said:
            return
        digest = hashlib.sha256(said.encode()).hexdigest()[:12]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name}.{digest}", "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": GUARDS.api_version,
                "kind": GUARDS.kind,
                "name": about.name,
                "namespace": about.namespace,
                "uid": about.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "sternway"},
            "firstTimestamp": when(now_s),
            "lastTimestamp": when(now_s),
            "count": 1,
        }
        with contextlib.suppress(Conflict):  # it was told before a restart
            await self._api.create(EVENTS, event)
        self._told[about.uid, slot] = said

    async def _prune(self, about: About, latest: str) -> None:
        mine = [
            one for one in self._reader.find(RELEASES, of_guard, about.name, about.namespace) if name_of(one) != latest
        ]
        for old in sorted(mine, key=ordinal_of, reverse=True)[KEPT - 1 :]:
            await self._api.delete(RELEASES, name_of(old), about.namespace)


def about_guard(guard: Object) -> About:
    """What a status needs to know of its Guard."""
    metadata = guard["metadata"]
    return About(
        name=name_of(guard),
        namespace=namespace_of(guard),
        uid=_uid(guard),
        generation=int(metadata.get("generation", 0)),
        before=guard.get("status") or {},
    )


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))
