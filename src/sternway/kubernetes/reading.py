"""What is known of a cluster, without asking it: the stores that follow watches, as adapters read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.ours import ROLE, SELECTOR, annotation


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
    """The selector that the user wrote, also while the Service is pointed at the twin."""
    kept = annotation(service, SELECTOR)
    selector = json.loads(kept) if kept else (service.get("spec") or {}).get("selector")
    return dict(selector or {})


def selects(selector: Mapping[str, str], workload: Object) -> bool:
    """Whether the pods of a Deployment (or StatefulSet, …) have these labels."""
    labels = workload["spec"]["template"].get("metadata", {}).get("labels") or {}
    return bool(selector) and selector.items() <= labels.items()


def behind(service: Object, workloads: Sequence[Object]) -> list[Object]:
    """The user's workloads that a Service stands for, by name; the twin is none of them."""
    selector = own_selector(service)
    found = [one for one in workloads if selects(selector, one) and ROLE not in (one["metadata"].get("labels") or {})]
    return sorted(found, key=name_of)
