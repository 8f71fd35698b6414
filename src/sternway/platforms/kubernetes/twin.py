"""The twin Deployment and our two Services, made from the user's own. Pure; called by `plan`.

The twin keeps everything of the user's Deployment (init containers, sidecars, spread, affinity, deadlines). Only its
labels differ where they must, so that neither the user's autoscaler nor the candidate's Service counts its pods.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

from sternway.errors import Refused
from sternway.kubernetes.api import Object, name_of
from sternway.kubernetes.ours import ROLE, SERVICE, STAMP, TWIN, named
from sternway.kubernetes.template import ConfigName, rewritten

TOLD_APART_BY = ("app", "app.kubernetes.io/name", "k8s-app", "name", "app.kubernetes.io/instance")
"""Which label gets the suffix, if the user's selector has one of them."""
_LONGEST_VALUE = 63


def twin_labels(deployment: Object, selector: Mapping[str, str]) -> tuple[str, str, str]:
    """Which label tells the twin's pods from the user's: (label, the user's value, the twin's value).

    selector: the user's Service's; a label that both use is best. Raises Refused when there is none.
    """
    own: dict[str, str] = deployment["spec"]["selector"].get("matchLabels") or {}
    if not own:
        raise Refused(
            f"Deployment {name_of(deployment)} selects its pods without matchLabels, so its twin's cannot be told apart",
            hint="give its selector a matchLabels, such as `app: " + name_of(deployment) + "`",
        )
    both = [key for key in own if key in selector] or list(own)
    key = next((known for known in TOLD_APART_BY if known in both), min(both))
    return key, own[key], _suffixed(own[key])


def twin_of(
    deployment: Object,
    template: Object,
    *,
    pod: str,
    service: str,
    selector: Mapping[str, str],
    config: Mapping[ConfigName, str],
) -> Object:
    """The twin that runs `template` (as the user wrote it), with its configuration read from `config`'s copies.

    Without replicas: those belong to whoever scales it.
    """
    name = name_of(deployment)
    key, value, other = twin_labels(deployment, selector)
    changed = rewritten(template, config)
    labels = changed["metadata"].setdefault("labels", {})
    labels |= {key: other, TWIN: name, ROLE: "stable"}
    changed["metadata"].setdefault("annotations", {})[STAMP] = pod
    _keep_apart(changed["spec"], key, value, other)
    kept = ("strategy", "minReadySeconds", "progressDeadlineSeconds")
    spec = {field: copy.deepcopy(deployment["spec"][field]) for field in kept if field in deployment["spec"]}
    user_labels = {k: v for k, v in (deployment["metadata"].get("labels") or {}).items() if k != _ARGO_TRACKS}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": named(name, "stable"),
            "namespace": deployment["metadata"]["namespace"],
            "labels": user_labels
            | ({key: other} if key in user_labels else {})
            | {SERVICE: service, TWIN: name, ROLE: "stable"},
        },
        "spec": {
            **spec,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {TWIN: name}},
            "template": changed,
        },
    }


def stable_service(service: Object, deployment: str) -> Object:
    """The Service that reaches the twin's pods alone."""
    return role_service(service, "stable", {TWIN: deployment})


def candidate_service(service: Object, deployment: Object, selector: Mapping[str, str]) -> Object:
    """The Service that reaches the pods of the user's Deployment alone."""
    own = deployment["spec"]["selector"].get("matchLabels") or {}
    return role_service(service, "candidate", {**selector, **own})


_ARGO_TRACKS = "argocd.argoproj.io/instance"
"""A label by which Argo CD knows what is its own, and deletes what its Git does not hold."""


def role_service(service: Object, role: str, selector: Mapping[str, str]) -> Object:
    """A Service like the user's, for the pods of one version alone."""
    spec = service["spec"]
    name = name_of(service)
    kept: Object = {
        "ports": [
            {k: v for k, v in port.items() if k in ("name", "port", "targetPort", "protocol", "appProtocol")}
            for port in spec.get("ports") or ()
        ],
        "selector": dict(selector),
    }
    if spec.get("clusterIP") == "None":
        kept["clusterIP"] = "None"
    for field in ("publishNotReadyAddresses", "internalTrafficPolicy", "sessionAffinity"):
        if spec.get(field):
            kept[field] = spec[field]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": named(name, role),
            "namespace": service["metadata"]["namespace"],
            "labels": {SERVICE: name, ROLE: role},
        },
        "spec": kept,
    }


def _suffixed(value: str) -> str:
    whole = f"{value}-stable"
    if len(whole) <= _LONGEST_VALUE:
        return whole
    return f"{value[:48].rstrip('-._')}-{hashlib.sha256(value.encode()).hexdigest()[:6]}-stable"


def _keep_apart(spec: Object, key: str, value: str, other: str) -> None:
    """Let rules by which the user's pods keep away from (or near) each other hold among the twin's."""
    for constraint in spec.get("topologySpreadConstraints") or ():
        _rename(constraint.get("labelSelector"), key, value, other)
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            _rename(term.get("labelSelector"), key, value, other)
        for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            _rename((weighted.get("podAffinityTerm") or {}).get("labelSelector"), key, value, other)


def _rename(selector: Any, key: str, value: str, other: str) -> None:
    if not selector:
        return
    if (selector.get("matchLabels") or {}).get(key) == value:
        selector["matchLabels"][key] = other
    for expression in selector.get("matchExpressions") or ():
        if expression.get("key") == key and value in (expression.get("values") or ()):
            expression["values"] = [other if one == value else one for one in expression["values"]]
