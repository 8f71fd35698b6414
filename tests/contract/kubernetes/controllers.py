"""Plays the controllers of Deployments, ReplicaSets, StatefulSets and DaemonSets, and the kubelet, on the fake: one step at each call.

An image that contains `never-ready`, `crash-loop` or `pull-error` does as it says.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.resources import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)
from sternway.testing.kubernetes import Store

NODES = Resource(group="", version="v1", plural="nodes", kind="Node", namespaced=False)
HASH = "pod-template-hash"
REVISION = "controller-revision-hash"
_REVISION = "deployment.kubernetes.io/revision"


def play(store: Store, namespace: str, *, kubelet: bool = True) -> None:
    """Let every Deployment take one step. kubelet: False where somebody else plays it."""
    for deployment in store.select(DEPLOYMENTS, namespace=namespace):
        _roll(store, deployment)
    for replica_set in store.select(REPLICA_SETS, namespace=namespace):
        _fill(store, replica_set, kubelet=kubelet)
    for deployment in store.select(DEPLOYMENTS, namespace=namespace):
        _tell(store, deployment)
    for stateful_set in store.select(STATEFUL_SETS, namespace=namespace):
        _order(store, stateful_set, kubelet=kubelet)
    for daemon_set in store.select(DAEMON_SETS, namespace=namespace):
        _spread(store, daemon_set)


def owned(store: Store, kind: Any, owner: Object) -> list[Object]:
    """Give what an object controls."""
    found = store.select(kind, namespace=owner["metadata"]["namespace"])
    uid = owner["metadata"]["uid"]
    return [one for one in found if any(o["uid"] == uid for o in one["metadata"].get("ownerReferences") or ())]


def _roll(store: Store, deployment: Object) -> None:
    spec, sets = deployment["spec"], owned(store, REPLICA_SETS, deployment)
    current = next((one for one in sets if _same(one["spec"]["template"], spec["template"])), None)
    if current is None and spec.get("paused"):
        newest = max(sets, key=_number, default=None)
        if newest is not None:
            _scale(store, newest, spec["replicas"])
        return
    number = max(map(_number, sets), default=0)
    if current is None:
        current = _new_set(store, deployment, number + 1)
    elif _number(current) < number:
        store.patch(
            REPLICA_SETS,
            name_of(current),
            {"metadata": {"annotations": {_REVISION: str(number + 1)}}},
            namespace=deployment["metadata"]["namespace"],
            manager="kube-controller-manager",
        )
    _scale(store, current, spec["replicas"])
    if int((current.get("status") or {}).get("readyReplicas") or 0) >= spec["replicas"]:
        for other in sets:
            if name_of(other) != name_of(current):
                _scale(store, other, 0)


def _new_set(store: Store, deployment: Object, number: int) -> Object:
    template = json.loads(json.dumps(deployment["spec"]["template"]))
    mark = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
    template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), HASH: mark}
    selector = {**deployment["spec"]["selector"]["matchLabels"], HASH: mark}
    made = {
        "metadata": {
            "name": f"{name_of(deployment)}-{mark}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {_REVISION: str(number)},
            "ownerReferences": [_owner(deployment, "Deployment")],
        },
        "spec": {"replicas": 0, "selector": {"matchLabels": selector}, "template": template},
    }
    return store.create(REPLICA_SETS, made, manager="kube-controller-manager")


def _fill(store: Store, replica_set: Object, *, kubelet: bool) -> None:
    namespace = replica_set["metadata"]["namespace"]
    pods = [one for one in owned(store, PODS, replica_set) if "deletionTimestamp" not in one["metadata"]]
    for pod in pods[replica_set["spec"]["replicas"] :]:
        store.delete(PODS, name_of(pod), namespace, now=kubelet)
    for pod in pods[: replica_set["spec"]["replicas"]] if kubelet else ():
        store.patch(PODS, name_of(pod), {"status": _status_of(pod)}, namespace=namespace, subresource="status")
    for _ in range(replica_set["spec"]["replicas"] - len(pods)):
        made = {
            "metadata": {
                "name": f"{name_of(replica_set)}-{store.word(5)}",
                "namespace": namespace,
                "labels": replica_set["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [_owner(replica_set, "ReplicaSet")],
            },
            "spec": {**replica_set["spec"]["template"]["spec"], **({} if kubelet else {"nodeName": "here"})},
        }
        store.create(PODS, made, manager="kube-controller-manager")
    here = (one for one in owned(store, PODS, replica_set) if "deletionTimestamp" not in one["metadata"])
    ready = sum(map(_is_ready, here))
    status = {"replicas": replica_set["spec"]["replicas"], "readyReplicas": ready}
    store.patch(REPLICA_SETS, name_of(replica_set), {"status": status}, namespace=namespace, subresource="status")


def _tell(store: Store, deployment: Object) -> None:
    sets = owned(store, REPLICA_SETS, deployment)
    ready = sum(int((one.get("status") or {}).get("readyReplicas") or 0) for one in sets)
    status = {"observedGeneration": deployment["metadata"]["generation"], "readyReplicas": ready}
    namespace = deployment["metadata"]["namespace"]
    store.patch(DEPLOYMENTS, name_of(deployment), {"status": status}, namespace=namespace, subresource="status")


def _order(store: Store, stateful_set: Object, *, kubelet: bool) -> None:
    """One pod at a time, by its number: made when all before it are ready, replaced from the last one down to the partition."""
    spec, namespace = stateful_set["spec"], stateful_set["metadata"]["namespace"]
    update = _revision(store, stateful_set)
    status = stateful_set.get("status") or {}
    current = status.get("currentRevision") or update
    pods = {int(name_of(one).rpartition("-")[2]): one for one in owned(store, PODS, stateful_set)}
    for pod in pods.values() if kubelet else ():
        store.patch(PODS, name_of(pod), {"status": _status_of(pod)}, namespace=namespace, subresource="status")
    pods = {int(name_of(one).rpartition("-")[2]): one for one in owned(store, PODS, stateful_set)}
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition", 0)
    wait = next((n for n in range(spec["replicas"]) if n not in pods or not _is_ready(pods[n])), None)
    extra = [n for n in sorted(pods, reverse=True) if n >= spec["replicas"]]
    old = [n for n in sorted(pods, reverse=True) if n >= partition and _label(pods[n]) != update]
    if wait is not None and wait not in pods:
        kept = store.get(CONTROLLER_REVISIONS, update if wait >= partition else current, namespace)
        assert kept is not None
        _new_pod(store, stateful_set, str(wait), kept, {REVISION: name_of(kept)}, node="" if kubelet else "here")
    elif wait is None and (extra or old):
        store.delete(PODS, name_of(pods[(extra or old)[0]]), namespace, now=kubelet)
    there = owned(store, PODS, stateful_set)
    ready = sum(map(_is_ready, there))
    if ready >= spec["replicas"] and all(_label(one) == update for one in there):
        current = update
    said = {
        "observedGeneration": stateful_set["metadata"]["generation"],
        "replicas": len(there),
        "readyReplicas": ready,
        "currentRevision": current,
        "updateRevision": update,
    }
    store.patch(STATEFUL_SETS, name_of(stateful_set), {"status": said}, namespace=namespace, subresource="status")


def _spread(store: Store, daemon_set: Object) -> None:
    """One pod on each node, of the newest template; only a rolling update replaces one that is there. Plays the kubelet, too."""
    namespace = daemon_set["metadata"]["namespace"]
    nodes = [name_of(node) for node in store.select(NODES)]
    revision = _newest(store, daemon_set)
    for pod in owned(store, PODS, daemon_set):
        if pod["spec"]["nodeName"] not in nodes or "deletionTimestamp" in pod["metadata"]:
            store.delete(PODS, name_of(pod), namespace, now=True)
        else:
            store.patch(PODS, name_of(pod), {"status": _status_of(pod)}, namespace=namespace, subresource="status")
    there = owned(store, PODS, daemon_set)
    old = [pod for pod in there if _label(pod) != _label(revision)]
    bare = sorted(set(nodes) - {pod["spec"]["nodeName"] for pod in there})
    for node in bare:
        labels = {REVISION: _label(revision), "pod-template-generation": str(revision["revision"])}
        _new_pod(store, daemon_set, store.word(5), revision, labels, node=node)
    rolls = daemon_set["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    if rolls and old and not bare and all(map(_is_ready, there)):
        store.delete(PODS, name_of(old[0]), namespace, now=True)
    there = owned(store, PODS, daemon_set)
    said = {
        "observedGeneration": daemon_set["metadata"]["generation"],
        "desiredNumberScheduled": len(nodes),
        "currentNumberScheduled": len(there),
        "updatedNumberScheduled": sum(_label(pod) == _label(revision) for pod in there),
        "numberReady": sum(map(_is_ready, there)),
        "numberMisscheduled": 0,
    }
    store.patch(DAEMON_SETS, name_of(daemon_set), {"status": said}, namespace=namespace, subresource="status")


def _newest(store: Store, daemon_set: Object) -> Object:
    """The ControllerRevision of a DaemonSet's template; its own label says how its pods name it."""
    namespace = daemon_set["metadata"]["namespace"]
    name = _revision(store, daemon_set)
    found = store.get(CONTROLLER_REVISIONS, name, namespace)
    assert found is not None
    last = max(one["revision"] for one in owned(store, CONTROLLER_REVISIONS, daemon_set))
    number = found["revision"] if found["revision"] == last else last + 1
    hashed = {**found["metadata"].get("labels", {}), REVISION: name.removeprefix(f"{name_of(daemon_set)}-")}
    change = {"metadata": {"labels": hashed}, "revision": number}
    if (found["metadata"].get("labels"), found["revision"]) != (hashed, number):
        found = store.patch(CONTROLLER_REVISIONS, name, change, namespace=namespace)
    assert found is not None
    return found


def _revision(store: Store, workload: Object) -> str:
    """The ControllerRevision of the template: one that is equal is the newest again."""
    template = workload["spec"]["template"]
    known = owned(store, CONTROLLER_REVISIONS, workload)
    data = {"spec": {"template": {**template, "$patch": "replace"}}}
    found = next((one for one in known if one["data"] == data), None)
    if found is not None:
        return name_of(found)
    mark = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
    made = {
        "metadata": {
            "name": f"{name_of(workload)}-{mark}",
            "namespace": workload["metadata"]["namespace"],
            "labels": template["metadata"].get("labels", {}),
            "ownerReferences": [_owner(workload, workload["kind"])],
        },
        "data": data,
        "revision": 1 + max((one["revision"] for one in known), default=0),
    }
    return name_of(store.create(CONTROLLER_REVISIONS, made, manager="kube-controller-manager"))


def _new_pod(store: Store, workload: Object, suffix: str, kept: Object, labels: dict[str, str], *, node: str) -> None:
    """Make a pod of a revision."""
    template = kept["data"]["spec"]["template"]
    made = {
        "metadata": {
            "name": f"{name_of(workload)}-{suffix}",
            "namespace": workload["metadata"]["namespace"],
            "labels": {**template["metadata"].get("labels", {}), **labels},
            "ownerReferences": [_owner(workload, workload["kind"])],
        },
        "spec": {**template["spec"], **({"nodeName": node} if node else {})},
    }
    store.create(PODS, made, manager="kube-controller-manager")


def _label(obj: Object) -> str:
    return str(obj["metadata"]["labels"].get(REVISION, ""))


def _scale(store: Store, replica_set: Object, replicas: int) -> None:
    if replica_set["spec"]["replicas"] != replicas:
        namespace = replica_set["metadata"]["namespace"]
        store.patch(REPLICA_SETS, name_of(replica_set), {"spec": {"replicas": replicas}}, namespace=namespace)


def _status_of(pod: Object) -> Object:
    image = pod["spec"]["containers"][0]["image"]
    container: Object = {"name": pod["spec"]["containers"][0]["name"], "image": image, "restartCount": 0}
    if "pull-error" in image:
        waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        return {"phase": "Pending", "containerStatuses": [container | {"state": {"waiting": waiting}}]}
    if "crash-loop" in image:
        before = (pod.get("status", {}).get("containerStatuses") or [container])[0]["restartCount"]
        waits = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": before + 1}
        return {"phase": "Running", "containerStatuses": [container | waits]}
    ready = "never-ready" not in image
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _same(one: Object, other: Object) -> bool:
    return _bare(one) == _bare(other)


def _bare(template: Object) -> Object:
    bare: Object = json.loads(json.dumps(template))
    (bare.get("metadata", {}).get("labels") or {}).pop(HASH, None)
    return bare


def _number(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _owner(obj: Object, kind: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": name_of(obj),
        "uid": obj["metadata"]["uid"],
        "controller": True,
    }
