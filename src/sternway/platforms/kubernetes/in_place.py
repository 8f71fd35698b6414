"""What a cluster should hold for a workload whose pods cannot run twice: versions stand side by side within it. Pure.

    held             a changed template touches no pod; one at a time is replaced (`replacing`: how each kind does it)
    `NAME-stable`    reaches the pods of the proven revision alone, `NAME-candidate` those of the candidate

For StatefulSets and DaemonSets. Beside `plan`, which knows of twins; `staging` chooses. In the order of the writes: keep the
version, our Services, the user's Service, the template, and pods last. Level-based: each step waits until the cluster shows the one
before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from sternway.domain.platform import WorkloadRun
from sternway.errors import Refused
from sternway.kubernetes.api import Object
from sternway.kubernetes.backends import Backend, Backends
from sternway.kubernetes.ours import APART, SELECTOR, STRATEGY, annotation, named
from sternway.kubernetes.resources import SERVICES
from sternway.kubernetes.template import workload_of
from sternway.platforms.kubernetes.batches import HASH
from sternway.platforms.kubernetes.plan import Plan, kept, marked, no_template, ports_of, pruned, refuse_strangers
from sternway.platforms.kubernetes.replacing import Led, batch_of, replacing_of, selected
from sternway.platforms.kubernetes.scene import Scene, owned_by_gitops, selector_of
from sternway.platforms.kubernetes.twin import role_service
from sternway.platforms.kubernetes.writes import Write, applied, edit


def plan(scene: Scene, runs: Sequence[WorkloadRun], carrying: Collection[str], *, quiet: bool) -> Plan:
    """See plan.plan."""
    if scene.user is None or scene.service is None or not runs:
        return Plan(backends=backends_of(scene))
    refuse_strangers(scene)
    _refuse_a_fight(scene)
    writes = kept(scene, runs)
    if not annotation(scene.user.deployment, STRATEGY):
        return Plan(writes=writes + _adopted(scene), backends=backends_of(scene))
    led = Led(scene, carrying, quiet=quiet)
    writes += _services(scene, runs, led)
    writes += _point(scene, runs, carrying)
    writes += _mark(scene, runs)
    writes += replacing_of(scene).moved(scene, runs, led) if scene.user.observed else ()
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
    candidate = _backend(scene, selected(scene.candidate_service) or replacing_of(scene).update(scene), "candidate")
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


def _refuse_a_fight(scene: Scene) -> None:
    """A tool that puts its own update strategy back would roll every pod out at once. Raises Refused."""
    assert scene.user is not None
    keeper = owned_by_gitops(scene.user.deployment, "spec", "updateStrategy")
    if keeper:
        raise Refused(
            f"{scene.where} has its spec.updateStrategy kept by {keeper}, and that is what holds a new version back",
            hint="take updateStrategy out of Git",
        )


def _adopted(scene: Scene) -> tuple[Write, ...]:
    """Hold every pod from now on: once all of them run what is asked for, so that no rollout is cut off half-way."""
    user = scene.user
    assert user is not None
    wanted = batch_of(scene, replacing_of(scene).update(scene))
    if (
        wanted is None
        or wanted.hash != replacing_of(scene).back(scene)
        or not user.observed
        or len(wanted.ready) < max(1, user.replicas)
    ):
        return ()
    own = user.deployment["spec"].get("updateStrategy") or {}
    change = {
        "metadata": {"annotations": {STRATEGY: json.dumps(own, sort_keys=True)}},
        "spec": {"updateStrategy": replacing_of(scene).held},
    }
    return (edit(scene.kind, user.deployment, change),)


# Services -------------------------------------------------------------------------------------------------------


def _services(scene: Scene, runs: Sequence[WorkloadRun], led: Led) -> tuple[Write, ...]:
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
    candidate = now if now and led.roles["candidate"] else replacing_of(scene).update(scene)
    if candidate:
        desired = role_service(service, "candidate", selector_of(scene) | {HASH: candidate})
        writes += applied(SERVICES, desired, scene.candidate_service)
    return writes


def _stable(scene: Scene, runs: Sequence[WorkloadRun], led: Led) -> str:
    """The revision that our stable Service is to be for."""
    now = batch_of(scene, selected(scene.stable_service))
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
    apart = batch_of(scene, selected(scene.stable_service))
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


# Template -----------------------------------------------------------------------------------------------------------


def _mark(scene: Scene, runs: Sequence[WorkloadRun]) -> tuple[Write, ...]:
    """Mark the template where its configuration alone has changed: to its controller that would be the same revision."""
    user = scene.user
    assert user is not None
    update = batch_of(scene, replacing_of(scene).update(scene))
    wanted = any(run.workload.pod == scene.pod for run in runs)
    if not user.observed or update is None or update.version == scene.pod or not wanted:
        return ()
    if any(one.version == scene.pod and one.pods for one in scene.batches):
        return ()
    return (edit(scene.kind, user.deployment, {"spec": marked(scene, user)}),)


def _backend(scene: Scene, revision: str, role: str) -> Backend | None:
    batch = batch_of(scene, revision)
    if batch is None or not batch.version:
        return None
    workload = workload_of(batch.template, batch.version, service=scene.key, deployment=scene.deployment)
    labels = tuple(sorted((selector_of(scene) | {HASH: revision}).items()))
    return Backend(workload_id=workload.id, service=named(scene.name, role), labels=labels, replicas=len(batch.pods))
