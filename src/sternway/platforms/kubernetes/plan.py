"""READ THIS FIRST: what a cluster should hold for one service, from what it holds and what the engine wants. Pure.

    twin                  runs what is proven good and takes all traffic at rest
    the user's own        runs the candidate; at rest it has no pods, and its wished replicas are remembered

In the order of the writes: keep the version; the twin and our Services; the user's Service; the user's Deployment last, and
only taken down when nothing reaches it, and has not for a while. Level-based: each step waits until the cluster shows the one before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sternway.domain.platform import WorkloadRun
from sternway.errors import Refused
from sternway.kubernetes.api import Object
from sternway.kubernetes.backends import Backend, Backends
from sternway.kubernetes.ours import ADOPTING, REPLICAS, SELECTOR, STAMP, TWIN, annotation, is_ours, named
from sternway.kubernetes.reading import wished_replicas
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES
from sternway.kubernetes.template import stamp, workload_of
from sternway.platforms.kubernetes import followers, revisions
from sternway.platforms.kubernetes.scene import KINDS, Scene, Seat, names_in, owned_by_gitops, selector_of
from sternway.platforms.kubernetes.states import ready_in, rolled_out
from sternway.platforms.kubernetes.twin import candidate_service, stable_service, twin_of
from sternway.platforms.kubernetes.writes import Keep, Write, applied, edit, remove


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write now, and where each version is reached. lacking: a sentence when a version cannot be run any more."""

    writes: tuple[Write, ...] = ()
    backends: Backends | None = None
    lacking: str = ""


def plan(scene: Scene, runs: Sequence[WorkloadRun], carrying: Collection[str], *, quiet: bool) -> Plan:
    """Say what to write. runs: the stable version first. carrying: the Services that users' requests reach by the routes.

    quiet: whether every proxy has had the time to learn of those routes: pods that nothing leads to go only then.
    """
    if scene.user is None or scene.service is None or not runs:
        return Plan(backends=backends_of(scene))
    refuse_strangers(scene)
    target = _twin_target(scene, runs)
    template = _template(scene, target)
    writes = kept(scene, runs)
    lacking = ""
    if template is None:
        run = next(run for run in runs if run.workload.pod == target)
        lacking = no_template(scene, run)
    else:
        writes += _twin(scene, target, template, runs)
    free = named(scene.name, "candidate") not in carrying and named(scene.name, "stable") in carrying
    writes += _services(scene, runs, free=free)
    writes += _held(scene, runs) if _adopting(scene, carrying) else _user(scene, runs, free=free and quiet)
    writes += _followers(scene)
    if settled(scene):
        writes += pruned(scene, runs)
    return Plan(writes=writes, backends=backends_of(scene), lacking=lacking)


def no_template(scene: Scene, run: WorkloadRun) -> str:
    """Say of which version nobody holds the template."""
    pod = run.workload.pod
    return (
        f"the cluster keeps no pod template of {run.workload.image} ({pod}): neither {scene.where} "
        f"nor a ControllerRevision {scene.deployment}-{pod} holds it"
    )


def ports_of(service: Object) -> tuple[tuple[str, int, str], ...]:
    """(name, port, protocol) of each port of a Service, as `Backends` states them."""
    stated = service["spec"].get("ports") or ()
    return tuple((str(port.get("name", "")), int(port["port"]), str(port.get("appProtocol", ""))) for port in stated)


def backends_of(scene: Scene) -> Backends | None:
    """Where the versions of a service are reached, as the cluster is now. The twin serves on when the user's is gone."""
    user, service, twin = scene.user, scene.service, scene.twin
    if service is None or (user is None and twin is None):
        return None
    candidate = None
    if user is not None and user.replicas:
        pod = _runs(scene, user)
        labels = selector_of(scene) | (user.deployment["spec"]["selector"].get("matchLabels") or {})
        if pod:  # else no version is reached there
            candidate = _backend(scene, user, pod, role="candidate", labels=tuple(sorted(labels.items())))
    stable = None
    if twin is not None:
        stable = _backend(scene, twin, scene.twin_pod(), role="stable", labels=((TWIN, scene.deployment),))
    return Backends(
        namespace=scene.namespace,
        service=scene.name,
        deployment=scene.deployment,
        ports=ports_of(service),
        stable=stable,
        candidate=candidate,
        settled=settled(scene),
    )


def _runs(scene: Scene, user: Seat) -> str:
    """Which version the user's pods are to be reached as; "" for none.

    Pods of nobody knows what are of no version, whatever the template says by now: a tool changed it while they ran, or they are
    paused. Where there are none, they will be what it says; while the twin serves that, nobody has to be led to them.
    """
    if any(int(one["spec"].get("replicas") or 0) for one in user.sets):
        return scene.live(user)
    twin = scene.twin
    serves = twin is not None and rolled_out(scene, twin, scene.twin_pod()) and scene.twin_pod() == scene.pod
    return "" if serves else scene.pod


def settled(scene: Scene) -> bool:
    """Whether the twin runs what the user's Deployment runs or asks for, with as many pods, all ready."""
    user, twin = scene.user, scene.twin
    if user is None or twin is None or not rolled_out(scene, twin, scene.twin_pod()):
        return False
    same = scene.twin_pod() == (scene.live(user) if user.replicas else scene.pod)
    return same and ready_in(scene, twin, scene.twin_pod()) >= ready_in(scene, user, scene.twin_pod())


def refuse_strangers(scene: Scene) -> None:
    """Never write over what somebody else calls by one of our names. Raises Refused."""
    seats = [("Deployment", scene.twin.deployment)] if scene.twin else []
    services = [("Service", one) for one in (scene.stable_service, scene.candidate_service) if one]
    for kind, obj in (*seats, *services):
        if not is_ours(obj):
            name = obj["metadata"]["name"]
            raise Refused(
                f"{kind} {name} in namespace {scene.namespace} is not Sternway's, and its name is needed for {scene.name}",
                hint=f"rename it: Sternway keeps the version of {scene.name} that is proven good under this name",
            )


def wished(scene: Scene) -> int:
    """How many replicas the user wants of the service, whatever each Deployment has now."""
    if scene.user is None:
        return 0
    twin = scene.twin.deployment if scene.twin else None
    return wished_replicas(scene.user.deployment, twin, scaled=_scaled(scene))


# The twin -------------------------------------------------------------------------------------------------------


def _twin_target(scene: Scene, runs: Sequence[WorkloadRun]) -> str:
    """Which version the twin should run: the one it has while that is wanted, unless stable runs nowhere else."""
    stable, now = runs[0].workload.pod, scene.twin_pod()
    if now == stable or not now:
        return stable
    elsewhere = scene.user is not None and scene.user.replicas > 0 and scene.pod == stable == scene.live(scene.user)
    return now if elsewhere and any(run.workload.pod == now for run in runs) else stable


def _template(scene: Scene, pod: str) -> Object | None:
    assert scene.user is not None
    if pod in scene.revisions:
        return revisions.template_of(scene.revisions[pod])
    return scene.user.template if pod == scene.pod else None


def kept(scene: Scene, runs: Sequence[WorkloadRun]) -> tuple[Write, ...]:
    """Keep what the user's workload asks for, once it is wanted."""
    if scene.pod in scene.revisions or all(run.workload.pod != scene.pod for run in runs):
        return ()
    copies = [one for one in revisions.copies_of(scene) if scene.held((one["kind"], one["metadata"]["name"])) is None]
    return (
        *(Keep(resource=KINDS[one["kind"]], obj=one) for one in copies),
        Keep(resource=CONTROLLER_REVISIONS, obj=revisions.revision_of(scene)),
    )


def _twin(scene: Scene, target: str, template: Object, runs: Sequence[WorkloadRun]) -> tuple[Write, ...]:
    user, twin = scene.user, scene.twin
    assert user is not None
    revision = scene.revisions.get(target) or revisions.revision_of(scene)
    desired = twin_of(
        user.deployment,
        template,
        pod=target,
        service=scene.name,
        selector=selector_of(scene),
        config=names_in(revision),
    )
    scaled = _scaled_twin(scene, twin, target, runs) if twin else ()  # first: it names the twin as it was seen
    return scaled + applied(DEPLOYMENTS, desired, twin.deployment if twin else None)


def _followers(scene: Scene) -> tuple[Write, ...]:
    """Copies of the user's autoscalers and disruption budgets: last, for nothing else may wait for them."""
    assert scene.user is not None
    writes: tuple[Write, ...] = ()
    least = wished(scene) if scene.user.replicas else 0
    live = {(resource.kind, obj["metadata"]["name"]): obj for resource, obj in scene.followers}
    for copy in followers.copies(scene, least=least):
        writes += applied(copy.resource, copy.obj, live.get((copy.resource.kind, copy.obj["metadata"]["name"])))
    return writes + tuple(remove(one.resource, one.obj) for one in followers.leftover(scene))


def _scaled_twin(scene: Scene, twin: Seat, target: str, runs: Sequence[WorkloadRun]) -> tuple[Write, ...]:
    """As many as wanted; where an autoscaler rules, only never fewer than have to take over."""
    user = scene.user
    assert user is not None
    run = next((run for run in runs if run.workload.pod == target), runs[0])
    takes_over = user.replicas if scene.live(user) == target else 0
    if _scaled(scene):
        begun = ready_in(scene, twin, target) > 0
        want = max(
            twin.replicas, takes_over if user.replicas and not settled(scene) else 0, 0 if begun else run.replicas
        )
    else:
        want = max(run.replicas, takes_over)
    if want == twin.replicas:
        return ()
    return (edit(DEPLOYMENTS, twin.deployment, {"spec": {"replicas": want}}),)


def _scaled(scene: Scene) -> bool:
    return any(one.scales for one in followers.followers(scene))


# Services -------------------------------------------------------------------------------------------------------


def _services(scene: Scene, runs: Sequence[WorkloadRun], *, free: bool) -> tuple[Write, ...]:
    user, service = scene.user, scene.service
    assert user is not None
    assert service is not None
    selector = selector_of(scene)
    writes = applied(SERVICES, stable_service(service, user.name), scene.stable_service)
    writes += applied(SERVICES, candidate_service(service, user.deployment, selector), scene.candidate_service)
    return writes + _point(scene, runs, free=free)


def _point(scene: Scene, runs: Sequence[WorkloadRun], *, free: bool) -> tuple[Write, ...]:
    """Let the user's own Service reach the twin, so that who bypasses the mesh meets no unjudged version.

    Once at the adoption, and again when somebody turned it back. While a candidate has traffic it is the router's: without a
    mesh the Service itself shares it out.
    """
    user, service, twin = scene.user, scene.service, scene.twin
    assert user is not None
    assert service is not None
    if twin is None or points_at_twin(scene) or owned_by_gitops(service, "spec", "selector"):
        return ()
    wanted = any(run.workload.pod == scene.twin_pod() for run in runs)
    whole = rolled_out(scene, twin, scene.twin_pod()) and not _scaled_twin(scene, twin, scene.twin_pod(), runs)
    if not wanted or not whole or (annotation(service, SELECTOR) and not free):
        return ()
    now: dict[str, str] = service["spec"].get("selector") or {}
    change = dict.fromkeys(now) | {TWIN: user.name}
    kept = json.dumps(selector_of(scene), sort_keys=True)
    return (edit(SERVICES, service, {"metadata": {"annotations": {SELECTOR: kept}}, "spec": {"selector": change}}),)


def points_at_twin(scene: Scene) -> bool:
    """Whether the user's Service reaches the twin."""
    assert scene.user is not None
    return scene.service is not None and scene.service["spec"].get("selector") == {TWIN: scene.user.name}


# The user's Deployment ------------------------------------------------------------------------------------------


def _user(scene: Scene, runs: Sequence[WorkloadRun], *, free: bool) -> tuple[Write, ...]:
    user, twin = scene.user, scene.twin
    assert user is not None
    if twin is None:
        return ()
    if annotation(user.deployment, ADOPTING):
        return (edit(DEPLOYMENTS, user.deployment, {"metadata": {"annotations": {ADOPTING: None}}}),)
    run = next((run for run in runs if run.workload.pod == scene.pod), None)
    elsewhere = settled(scene) or not user.replicas or scene.live(user) != scene.pod
    if scene.twin_pod() == scene.pod and elsewhere:
        run = None  # the twin has it: what else runs here is a version that was taken back
    if run is None:
        return _rest(scene, user, free=free and rolled_out(scene, twin, scene.twin_pod()))
    if not user.replicas:
        return _wake(scene, user, run.replicas)
    if scene.live(user) == scene.pod:
        hold = rolled_out(scene, user, scene.pod) and not user.paused and scene.twin_pod() != scene.pod
        return (edit(DEPLOYMENTS, user.deployment, {"spec": {"paused": True}}),) if hold else ()
    return _roll(scene, user) if free else ()


def _adopting(scene: Scene, carrying: Collection[str]) -> bool:
    """Whether users still reach pods that were there before us: the twin has not taken over."""
    user, service, twin = scene.user, scene.service, scene.twin
    assert user is not None
    assert service is not None
    ready = twin is not None and rolled_out(scene, twin, scene.twin_pod())
    led = points_at_twin(scene) or named(scene.name, "stable") in carrying
    untouched = not annotation(service, SELECTOR) and not led and not ready
    held = bool(annotation(user.deployment, ADOPTING)) and not (led and ready)
    return user.replicas > 0 and (untouched or held)


def _held(scene: Scene, runs: Sequence[WorkloadRun]) -> tuple[Write, ...]:
    """Let an edit wait until the twin serves, or it would roll out unjudged; no pod of the user's is touched before that.

    A rollout that is under way is the user's own.
    """
    user, service = scene.user, scene.service
    assert user is not None
    assert service is not None
    adopted = scene.pod == runs[0].workload.pod and rolled_out(scene, user, scene.pod)
    if user.paused or not adopted or not service["spec"].get("ports"):
        return ()
    change = {"metadata": {"annotations": {ADOPTING: scene.pod}}, "spec": {"paused": True}}
    return (edit(DEPLOYMENTS, user.deployment, change),)


def _wake(scene: Scene, user: Seat, replicas: int) -> tuple[Write, ...]:
    """Start the candidate: its pods are marked with the version that they run."""
    change = marked(scene, user) | {"replicas": replicas, "paused": None}
    return (*_keda(scene, None), edit(DEPLOYMENTS, user.deployment, {"spec": change}))


def _roll(scene: Scene, user: Seat) -> tuple[Write, ...]:
    """Let what was edited meanwhile take the place of the pods that run, now that nothing reaches them."""
    return (edit(DEPLOYMENTS, user.deployment, {"spec": marked(scene, user) | {"paused": None}}),)


def marked(scene: Scene, user: Seat) -> Object:
    """A change of `spec`: the template says which version it is."""
    return {"template": {"metadata": {"annotations": {STAMP: stamp(scene.pod, user.template)}}}}


def _rest(scene: Scene, user: Seat, *, free: bool) -> tuple[Write, ...]:
    """Take the user's pods down, unless somebody's tool would start them again at once, or their Service is not ours."""
    if not user.replicas or not free:
        return ()
    if owned_by_gitops(user.deployment, "spec", "replicas") or not points_at_twin(scene):
        return (edit(DEPLOYMENTS, user.deployment, {"spec": {"paused": None}}),) if user.paused else ()
    change = {
        "metadata": {"annotations": {REPLICAS: str(wished(scene))}},
        "spec": {"replicas": 0, "paused": None},
    }
    return (*_keda(scene, "0"), edit(DEPLOYMENTS, user.deployment, change))


def _keda(scene: Scene, replicas: str | None) -> tuple[Write, ...]:
    """Let KEDA keep the user's Deployment at rest, or scale it again."""
    return tuple(
        edit(one.resource, one.obj, {"metadata": {"annotations": {followers.PAUSED: replicas}}})
        for one in followers.followers(scene)
        if one.resource.kind == "ScaledObject" and followers.paused_by_keda(one) != (replicas or "")
    )


# The rest -------------------------------------------------------------------------------------------------------


def pruned(scene: Scene, runs: Sequence[WorkloadRun]) -> tuple[Write, ...]:
    """Keep no more than the latest versions."""
    keep = {scene.pod, scene.twin_pod(), *(run.workload.pod for run in runs)}
    gone = revisions.outdated(scene.revisions, keep)
    return (
        *(remove(CONTROLLER_REVISIONS, scene.revisions[pod]) for pod in gone),
        *(remove(KINDS[key[0]], scene.copies[key]) for key in (revisions.unused_copies(scene, gone) if gone else ())),
    )


def _backend(scene: Scene, seat: Seat, pod: str, *, role: str, labels: tuple[tuple[str, str], ...]) -> Backend:
    workload = workload_of(seat.template, pod, service=scene.key, deployment=scene.deployment)
    newest = [one for one in seat.sets if scene.pod_of(seat, one) == pod]
    if newest:  # the template may have been edited since
        workload = workload_of(newest[0]["spec"]["template"], pod, service=scene.key, deployment=scene.deployment)
    return Backend(workload_id=workload.id, service=named(scene.name, role), labels=labels, replicas=seat.replicas)
