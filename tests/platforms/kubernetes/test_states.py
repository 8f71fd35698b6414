"""What pods and Deployments say of a version that does not come up."""

from __future__ import annotations

from typing import Any

import pytest

from sternway.domain.platform import WorkloadState
from sternway.kubernetes.ours import STAMP
from sternway.kubernetes.template import stamp
from sternway.platforms.kubernetes.scene import Scene, Seat
from sternway.platforms.kubernetes.states import pod_message, workload_states

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "orders"}},
    "spec": {"containers": [{"name": "orders", "image": "orders:2"}]},
}


def pod(container: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """Make a pod of the newest ReplicaSet."""
    one = {"name": "orders", "image": "orders:2", "restartCount": 0, **(container or {})}
    return {
        "metadata": {"name": "p", "ownerReferences": [{"uid": "rs", "controller": True}]},
        "status": {"phase": "Running", "containerStatuses": [one], **status},
    }


def seen(
    *pods: dict[str, Any], ready: int = 0, conditions: tuple[dict[str, Any], ...] = (), generation: int = 1
) -> WorkloadState:
    """Say how the candidate is: two replicas wished, of which these pods are there."""
    marked = {**TEMPLATE, "metadata": {**TEMPLATE["metadata"], "annotations": {STAMP: stamp("f00", TEMPLATE)}}}
    replica_set = {
        "metadata": {"name": "rs", "uid": "rs", "annotations": {"deployment.kubernetes.io/revision": "1"}},
        "spec": {"replicas": 2, "template": marked},
        "status": {"readyReplicas": ready},
    }
    deployment = {
        "metadata": {"name": "orders", "uid": "d", "generation": generation},
        "spec": {"replicas": 2, "template": marked, "progressDeadlineSeconds": 60},
        "status": {"observedGeneration": 1, "conditions": list(conditions)},
    }
    seat = Seat(deployment=deployment, sets=(replica_set,), pods=pods)
    scene = Scene(
        key="orders.shop",
        namespace="shop",
        name="orders",
        deployment="orders",
        user=seat,
        revisions={},
        config={},
        copies={},
        held=lambda _: None,
        pod="f00",
    )
    (state,) = workload_states(scene, None)
    return state


def waiting(reason: str, message: str = "", restarts: int = 0) -> dict[str, Any]:
    """Make a container that waits."""
    return {"state": {"waiting": {"reason": reason, "message": message}}, "restartCount": restarts}


DEADLINE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
QUOTA = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: compute'}
NO_ROOM = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: insufficient memory."}
OOM = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "restartCount": 4}


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (waiting("ImagePullBackOff", "not found"), "the image orders:2 cannot be pulled (ImagePullBackOff): not found"),
        (waiting("InvalidImageName"), "the image orders:2 cannot be pulled (InvalidImageName): "),
        (
            waiting("CreateContainerConfigError", 'secret "db" not found'),
            'container orders cannot be started (CreateContainerConfigError): secret "db" not found',
        ),
        (
            {
                **waiting("CrashLoopBackOff", restarts=3),
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
            },
            "container orders crashes again and again (3 restarts), last ended by Error with exit code 1",
        ),
        (OOM, "container orders is killed for want of memory (OOMKilled, 4 restarts)"),
    ],
)
def test_a_container_that_will_not_come_up_is_a_failure(container: dict[str, Any], said: str) -> None:
    """The sentence names the container and the reason that the cluster gives."""
    assert seen(pod(container)).failure == said


@pytest.mark.parametrize(
    "container",
    [
        waiting("ContainerCreating"),
        waiting("ErrImagePull"),
        waiting("CrashLoopBackOff", restarts=2),
        {"lastState": {"terminated": {"reason": "OOMKilled"}}, "restartCount": 1},
    ],
)
def test_an_accident_is_no_failure(container: dict[str, Any]) -> None:
    """One crash, one failed pull: it is waited for."""
    assert seen(pod(container)).failure is None


def test_want_of_room_is_waited_for_until_the_deadline() -> None:
    """A cluster may grow: pods that find no node are a failure only when the Deployment's own deadline has passed."""
    lacks = pod(conditions=[NO_ROOM])
    assert seen(lacks).failure is None
    assert seen(lacks, conditions=(DEADLINE,)).failure == (
        "0 of 2 pods ready when the Deployment's progress deadline (60 s) passed: "
        "cannot be scheduled: 0/3 nodes are available: insufficient memory."
    )


def test_an_exhausted_quota_is_a_failure() -> None:
    """No pod can be made: the sentence is the API's own."""
    assert seen(conditions=(QUOTA,)).failure == ('no pod can be made: pods "x" is forbidden: exceeded quota: compute')


def test_conditions_of_an_earlier_template_are_nobodys() -> None:
    """Before the controller has seen the Deployment as it is now, its conditions tell nothing of it."""
    assert seen(conditions=(DEADLINE,), generation=2).failure is None


def test_who_has_all_pods_ready_has_no_failure() -> None:
    """A pod that crashed once upon a time does not condemn a version that runs."""
    state = seen(pod(waiting("CrashLoopBackOff", restarts=9)), ready=2)
    assert (state.failure, state.ready, state.restarts) == (None, 2, 9)


def test_a_pod_that_is_not_ready_says_why() -> None:
    """People read it beside the pod."""
    crashed = {**waiting("CrashLoopBackOff", "back-off 40s"), "lastState": {"terminated": {"exitCode": 3}}}
    assert pod_message(pod(crashed)) == (
        "container orders: CrashLoopBackOff, last ended by Error with exit code 3: back-off 40s"
    )
    assert pod_message(pod(conditions=[{"type": "Ready", "status": "True"}])) == ""
