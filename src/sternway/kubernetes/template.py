"""Pod templates: what identifies one, which configuration it uses, and the same template on other copies of it. Pure.

Used by the platform, which runs templates, and by the operator, which tells a new version by its fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sternway.domain.versions import Workload
from sternway.kubernetes.api import Object
from sternway.kubernetes.ours import PREFIX, STAMP

NO_RELEASE = ("kubectl.kubernetes.io/restartedAt", "cattle.io/timestamp", "kubectl.kubernetes.io/default-container")
"""Annotations of a pod template that tell nothing of what its pods run: restarts, and which log kubectl shows."""
_OF_EVERY_NAMESPACE = "kube-root-ca.crt"

ConfigName = tuple[str, str]
"""(kind, name): `ConfigMap` or `Secret`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A ConfigMap or a Secret that a template uses. optional: its pods start without it."""

    kind: str
    name: str
    optional: bool = False

    @property
    def key(self) -> ConfigName:
        """(kind, name)."""
        return self.kind, self.name


def canonical(template: Object) -> Object:
    """The template without what is no part of a version: our own marks, restarts, what controllers add."""
    metadata = template.get("metadata") or {}
    labels = {
        key: value
        for key, value in (metadata.get("labels") or {}).items()
        if key != "pod-template-hash" and not key.startswith(PREFIX)
    }
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key not in NO_RELEASE and not key.startswith(PREFIX)
    }
    stated = {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
    return {"metadata": stated, "spec": _without_nulls(template.get("spec") or {})}


def digest(value: object, length: int = 12) -> str:
    """A fingerprint of any JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def config_digest(config: Object) -> str:
    """A fingerprint of what a ConfigMap or a Secret holds."""
    return digest({key: config.get(key) or {} for key in ("data", "binaryData")} | {"type": config.get("type", "")}, 8)


def references(template: Object) -> tuple[Reference, ...]:
    """Every ConfigMap and Secret that reaches a container: by env, envFrom, a volume or a projected volume.

    Not imagePullSecrets, nor credentials of storage: they change nothing of what runs.
    """
    found: dict[ConfigName, Reference] = {}
    for kind, holder, key in _places(template.get("spec") or {}):
        name, optional = holder.get(key), bool(holder.get("optional"))
        if not name or name == _OF_EVERY_NAMESPACE:
            continue
        known = found.get((kind, name))
        must = not optional or (known is not None and not known.optional)
        found[(kind, name)] = Reference(kind=kind, name=name, optional=not must)
    return tuple(found[key] for key in sorted(found))


def fingerprint(template: Object, config: Callable[[ConfigName], Object | None]) -> str:
    """Of the whole template and of all configuration that it uses, as `config` finds it."""
    used = {}
    for reference in references(template):
        held = config(reference.key)
        used["/".join(reference.key)] = config_digest(held) if held is not None else None
    return digest({"template": canonical(template), "config": used})


def template_digest(template: Object) -> str:
    """A fingerprint of the template alone."""
    return digest(canonical(template), 8)


def stamp(pod: str, template: Object) -> str:
    """What a template is marked with: the version, and what the template looked like then."""
    return f"{pod}.{template_digest(template)}"


def stamped(template: Object) -> tuple[str, str]:
    """(version, digest of the template) of a marked template."""
    marks = (template.get("metadata") or {}).get("annotations") or {}
    pod, _, of_template = str(marks.get(STAMP, "")).partition(".")
    return pod, of_template


class TemplateDigests:
    """Fingerprints of the templates of Deployments and ReplicaSets, worked out once for each version of an object."""

    _MOST = 50_000

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def __call__(self, obj: Object) -> str:
        """Give the fingerprint of an object's template."""
        key = str(obj["metadata"]["uid"]), str(obj["metadata"]["resourceVersion"])
        if key not in self._known:
            if len(self._known) >= self._MOST:
                self._known.clear()
            self._known[key] = template_digest(obj["spec"]["template"])
        return self._known[key]


def rewritten(template: Object, names: Mapping[ConfigName, str]) -> Object:
    """The canonical template, with other ConfigMaps and Secrets in the place of those named."""
    changed = canonical(template)
    for kind, holder, key in _places(changed["spec"]):
        holder[key] = names.get((kind, holder.get(key, "")), holder.get(key))
    return changed


def released_container(template: Object, deployment: str) -> Object:
    """The container that a release is about: the one that is called as the Deployment, or else the first."""
    containers = (template.get("spec") or {}).get("containers") or [{}]
    named = [one for one in containers if one.get("name") == deployment]
    first: Object = (named or containers)[0]
    return first


def workload_of(template: Object, pod: str, *, service: str, deployment: str) -> Workload:
    """What a pod of this template is to the engine. service: as the engine calls it."""
    image = str(released_container(template, deployment).get("image", ""))
    return Workload(image=image, service=service, pod=pod)


def _places(spec: Object) -> Iterator[tuple[str, Object, str]]:
    """Every place where a ConfigMap or Secret is named: (kind, the mapping, its key)."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            for variable in container.get("env") or ():
                source = variable.get("valueFrom") or {}
                yield from _named(source, {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"})
            for source in container.get("envFrom") or ():
                yield from _named(source, {"configMapRef": "ConfigMap", "secretRef": "Secret"})
    for volume in spec.get("volumes") or ():
        yield from _named(volume, {"configMap": "ConfigMap"})
        if volume.get("secret") is not None:
            yield "Secret", volume["secret"], "secretName"
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(source, {"configMap": "ConfigMap", "secret": "Secret"})


def _named(source: Object, fields: Mapping[str, str]) -> Iterator[tuple[str, Object, str]]:
    for field, kind in fields.items():
        if source.get(field) is not None:
            yield kind, source[field], "name"


def _without_nulls(value: Any) -> Any:
    """`null` in the API means that a field is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
