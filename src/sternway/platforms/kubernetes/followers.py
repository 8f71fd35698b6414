"""What follows the user's Deployment about (autoscalers, disruption budgets), and its copies for the twin. Pure.

Which version of an API a cluster has differs: `KINDS` states them in the order of preference, `platform` asks `serves`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.ours import ROLE, SERVICE, TWIN, annotation, named
from sternway.kubernetes.reading import scales
from sternway.kubernetes.resources import HORIZONTAL_POD_AUTOSCALERS, POD_DISRUPTION_BUDGETS
from sternway.platforms.kubernetes.scene import Scene, Seat

SCALED_OBJECTS = Resource(group="keda.sh", version="v1alpha1", plural="scaledobjects", kind="ScaledObject")
VERTICAL_POD_AUTOSCALERS = Resource(
    group="autoscaling.k8s.io", version="v1", plural="verticalpodautoscalers", kind="VerticalPodAutoscaler"
)
KINDS: tuple[tuple[Resource, ...], ...] = (
    (
        HORIZONTAL_POD_AUTOSCALERS,
        Resource(group="autoscaling", version="v1", plural="horizontalpodautoscalers", kind="HorizontalPodAutoscaler"),
    ),
    (
        POD_DISRUPTION_BUDGETS,
        Resource(group="policy", version="v1beta1", plural="poddisruptionbudgets", kind="PodDisruptionBudget"),
    ),
    (SCALED_OBJECTS,),
    (VERTICAL_POD_AUTOSCALERS,),
)
"""Each kind in the versions that we can write."""
PAUSED = "autoscaling.keda.sh/paused-replicas"
"""KEDA's annotation: keep so many replicas, whatever the trigger says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """An object of the user's that follows the Deployment about."""

    resource: Resource
    obj: Object

    @property
    def scales(self) -> bool:
        """Whether it changes the number of replicas."""
        return self.resource.kind in ("HorizontalPodAutoscaler", "ScaledObject")


def followers(scene: Scene) -> tuple[Follower, ...]:
    """The user's autoscalers and disruption budgets that are about the user's Deployment.

    An autoscaler that KEDA made is KEDA's own matter: its ScaledObject is copied instead.
    """
    user = scene.user
    if user is None:
        return ()
    found = []
    for resource, obj in scene.followers:
        if ROLE in (obj["metadata"].get("labels") or {}):
            continue
        if any(owner.get("kind") == "ScaledObject" for owner in obj["metadata"].get("ownerReferences") or ()):
            continue
        if _is_about(resource, obj, user):
            found.append(Follower(resource=resource, obj=obj))
    return tuple(found)


def copies(scene: Scene, *, least: int = 0) -> tuple[Follower, ...]:
    """The same for the twin. least: so many replicas the twin keeps while a candidate takes traffic from it.

    Without that an autoscaler would take the twin's pods away as its traffic goes, and a rollback would find too few.
    """
    assert scene.user is not None
    return tuple(_copy(scene, one, least) for one in followers(scene))


def leftover(scene: Scene) -> tuple[Follower, ...]:
    """Copies of ours whose original is gone."""
    assert scene.user is not None
    wanted = {(one.resource.kind, name_of(one.obj)) for one in copies(scene)}
    return tuple(
        Follower(resource=resource, obj=obj)
        for resource, obj in scene.followers
        if (obj["metadata"].get("labels") or {}).get(SERVICE) == scene.name
        and (resource.kind, name_of(obj)) not in wanted
    )


def paused_by_keda(follower: Follower) -> str:
    """At how many replicas KEDA rests; "" when it does not."""
    return annotation(follower.obj, PAUSED)


def _is_about(resource: Resource, obj: Object, user: Seat) -> bool:
    spec = obj["spec"]
    if resource.kind == "PodDisruptionBudget":
        return _matches(spec.get("selector") or {}, user.template.get("metadata", {}).get("labels") or {})
    if resource.kind == "VerticalPodAutoscaler":
        target = spec.get("targetRef") or {}
        return (target.get("kind"), target.get("name")) == ("Deployment", user.name)
    return scales(obj, user.name)


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector selects a pod; an empty one selects every pod, which is about no Deployment."""
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: dict[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def _copy(scene: Scene, follower: Follower, least: int) -> Follower:
    assert scene.user is not None
    original, user = follower.obj, scene.user.name
    spec = copy.deepcopy(original["spec"])
    twin = named(user, "stable")
    if follower.resource.kind == "PodDisruptionBudget":
        spec["selector"] = {"matchLabels": {TWIN: user}}
    elif follower.resource.kind == "VerticalPodAutoscaler":
        spec["targetRef"] = {**spec["targetRef"], "name": twin}
    else:
        spec["scaleTargetRef"] = {**spec["scaleTargetRef"], "name": twin}
        _keep_at_least(spec, least, keda=follower.resource.kind == "ScaledObject")
    metadata = {
        "name": named(name_of(original), "stable"),
        "namespace": scene.namespace,
        "labels": {SERVICE: scene.name, ROLE: "stable"},
    }
    copied = {"apiVersion": follower.resource.api_version, "kind": follower.resource.kind}
    return Follower(resource=follower.resource, obj={**copied, "metadata": metadata, "spec": spec})


def _keep_at_least(spec: Object, least: int, *, keda: bool) -> None:
    lower, upper = ("minReplicaCount", "maxReplicaCount") if keda else ("minReplicas", "maxReplicas")
    most = int(spec.get(upper, 100))
    default = 0 if keda else 1
    floor = max(int(spec.get(lower, default)), 1, min(least, most))  # a twin at none could not take a rollback
    spec[lower] = floor
