"""How the pods of a workload come to run another revision of it, where they cannot run twice. Pure; used by `in_place`.

    StatefulSet    its partition rests above every pod, and is opened for one pod at a time; a pod that is deleted meanwhile
                   comes back as the revision that the others run
    DaemonSet      replaces none by itself (`OnDelete`); a pod that is deleted comes back as the newest revision, whatever it was

So a StatefulSet's pods go back while its template still asks for the candidate; a DaemonSet's once the template is restored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Protocol

from sternway.domain.platform import WorkloadRun
from sternway.kubernetes.api import Object, name_of, ordinal_of
from sternway.kubernetes.ours import named
from sternway.kubernetes.reading import replicas_of
from sternway.kubernetes.resources import DAEMON_SETS, PODS
from sternway.platforms.kubernetes.batches import HASH, Batch
from sternway.platforms.kubernetes.scene import Scene, owned_by_gitops
from sternway.platforms.kubernetes.writes import Write, edit, merge_patch, remove

REST = 2**31 - 1
"""The partition that holds every pod, however many an autoscaler adds."""


class Led:
    """Where requests are led. quiet: whether every proxy has had the time to learn it."""

    def __init__(self, scene: Scene, carrying: Collection[str], *, quiet: bool) -> None:
        roles = (("stable", scene.stable_service), ("candidate", scene.candidate_service))
        self.roles = {role: named(scene.name, role) in carrying or not quiet for role, _ in roles}
        self._hashes = {selected(service) for role, service in roles if self.roles[role]} | {selected(scene.service)}
        self.unsettled = not quiet

    def to(self, batch: Batch) -> bool:
        """Whether requests may still reach the pods of a revision."""
        return self.unsettled or batch.hash in self._hashes


class Replacing(Protocol):
    """How a kind of workload replaces its pods."""

    held: ClassVar[Object]
    """The `updateStrategy` that holds every pod, while there is a Guard."""

    def update(self, scene: Scene) -> str:
        """The revision of the template as it is; "" where its controller has not made it yet."""
        ...

    def back(self, scene: Scene) -> str:
        """The revision that a pod comes back as, while all are held."""
        ...

    def moved(self, scene: Scene, runs: Sequence[WorkloadRun], led: Led) -> tuple[Write, ...]:
        """Hold what is not held, and let one pod more run the new revision, or one less. runs: the stable version first."""
        ...


class InOrder:
    """The pods of a StatefulSet, from the last one down."""

    held: ClassVar[Object] = {"type": "RollingUpdate", "rollingUpdate": {"partition": REST}}

    def update(self, scene: Scene) -> str:
        """See Replacing."""
        return str(_status(scene).get("updateRevision", ""))

    def back(self, scene: Scene) -> str:
        """See Replacing. Until every pod is replaced that is the proven one."""
        return str(_status(scene).get("currentRevision", ""))

    def moved(self, scene: Scene, runs: Sequence[WorkloadRun], led: Led) -> tuple[Write, ...]:
        """See Replacing."""
        user = scene.user
        assert user is not None
        partition = self._partition(scene, runs, led)
        if partition is None:
            return ()
        now = (user.deployment["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        if now.get("partition") != partition:
            change = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}}
            return (edit(scene.kind, user.deployment, change),)
        return self._taken_back(scene, runs, led) if partition == REST else ()

    def _partition(self, scene: Scene, runs: Sequence[WorkloadRun], led: Led) -> int | None:
        """Where new pods begin: open for the next one, at rest otherwise. None: as it is, for a pod is on its way."""
        update = batch_of(scene, self.update(scene))
        if update is None or _lacking(runs, update) <= 0:
            return REST
        if _on_its_way(scene):
            return None
        before = [(ordinal_of(pod), pod, one) for one in scene.batches if one is not update for pod in one.pods]
        if update.unready or not before or selected(scene.candidate_service) != update.hash:
            return REST
        number, pod, batch = max(before, key=lambda one: one[0])
        return number if _may_go(pod, batch, led) else REST

    def _taken_back(self, scene: Scene, runs: Sequence[WorkloadRun], led: Led) -> tuple[Write, ...]:
        """Delete what there is too much of; what never became ready first, since a StatefulSet waits for it for ever."""
        found = [(one, _excess(scene, runs, one)) for one in scene.batches if one.hash != self.back(scene)]
        unready = [pod for batch, excess in found for pod in batch.unready[:excess]]
        if unready:
            return tuple(remove(PODS, pod) for pod in unready)
        if _on_its_way(scene) or any(one.unready for one in scene.batches):
            return ()
        going = ((min(batch.pods, key=ordinal_of), batch) for batch, excess in found if excess)
        return tuple(remove(PODS, pod) for pod, batch in going if _may_go(pod, batch, led))[:1]


class OnDelete:
    """The pods of a DaemonSet, which go one by one while the newest revision lacks some."""

    held: ClassVar[Object] = {"type": "OnDelete", "rollingUpdate": None}

    def update(self, scene: Scene) -> str:
        """See Replacing. Its status does not name it; its controller makes it to the letter."""
        assert scene.user is not None
        return next((one.hash for one in scene.batches if one.template == scene.user.template), "")

    def back(self, scene: Scene) -> str:
        """See Replacing."""
        return self.update(scene)

    def moved(self, scene: Scene, runs: Sequence[WorkloadRun], led: Led) -> tuple[Write, ...]:
        """See Replacing."""
        user = scene.user
        assert user is not None
        if (user.deployment["spec"].get("updateStrategy") or {}).get("type") != self.held["type"]:
            return (edit(scene.kind, user.deployment, {"spec": {"updateStrategy": self.held}}),)
        update = batch_of(scene, self.update(scene))
        if update is None:
            return ()
        return self._to_the_letter(scene, runs, update) or self._replaced(scene, runs, update, led)

    def _to_the_letter(self, scene: Scene, runs: Sequence[WorkloadRun], update: Batch) -> tuple[Write, ...]:
        """Where the stable version is asked for, let the template be the one that its pods were made from.

        Or a pod that comes back would be of another revision than the others (a restart, our mark of a version whose configuration
        alone was bad), and be without traffic.
        """
        user, stable = scene.user, runs[0].workload.pod
        assert user is not None
        found = [one for one in scene.batches if one.version == stable and one.pods]
        if scene.pod != stable or not found or owned_by_gitops(user.deployment, "spec", "template", "spec"):
            return ()
        most = max(found, key=lambda one: len(one.pods))
        if most.hash == update.hash:
            return ()
        change = merge_patch(user.template, most.template)
        return (edit(scene.kind, user.deployment, {"spec": {"template": change}}),)

    def _replaced(self, scene: Scene, runs: Sequence[WorkloadRun], update: Batch, led: Led) -> tuple[Write, ...]:
        """Delete what others have too much of; first, and all at once, what is not ready of versions that are to go.

        Pods that nothing leads to wait for no other to be ready: a node that is down must not keep them.
        """
        lacking = _lacking(runs, update)
        if lacking <= 0:
            return ()
        found = [one for one in scene.batches if one is not update and _excess(scene, runs, one)]
        unready = [pod for one in found if not _needed(runs, one.version) for pod in one.unready]
        if unready:
            return tuple(remove(PODS, pod) for pod in unready[:lacking])
        if _on_its_way(scene):
            return ()
        first = sorted(found, key=led.to)  # what nothing leads to is missed by nobody
        going = (
            (min(one.ready or one.pods, key=name_of), one) for one in first if not (update.unready and led.to(one))
        )
        return tuple(remove(PODS, pod) for pod, one in going if _may_go(pod, one, led))[:1]


_IN_ORDER, _ON_DELETE = InOrder(), OnDelete()


def replacing_of(scene: Scene) -> Replacing:
    """How the user's workload replaces its pods."""
    return _ON_DELETE if scene.kind is DAEMON_SETS else _IN_ORDER


def selected(service: Object | None) -> str:
    """The revision that a Service is for; "" where it is for any."""
    selector = (service["spec"].get("selector") or {}) if service is not None else {}
    return str(selector.get(HASH, ""))


def batch_of(scene: Scene, revision: str) -> Batch | None:
    """The pods of a revision; None where there is no such revision."""
    return next((one for one in scene.batches if one.hash == revision), None)


def _status(scene: Scene) -> Object:
    assert scene.user is not None
    found: Object = scene.user.deployment.get("status") or {}
    return found


def _needed(runs: Sequence[WorkloadRun], version: str) -> int:
    return sum(run.replicas for run in runs if run.workload.pod == version)


def _lacking(runs: Sequence[WorkloadRun], update: Batch) -> int:
    """How many pods more the newest revision is to have."""
    return (_needed(runs, update.version) if update.version else 0) - len(update.pods)


def _excess(scene: Scene, runs: Sequence[WorkloadRun], batch: Batch) -> int:
    """How many pods of a revision there are too many."""
    there = sum(len(one.pods) for one in scene.batches if one.version == batch.version)
    return max(0, min(len(batch.pods), there - _needed(runs, batch.version)))


def _may_go(pod: Object, batch: Batch, led: Led) -> bool:
    """Whether a pod may be taken: never the last one that answers requests which are led to its revision."""
    return pod not in batch.ready or len(batch.ready) > 1 or not led.to(batch)


def _on_its_way(scene: Scene) -> bool:
    """Whether a pod is going, or has not come back yet."""
    assert scene.user is not None
    there = sum(len(one.pods) for one in scene.batches)
    return there < replicas_of(scene.user.deployment) or any(one.leaving for one in scene.batches)
