"""What Deployments, ReplicaSets and pods say of each version: how many are ready, and why none is. Pure.

Only pods of a version's own template count: a Deployment that is still rolling has pods of two.
"""

from __future__ import annotations

from collections.abc import Sequence

from sternway.domain.platform import ReplicaState, WorkloadRun, WorkloadState
from sternway.kubernetes.api import Object, condition_of, is_ready, name_of
from sternway.kubernetes.backends import Backends
from sternway.kubernetes.template import workload_of
from sternway.platforms.kubernetes.scene import Scene, Seat

LOOPS = 3
"""After this many restarts a container that waits for the next one is said to loop: one crash may be an accident."""
_NO_IMAGE = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_ONCE = "ErrImagePull"
"""One try to pull an image has failed; the next may not."""
_NO_START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


def workload_states(scene: Scene, backends: Backends | None) -> tuple[WorkloadState, ...]:
    """Every version that runs for a service; one that runs in both Deployments as the one that takes its traffic."""
    found: dict[str, WorkloadState] = {}
    for seat in (scene.user, scene.twin):
        for pod in sorted(_pods_of(scene, seat)) if seat else ():
            assert seat is not None
            state = seat_state(scene, seat, pod)
            takes = backends.of(state.workload_id) if backends else None
            in_twin = seat is scene.twin
            chosen = takes is not None and (takes is (backends.stable if in_twin and backends else None))
            if state.workload_id not in found or chosen:
                found[state.workload_id] = state
    return tuple(found.values())


def states_in_place(scene: Scene, runs: Sequence[WorkloadRun]) -> tuple[WorkloadState, ...]:
    """The same where versions stand side by side within one workload. runs: what should run; nothing where that is not known."""
    wanted = {run.workload.pod: run for run in runs}
    there = {one.version for one in scene.batches if one.pods}
    return tuple(_state_of(scene, pod, wanted.get(pod)) for pod in sorted((there | wanted.keys()) - {""}))


def _state_of(scene: Scene, version: str, run: WorkloadRun | None) -> WorkloadState:
    batches = [one for one in scene.batches if one.version == version]
    pods = [pod for one in batches for pod in one.pods]
    ready = sum(len(one.ready) for one in batches)
    desired = run.replicas if run is not None else len(pods)
    said = [sentence for pod in pods if (sentence := pod_failure(pod))]
    workload = (
        run.workload
        if run is not None
        else workload_of(batches[0].template, version, service=scene.key, deployment=scene.deployment)
    )
    everyone = [*pods, *(pod for one in batches for pod in one.leaving)]
    return WorkloadState(
        workload_id=workload.id,
        image=workload.image,
        desired=desired,
        ready=ready,
        restarts=sum(_restarts(pod) for pod in pods),
        failure=said[0] if said and ready < desired else None,
        replicas=tuple(_replica(pod) for pod in sorted(everyone, key=name_of)),
    )


def workloads_in_place(scene: Scene) -> dict[str, str]:
    """See workloads_of_pods."""
    found: dict[str, str] = {}
    for batch in scene.batches:
        if batch.version:
            workload = workload_of(batch.template, batch.version, service=scene.key, deployment=scene.deployment)
            found |= {name_of(pod): workload.id for pod in (*batch.pods, *batch.leaving)}
    return found


def workloads_of_pods(scene: Scene) -> dict[str, str]:
    """Name of each pod -> id of the workload that it runs, as far as that is known."""
    found: dict[str, str] = {}
    for seat in (scene.user, scene.twin):
        for one in seat.sets if seat else ():
            assert seat is not None
            pod = scene.pod_of(seat, one)
            if pod:
                template = one["spec"]["template"]
                workload = workload_of(template, pod, service=scene.key, deployment=scene.deployment)
                uid = one["metadata"]["uid"]
                found |= {name_of(made): workload.id for made in seat.pods if _owner(made) == uid}
    return found


def seat_state(scene: Scene, seat: Seat, pod: str) -> WorkloadState:
    """One version in one Deployment."""
    sets = [one for one in seat.sets if scene.pod_of(seat, one) == pod]
    uids = {one["metadata"]["uid"] for one in sets}
    pods = [one for one in seat.pods if _owner(one) in uids]
    newest = pod == (scene.twin_pod() if seat is scene.twin else scene.pod)
    ready = sum(ready_of(one) for one in sets)
    desired = seat.replicas if newest else sum(int(one["spec"].get("replicas") or 0) for one in sets)
    template = sets[0]["spec"]["template"] if sets else seat.template
    workload = workload_of(template, pod, service=scene.key, deployment=scene.deployment)
    return WorkloadState(
        workload_id=workload.id,
        image=workload.image,
        desired=desired,
        ready=ready,
        restarts=sum(_restarts(one) for one in pods),
        failure=_failure(seat, pods, ready=ready, desired=desired, newest=newest),
        replicas=tuple(_replica(one) for one in sorted(pods, key=name_of)),
    )


def ready_of(replica_set: Object) -> int:
    """How many pods of a ReplicaSet are ready."""
    return int((replica_set.get("status") or {}).get("readyReplicas") or 0)


def ready_in(scene: Scene, seat: Seat, pod: str) -> int:
    """How many pods of a version are ready in a Deployment."""
    return sum(ready_of(one) for one in seat.sets if scene.pod_of(seat, one) == pod)


def rolled_out(scene: Scene, seat: Seat, pod: str) -> bool:
    """Whether all that a Deployment should have is ready, of one version, and nothing else runs in it."""
    others = [one for one in seat.sets if scene.pod_of(seat, one) != pod and int(one["spec"].get("replicas") or 0)]
    return seat.observed and seat.replicas > 0 and ready_in(scene, seat, pod) >= seat.replicas and not others


def _pods_of(scene: Scene, seat: Seat) -> set[str]:
    """The versions that a Deployment has or should have pods of."""
    running = {scene.pod_of(seat, one) for one in seat.sets if int(one["spec"].get("replicas") or 0) or ready_of(one)}
    if seat.replicas:
        running.add(scene.twin_pod() if seat is scene.twin else scene.pod)
    return running - {""}


def _failure(seat: Seat, pods: Sequence[Object], *, ready: int, desired: int, newest: bool) -> str | None:
    """A sentence when a version cannot run: what its containers say first, then what the Deployment says."""
    if ready >= desired:
        return None
    said = [sentence for one in pods if (sentence := pod_failure(one))]
    if said:
        return said[0]
    if not newest or not seat.observed:
        return None
    refused = condition_of(seat.deployment, "ReplicaFailure")
    if refused.get("status") == "True":
        return f"no pod can be made: {_short(refused.get('message', ''))}"
    progress = condition_of(seat.deployment, "Progressing")
    if progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded":
        waits = next((why for one in pods if (why := pod_message(one))), "no pod says why")
        limit = seat.deployment["spec"].get("progressDeadlineSeconds", 600)
        return f"{ready} of {desired} pods ready when the Deployment's progress deadline ({limit} s) passed: {waits}"
    return None


def pod_failure(pod: Object) -> str | None:
    """A sentence when a pod will not come up by waiting."""
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, name = waiting.get("reason", ""), container.get("name", "")
        if reason != _ONCE and (unable := _unable(container, waiting)):
            return unable
        if reason == "CrashLoopBackOff" and int(container.get("restartCount", 0)) >= LOOPS:
            return (
                f"container {name} crashes again and again ({container['restartCount']} restarts){_last_end(container)}"
            )
        ended = _ended(container)
        if ended.get("reason") == "OOMKilled" and int(container.get("restartCount", 0)) >= LOOPS:
            return f"container {name} is killed for want of memory (OOMKilled, {container['restartCount']} restarts)"
    return None


def start_failure(pod: Object) -> str:
    """Why a container of a pod cannot be started, also after one failed pull of its image; "" when nothing says so."""
    found = (_unable(one, (one.get("state") or {}).get("waiting") or {}) for one in _containers(pod))
    return next(filter(None, found), "")


def unschedulable(pod: Object) -> str:
    """Why no node takes a pod; "" when one has, or the scheduler has not said."""
    scheduled = condition_of(pod, "PodScheduled")
    refused = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return f"its pod cannot be scheduled: {_short(scheduled.get('message', ''))}" if refused else ""


def pod_message(pod: Object) -> str:
    """Why a pod is not ready, for people; "" when it is, or does not say."""
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"cannot be scheduled: {_short(scheduled.get('message', ''))}"
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            text = _short(waiting.get("message", ""))
            return f"container {container.get('name')}: {waiting['reason']}{_last_end(container)}" + (
                f": {text}" if text else ""
            )
    ready = condition_of(pod, "Ready")
    return "" if ready.get("status") == "True" else _short(ready.get("message", ""))


def _unable(container: Object, waiting: Object) -> str:
    reason, text = waiting.get("reason", ""), _short(waiting.get("message", ""))
    if reason in (*_NO_IMAGE, _ONCE):
        return f"the image {container.get('image', '')} cannot be pulled ({reason}): {text}"
    if reason in _NO_START:
        return f"container {container.get('name', '')} cannot be started ({reason}): {text}"
    return ""


def _replica(pod: Object) -> ReplicaState:
    failed = pod_failure(pod)
    running = (pod.get("status") or {}).get("phase") == "Running"
    if pod["metadata"].get("deletionTimestamp"):
        phase = "stopping"
    elif failed:
        phase = "crashed"
    else:
        phase = "ready" if is_ready(pod) else "unready" if running else "starting"
    return ReplicaState(name=name_of(pod), phase=phase, restarts=_restarts(pod), message=failed or pod_message(pod))


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _restarts(pod: Object) -> int:
    return sum(int(one.get("restartCount", 0)) for one in _containers(pod))


def _ended(container: Object) -> Object:
    last: Object = (container.get("lastState") or {}).get("terminated") or {}
    return last


def _last_end(container: Object) -> str:
    ended = _ended(container)
    if not ended:
        return ""
    return f", last ended by {ended.get('reason', 'Error')} with exit code {ended.get('exitCode', '?')}"


def _owner(obj: Object) -> str:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((str(one["uid"]) for one in owners if one.get("controller")), "")


def _short(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= 200 else f"{line[:197]}..."
