"""The names that Sternway writes into a cluster: labels, annotations, and the names of its own objects."""

from __future__ import annotations

import hashlib

from sternway.kubernetes.api import Object

PREFIX = "sternway.dev/"
SERVICE = "sternway.dev/service"
"""Label: the user's Service that an object of ours belongs to."""
TWIN = "sternway.dev/twin"
"""Label of the twin's pods, and its selector: the user's Deployment."""
ROLE = "sternway.dev/role"
"""Label: `stable` (the twin, its Service, its pods), `candidate` (the Service of the user's pods), `version`."""
POD = "sternway.dev/pod"
"""Label of what is kept of a version: its fingerprint."""
STAMP = "sternway.dev/version"
"""Annotation of a pod template: which version its pods run."""
REPLICAS = "sternway.dev/replicas"
"""Annotation of the user's Deployment: how many replicas are wished while it rests at none."""
ADOPTING = "sternway.dev/adopting"
"""Annotation of the user's Deployment while it is paused until the twin serves: the fingerprint of what its pods run."""
SELECTOR = "sternway.dev/selector"
"""Annotation of the user's Service: its own selector, as JSON."""
STRATEGY = "sternway.dev/update-strategy"
"""Annotation of the user's StatefulSet or DaemonSet: its own `spec.updateStrategy`, as JSON, while ours is in its place."""
APART = "sternway.dev/apart"
"""Annotation of our Service of a workload that is released in place: the revision that every proxy knows it to reach."""
GATE = "sternway.dev/gate"
"""Label of a Job of ours: the gate that it is."""
APPLIED = "sternway.dev/applied"
"""Annotation of our objects: a digest of what we applied, so that a field that went is seen."""
LEDGER = "sternway.dev/ledger"
"""Annotation of a Guard: its ledger, as JSON."""
REVISIONS = "sternway.dev/revisions"
"""Annotation of a Guard: at which Git commit each version of the ledger was in force, as JSON."""

_LONGEST = 63


def named(name: str, suffix: str) -> str:
    """`orders` and `stable` -> `orders-stable`; what would be too long for a label is cut and told apart by a digest."""
    whole = f"{name}-{suffix}"
    if len(whole) <= _LONGEST:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: _LONGEST - len(suffix) - 8].rstrip('-.')}-{digest}-{suffix}"


def is_ours(obj: Object) -> bool:
    """Whether we made an object."""
    return SERVICE in (obj["metadata"].get("labels") or {})


def annotation(obj: Object, key: str) -> str:
    """An annotation; "" without it."""
    return str((obj["metadata"].get("annotations") or {}).get(key, ""))


def split_key(service: str) -> tuple[str, str]:
    """`orders.shop` -> (namespace, name). A Service's name has no dot."""
    name, _, namespace = service.partition(".")
    return namespace, name


def service_key(namespace: str, name: str) -> str:
    """(shop, orders) -> `orders.shop`: what a service is called inside."""
    return f"{name}.{namespace}"
