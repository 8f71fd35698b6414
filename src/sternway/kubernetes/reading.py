"""What is known of a cluster, without asking it: the stores that follow watches, as adapters read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.ours import REPLICAS, ROLE, SELECTOR, TWIN, annotation


class Reader(Protocol):
    """Objects as they were when the watch told of them last. Nobody changes what is handed out."""

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """One object."""
        ...

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """Every object of a kind in a namespace; nothing where the kind is not served."""
        ...

    def owned(self, resource: Resource, uid: str) -> Sequence[Object]:
        """The objects of a kind whose controller has this uid."""
        ...


def own_selector(service: Object) -> dict[str, str]:
    """The selector that the user wrote, also while the Service is pointed at one version's pods."""
    now: dict[str, str] = dict((service.get("spec") or {}).get("selector") or {})
    kept = annotation(service, SELECTOR)
    if not kept:
        return now
    before: dict[str, str] = json.loads(kept)
    ours = TWIN in now or before.items() <= now.items()
    return before if ours else now  # else the user has written another one since


def selects(selector: Mapping[str, str], workload: Object) -> bool:
    """Whether the pods of a Deployment (or StatefulSet, …) have these labels."""
    labels = workload["spec"]["template"].get("metadata", {}).get("labels") or {}
    return bool(selector) and selector.items() <= labels.items()


def behind(service: Object, workloads: Sequence[Object]) -> list[Object]:
    """The user's workloads that a Service stands for, by name; the twin is none of them."""
    selector = own_selector(service)
    found = [one for one in workloads if selects(selector, one) and ROLE not in (one["metadata"].get("labels") or {})]
    return sorted(found, key=name_of)


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
    """How many replicas a Deployment is told to have."""
    stated = deployment["spec"].get("replicas")
    return 1 if stated is None else int(stated)
