"""What the API server fills in, and what it refuses, as far as our adapters can notice. Used by the fake API."""

from __future__ import annotations

import base64
import re
from typing import Any

from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.errors import Invalid
from sternway.testing.kubernetes.patches import copied

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_COUNTED = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "PodDisruptionBudget"}
"""Built-in kinds with metadata.generation."""
_SCALED = {"Deployment", "StatefulSet", "ReplicaSet"}
_REPLACING = {"StatefulSet": ("partition", 0), "DaemonSet": ("maxUnavailable", 1)}
"""How their rolling update is done when nothing is said."""
_NO_STATUS = {"ConfigMap", "Secret", "Event", "Lease", "ControllerRevision", "Application"}
_SELECTING = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}
_BUILT_IN = re.compile(r"|apps|batch|autoscaling|policy|.*\.k8s\.io")


def built_in(resource: Resource) -> bool:
    """Whether every cluster serves it. Gateway API and the like are custom resources under a name of k8s.io."""
    return bool(_BUILT_IN.fullmatch(resource.group)) and not resource.group.startswith("gateway.")


def has_status(resource: Resource) -> bool:
    """Whether `status` is written through /status alone."""
    return resource.kind not in _NO_STATUS


def scales(resource: Resource) -> bool:
    """Whether it has /scale."""
    return resource.kind in _SCALED


def needs_version(resource: Resource) -> bool:
    """Whether it is replaced only over a stated resourceVersion."""
    return not built_in(resource) or resource.kind in {"Lease", "CustomResourceDefinition"}


def generation(resource: Resource, before: Object | None, after: Object) -> int | None:
    """Give the generation after a write; None for kinds without one."""
    if built_in(resource) and resource.kind not in _COUNTED and resource.kind != "CustomResourceDefinition":
        return None
    if before is None:
        return 1
    last = int(before["metadata"].get("generation", 1))
    same = _spec(resource, before) == _spec(resource, after)
    if resource.kind == "Deployment":
        same = same and before["metadata"].get("annotations") == after["metadata"].get("annotations")
    return last if same else last + 1


def _spec(resource: Resource, obj: Object) -> Any:
    if built_in(resource):
        return obj.get("spec")
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


def defaulted(resource: Resource, obj: Object) -> Object:
    """Fill in what the API server fills in."""
    obj = copied(obj)
    spec = obj.get("spec") or {}
    if resource.kind in _SCALED and built_in(resource):
        spec.setdefault("replicas", 1)
    if resource.kind in _REPLACING and built_in(resource):
        _update_strategy(resource.kind, spec)
    if resource.kind in _SELECTING and built_in(resource):
        _pod_spec(spec.get("template", {}).get("spec", {}))
    elif resource.kind == "Pod":
        _pod_spec(spec)
    elif resource.kind == "Service" and built_in(resource):
        spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports", ()):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])
    elif resource.kind == "Secret":
        obj.setdefault("type", "Opaque")
        for key, value in (obj.pop("stringData", None) or {}).items():
            obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
    return obj


def _update_strategy(kind: str, spec: dict[str, Any]) -> None:
    if kind == "StatefulSet":
        spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault(*_REPLACING[kind])


def _pod_spec(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        for port in container.get("ports", ()):
            port.setdefault("protocol", "TCP")


def check(resource: Resource, before: Object | None, after: Object) -> None:
    """Refuse what the API server would refuse. Raises Invalid that names the field."""
    name = str(after["metadata"]["name"])
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise _invalid(resource, name, "metadata.name", "a lowercase RFC 1123 subdomain is needed")
    if after.get("kind", resource.kind) != resource.kind:
        raise Invalid(f"{name}: kind {after['kind']} cannot be written to {resource.plural}")
    if after.get("apiVersion", resource.api_version) != resource.api_version:
        raise Invalid(f"{name}: apiVersion {after['apiVersion']} is not {resource.api_version}")
    if not built_in(resource):
        return
    if resource.kind in _SELECTING:
        _check_selector(resource, before, after)
    if resource.kind in {"ConfigMap", "Secret"} and before is not None and before.get("immutable"):
        if not after.get("immutable"):
            raise _invalid(resource, name, "immutable", "field is immutable when `immutable` is set")
        if before.get("data") != after.get("data"):
            raise _invalid(resource, name, "data", "field is immutable when `immutable` is set")
    if resource.kind == "ControllerRevision" and before is not None and before.get("data") != after.get("data"):
        raise _invalid(resource, name, "data", "field is immutable")


def _check_selector(resource: Resource, before: Object | None, after: Object) -> None:
    name, spec = str(after["metadata"]["name"]), after.get("spec") or {}
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    if not spec.get("selector"):
        raise _invalid(resource, name, "spec.selector", "required value")
    labels = (spec.get("template", {}).get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        raise _invalid(resource, name, "spec.template.metadata.labels", "`selector` does not match template `labels`")
    if not spec.get("template", {}).get("spec", {}).get("containers"):
        raise _invalid(resource, name, "spec.template.spec.containers", "required value")
    if before is not None and before["spec"]["selector"] != spec["selector"]:
        raise _invalid(resource, name, "spec.selector", "field is immutable")


def _invalid(resource: Resource, name: str, field: str, why: str) -> Invalid:
    return Invalid(f'{resource.kind} "{name}" is invalid: {field}: {why}')
