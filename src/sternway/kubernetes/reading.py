"""What is known of a cluster, without asking it: the stores that follow watches, as adapters read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.ours import REPLICAS, ROLE, SELECTOR, SERVICE, STRATEGY, TWIN, annotation, split_key
from sternway.kubernetes.remembered import Basis
from sternway.kubernetes.resources import DAEMON_SETS, DEPLOYMENTS, SERVICES, STATEFUL_SETS
from sternway.kubernetes.shelf import Index

WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
"""The kinds that a Service may stand for."""
_SEVERAL = 2


class Reader(Protocol):
    """Objects as they were when the watch told of them last. Nobody changes what is handed out."""

    @property
    def basis(self) -> Basis:
        """What rests on what was read here: see `kubernetes.remembered`."""
        ...

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """One object."""
        ...

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """Every object of a kind in a namespace; nothing where the kind is not served."""
        ...

    def find(self, resource: Resource, index: Index, word: str, namespace: str) -> Sequence[Object]:
        """The objects of a kind in a namespace that one of `INDEXES` has under a word, without looking at the others."""
        ...

    def owned(self, resource: Resource, uid: str) -> Sequence[Object]:
        """The objects of a kind whose controller has this uid."""
        ...


def of_service(obj: Object) -> Iterable[str]:
    """The index by the Service that a Guard, or an object of ours, is about."""
    spec = obj.get("spec")
    said = spec.get("service") if obj.get("kind") == "Guard" and isinstance(spec, dict) else None
    found = said or (obj["metadata"].get("labels") or {}).get(SERVICE)
    return (found,) if isinstance(found, str) else ()


def of_guard(obj: Object) -> Iterable[str]:
    """The index by the Guard that a Release is of."""
    found = (obj["metadata"].get("labels") or {}).get("sternway.dev/guard")
    return (str(found),) if found else ()


def pod_labels(workload: Object) -> Iterable[str]:
    """The index by each label of a workload's pods: `app=orders`."""
    spec = workload.get("spec") or {}
    metadata = (spec.get("template") or {}).get("metadata") if isinstance(spec, dict) else None
    return (f"{key}={value}" for key, value in ((metadata or {}).get("labels") or {}).items())


def follows(obj: Object) -> Iterable[str]:
    """The index by what an autoscaler or a disruption budget is about: a workload's name, or labels of its pods.

    A budget that names no label with its value is under "", with all others of its kind that may be about any pod.
    """
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return ()
    if obj.get("kind") == "PodDisruptionBudget":
        labels = (spec.get("selector") or {}).get("matchLabels") or {}
        return [f"{key}={value}" for key, value in labels.items()] or [""]
    found = (spec.get("scaleTargetRef") or spec.get("targetRef") or {}).get("name")
    return (str(found),) if found else ()


INDEXES: tuple[Index, ...] = (of_service, of_guard, pod_labels, follows)


def selected(reader: Reader, resource: Resource, selector: Mapping[str, str], namespace: str) -> Sequence[Object]:
    """Workloads of a kind among which are all whose pods have these labels: those with the rarest of them."""
    words = (f"{key}={value}" for key, value in selector.items())
    return min((reader.find(resource, pod_labels, word, namespace) for word in words), key=len, default=())


def own_selector(service: Object) -> dict[str, str]:
    """The selector that the user wrote, also while the Service is pointed at one version's pods."""
    now: dict[str, str] = dict((service.get("spec") or {}).get("selector") or {})
    kept = annotation(service, SELECTOR)
    if not kept:
        return now
    before: dict[str, str] = json.loads(kept)
    ours = TWIN in now or before.items() <= now.items()
    return before if ours else now  # else the user has written another one since


def own_strategy(workload: Object) -> Object:
    """The update strategy that the user wrote, also while ours is in its place."""
    kept = annotation(workload, STRATEGY)
    found: Object = json.loads(kept) if kept else workload["spec"].get("updateStrategy") or {}
    return found


def selects(selector: Mapping[str, str], workload: Object) -> bool:
    """Whether the pods of a Deployment (or StatefulSet, …) have these labels."""
    labels = workload["spec"]["template"].get("metadata", {}).get("labels") or {}
    return bool(selector) and selector.items() <= labels.items()


def behind(service: Object, workloads: Sequence[Object]) -> list[Object]:
    """The user's workloads that a Service stands for, by name; the twin is none of them."""
    selector = own_selector(service)
    found = [one for one in workloads if selects(selector, one) and ROLE not in (one["metadata"].get("labels") or {})]
    return sorted(found, key=name_of)


def released(reader: Reader, service: str, name: str) -> tuple[Resource, Object] | None:
    """The workload of this name that is released for a service: one that the user's Service selects goes first."""
    namespace, of = split_key(service)
    found = ((kind, reader.get(kind, name, namespace)) for kind in WORKLOADS)
    there = [(kind, obj) for kind, obj in found if obj is not None]
    if len(there) < _SEVERAL:
        return there[0] if there else None
    service_object = reader.get(SERVICES, of, namespace)
    selector = own_selector(service_object) if service_object is not None else {}
    return next((one for one in there if selects(selector, one[1])), there[0])


def in_place(workload: Object) -> bool:
    """Whether a workload's pods cannot run twice (by identity, volume or node), so that versions share them."""
    return workload.get("kind") in (STATEFUL_SETS.kind, DAEMON_SETS.kind)


def scales(obj: Object, deployment: str) -> bool:
    """Whether an autoscaler (an HPA or KEDA's ScaledObject) changes the number of a Deployment's replicas."""
    target = (obj.get("spec") or {}).get("scaleTargetRef") or {}
    return (target.get("kind", "Deployment"), target.get("name")) == ("Deployment", deployment)


def wished_replicas(deployment: Object, twin: Object | None, *, scaled: bool) -> int:
    """How many replicas the user wants of a service, whatever each Deployment has now.

    scaled: an autoscaler rules, so the twin has what the traffic asks for. Else what the user's Deployment has or, while it
    rests at none, what it had.
    """
    if twin is not None and scaled:
        return max(1, replicas_of(twin))
    remembered = annotation(deployment, REPLICAS)
    return replicas_of(deployment) or (int(remembered) if remembered.isdigit() else 0)


def replicas_of(deployment: Object) -> int:
    """How many replicas a workload is told to have: a DaemonSet, by the nodes that there are for it."""
    if deployment.get("kind") == DAEMON_SETS.kind:
        return int((deployment.get("status") or {}).get("desiredNumberScheduled") or 0)
    stated = deployment["spec"].get("replicas")
    return 1 if stated is None else int(stated)
