"""What a cluster should hold for a StatefulSet, whose pods cannot run twice: versions stand side by side within it. Pure.

    partition        rests above every pod, so that a changed template touches none; it is opened for one pod at a time
    `NAME-stable`    reaches the pods of the proven revision alone, `NAME-candidate` those of the candidate
    taken back       a pod of the candidate is deleted, and comes back as the revision that the others run

Beside `plan`, which knows of twins; `staging` chooses. In the order of the writes: keep the version, our Services, the user's
Service, the template's mark, and pods last. Level-based: each step waits until the cluster shows the one before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from sternway.domain.platform import WorkloadRun
from sternway.errors import Refused
from sternway.kubernetes.api import Object, ordinal_of
from sternway.kubernetes.backends import Backend, Backends
from sternway.kubernetes.ours import APART, SELECTOR, STRATEGY, annotation, named
from sternway.kubernetes.reading import replicas_of
from sternway.kubernetes.resources import PODS, SERVICES
from sternway.kubernetes.template import workload_of
from sternway.platforms.kubernetes.batches import HASH, Batch
from sternway.platforms.kubernetes.plan import Plan, kept, marked, no_template, ports_of, pruned, refuse_strangers
from sternway.platforms.kubernetes.scene import Scene, owned_by_gitops, selector_of
from sternway.platforms.kubernetes.twin import role_service
from sternway.platforms.kubernetes.writes import Write, applied, edit, remove

REST = 2**31 - 1
"""The partition that holds every pod, however many an autoscaler adds."""


def plan(scene: Scene, runs: Sequence[WorkloadRun], carrying: Collection[str], *, quiet: bool) -> Plan:
    """See plan.plan."""
    if scene.user is None or scene.service is None or not runs:
        return Plan(backends=backends_of(scene))
    refuse_strangers(scene)
    _refuse_a_fight(scene)
    writes = kept(scene, runs)
    if not annotation(scene.user.deployment, STRATEGY):
        return Plan(writes=writes + _adopted(scene), backends=backends_of(scene))
    led = _Led(scene, carrying, quiet=quiet)
    writes += _services(scene, runs, led)
    writes += _point(scene, runs, carrying)
    writes += _mark(scene, runs)
    writes += _moved(scene, runs, led)
    if len([one for one in scene.batches if one.pods]) == 1:
        writes += pruned(scene, runs)
    return Plan(writes=writes, backends=backends_of(scene), lacking=_lacking(scene, runs[0]))


def _lacking(scene: Scene, stable: WorkloadRun) -> str:
    """A rollback puts the template of an earlier version back; where nobody keeps it, there is none to put back."""
    pod = stable.workload.pod
    there = pod in scene.revisions or any(one.version == pod for one in scene.batches)
    return "" if there else no_template(scene, stable)


def backends_of(scene: Scene) -> Backends | None:
    """Where the versions of a service are reached, as the cluster is now.

    Stable is reached by its Service once every proxy knows whom that selects (`APART`): a new selector takes a while. Before
    there are Services of ours, what runs counts as the candidate, as a Deployment's pods do before there is a twin.
    """
    if scene.service is None or scene.user is None:
        return None
    stable = None
    apart = selected(scene.stable_service)
    if scene.stable_service is not None and annotation(scene.stable_service, APART) == apart:
        stable = _backend(scene, apart, "stable")
    candidate = _backend(scene, selected(scene.candidate_service) or _update(scene), "candidate")
    if stable is not None and candidate is not None and stable.workload_id == candidate.workload_id:
        candidate = None
    return Backends(
        namespace=scene.namespace,
        service=scene.name,
        deployment=scene.deployment,
        ports=ports_of(scene.service),
        stable=stable,
        candidate=candidate,
        settled=stable is not None,
    )


def selected(service: Object | None) -> str:
    """The revision that a Service is for; "" where it is for any."""
    selector = (service["spec"].get("selector") or {}) if service is not None else {}
    return str(selector.get(HASH, ""))


class _Led:
    """Where requests are led. quiet: whether every proxy has had the time to learn it."""

    def __init__(self, scene: Scene, carrying: Collection[str], *, quiet: bool) -> None:
        roles = (("stable", scene.stable_service), ("candidate", scene.candidate_service))
        self.roles = {role: named(scene.name, role) in carrying or not quiet for role, _ in roles}
        self._hashes = {selected(service) for role, service in roles if self.roles[role]} | {selected(scene.service)}
        self.unsettled = not quiet

    def to(self, batch: Batch) -> bool:
        """Whether requests may still reach the pods of a revision."""
        return self.unsettled or batch.hash in self._hashes


def _refuse_a_fight(scene: Scene) -> None:
    """A tool that puts the partition back would roll every pod out at once. Raises Refused."""
    assert scene.user is not None
    keeper = owned_by_gitops(scene.user.deployment, "spec", "updateStrategy")
    if keeper:
        raise Refused(
            f"{scene.where} has its spec.updateStrategy kept by {keeper}, and its partition is what holds a new version back",
            hint="take updateStrategy out of Git",
        )


def _adopted(scene: Scene) -> tuple[Write, ...]:
    """Hold every pod from now on: once all of them run what is asked for, so that no rollout is cut off half-way."""
    user = scene.user
    assert user is not None
    wanted = _batch(scene, _update(scene))
    if (
        wanted is None
        or wanted.hash != _current(scene)
        or not user.observed
        or len(wanted.ready) < max(1, user.replicas)
    ):
        return ()
    own = user.deployment["spec"].get("updateStrategy") or {}
    change = {
        "metadata": {"annotations": {STRATEGY: json.dumps(own, sort_keys=True)}},
        "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": REST}}},
    }
    return (edit(scene.kind, user.deployment, change),)


# Services -------------------------------------------------------------------------------------------------------


def _services(scene: Scene, runs: Sequence[WorkloadRun], led: _Led) -> tuple[Write, ...]:
    """Each for one revision; its selector changes only while nobody is led to it."""
    service = scene.service
    assert service is not None
    writes: tuple[Write, ...] = ()
    stable = _stable(scene, runs, led)
    if stable:
        desired = role_service(service, "stable", selector_of(scene) | {HASH: stable})
        writes += applied(SERVICES, desired, scene.stable_service)
        if not writes and scene.stable_service is not None and annotation(scene.stable_service, APART) != stable:
            writes += () if led.unsettled else (_told_apart(scene.stable_service, stable),)
    now = selected(scene.candidate_service)
    candidate = now if now and led.roles["candidate"] else _update(scene)
    if candidate:
        desired = role_service(service, "candidate", selector_of(scene) | {HASH: candidate})
        writes += applied(SERVICES, desired, scene.candidate_service)
    return writes


def _stable(scene: Scene, runs: Sequence[WorkloadRun], led: _Led) -> str:
    """The revision that our stable Service is to be for."""
    now = _batch(scene, selected(scene.stable_service))
    version = runs[0].workload.pod
    if now is not None and now.version == version and now.pods:
        return now.hash
    found = [one for one in scene.batches if one.version == version and one.ready]
    wanted = max(found, key=lambda one: len(one.ready), default=None)
    if wanted is not None and (now is None or not led.roles["stable"]):
        return wanted.hash
    return now.hash if now is not None else ""


def _told_apart(service: Object, revision: str) -> Write:
    return edit(SERVICES, service, {"metadata": {"annotations": {APART: revision}}})


def _point(scene: Scene, runs: Sequence[WorkloadRun], carrying: Collection[str]) -> tuple[Write, ...]:
    """Let the user's own Service reach stable's pods alone, so that who bypasses the mesh meets no unjudged version.

    While a candidate has traffic it is the router's: without a mesh the Service itself shares it out.
    """
    service = scene.service
    assert service is not None
    apart = _batch(scene, selected(scene.stable_service))
    if apart is None or apart.version != runs[0].workload.pod or not apart.ready:
        return ()
    wanted = selector_of(scene) | {HASH: apart.hash}
    free = named(scene.name, "candidate") not in carrying and named(scene.name, "stable") in carrying
    if service["spec"].get("selector") == wanted or owned_by_gitops(service, "spec", "selector"):
        return ()
    if annotation(service, SELECTOR) and not free:
        return ()
    own = json.dumps(selector_of(scene), sort_keys=True)
    return (edit(SERVICES, service, {"metadata": {"annotations": {SELECTOR: own}}, "spec": {"selector": wanted}}),)


# Pods -----------------------------------------------------------------------------------------------------------


def _mark(scene: Scene, runs: Sequence[WorkloadRun]) -> tuple[Write, ...]:
    """Mark the template where its configuration alone has changed: to its controller that would be the same revision."""
    user = scene.user
    assert user is not None
    update = _batch(scene, _update(scene))
    wanted = any(run.workload.pod == scene.pod for run in runs)
    if not user.observed or update is None or update.version == scene.pod or not wanted:
        return ()
    if any(one.version == scene.pod and one.pods for one in scene.batches):
        return ()
    return (edit(scene.kind, user.deployment, {"spec": marked(scene, user)}),)


def _moved(scene: Scene, runs: Sequence[WorkloadRun], led: _Led) -> tuple[Write, ...]:
    """Let one pod more run the new revision, or one pod less."""
    user = scene.user
    assert user is not None
    if not user.observed:
        return ()
    partition = _partition(scene, runs, led)
    if partition is None:
        return ()
    now = (user.deployment["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    if now.get("partition") != partition:
        return (
            edit(
                scene.kind, user.deployment, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}}
            ),
        )
    return _taken_back(scene, runs, led) if partition == REST else ()


def _partition(scene: Scene, runs: Sequence[WorkloadRun], led: _Led) -> int | None:
    """Where new pods begin: open for the next one, at rest otherwise. None: as it is, for a pod is on its way."""
    update = _batch(scene, _update(scene))
    needed = _needed(runs, update.version) if update is not None and update.version else 0
    if update is None or needed <= len(update.pods):
        return REST
    if _on_its_way(scene):
        return None
    before = [(ordinal_of(pod), pod, one) for one in scene.batches if one is not update for pod in one.pods]
    if update.unready or not before or selected(scene.candidate_service) != update.hash:
        return REST
    number, pod, batch = max(before, key=lambda one: one[0])
    return number if _may_go(pod, batch, led) else REST


def _taken_back(scene: Scene, runs: Sequence[WorkloadRun], led: _Led) -> tuple[Write, ...]:
    """Delete what there is too much of; what never became ready first, since a StatefulSet waits for it for ever."""
    found = [(batch, _excess(scene, runs, batch)) for batch in scene.batches if batch.hash != _current(scene)]
    unready = [pod for batch, excess in found for pod in batch.unready[:excess]]
    if unready:
        return tuple(remove(PODS, pod) for pod in unready)
    if _on_its_way(scene) or any(one.unready for one in scene.batches):
        return ()
    going = ((min(batch.pods, key=ordinal_of), batch) for batch, excess in found if excess)
    return tuple(remove(PODS, pod) for pod, batch in going if _may_go(pod, batch, led))[:1]


def _excess(scene: Scene, runs: Sequence[WorkloadRun], batch: Batch) -> int:
    """How many pods of a revision there are too many."""
    there = sum(len(one.pods) for one in scene.batches if one.version == batch.version)
    return max(0, min(len(batch.pods), there - _needed(runs, batch.version)))


def _may_go(pod: Object, batch: Batch, led: _Led) -> bool:
    """Whether a pod may be taken: never the last one that answers requests which are led to its revision."""
    return pod not in batch.ready or len(batch.ready) > 1 or not led.to(batch)


def _on_its_way(scene: Scene) -> bool:
    """Whether a pod is going, or has not come back yet."""
    assert scene.user is not None
    there = sum(len(one.pods) for one in scene.batches)
    return there < replicas_of(scene.user.deployment) or any(one.leaving for one in scene.batches)


def _update(scene: Scene) -> str:
    """The revision of the template as it is."""
    assert scene.user is not None
    return str((scene.user.deployment.get("status") or {}).get("updateRevision", ""))


def _current(scene: Scene) -> str:
    """The revision that pods below the partition come back as."""
    assert scene.user is not None
    return str((scene.user.deployment.get("status") or {}).get("currentRevision", ""))


def _needed(runs: Sequence[WorkloadRun], version: str) -> int:
    return sum(run.replicas for run in runs if run.workload.pod == version)


def _batch(scene: Scene, revision: str) -> Batch | None:
    return next((one for one in scene.batches if one.hash == revision), None)


def _backend(scene: Scene, revision: str, role: str) -> Backend | None:
    batch = _batch(scene, revision)
    if batch is None or not batch.version:
        return None
    workload = workload_of(batch.template, batch.version, service=scene.key, deployment=scene.deployment)
    labels = tuple(sorted((selector_of(scene) | {HASH: revision}).items()))
    return Backend(workload_id=workload.id, service=named(scene.name, role), labels=labels, replicas=len(batch.pods))
