"""Whether manifests in Git are those of a version that the cluster keeps. Pure; for the revert in Git of a rollback.

Only what a person writes and nobody rewrites is compared: images, commands and environment of the containers, and the data of
ConfigMaps. Where kustomize or Helm make the manifests, they tell nothing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from sternway.domain.releases import Revert
from sternway.kubernetes.api import Object
from sternway.platforms.kubernetes.revisions import template_of
from sternway.platforms.kubernetes.scene import Scene, names_in
from sternway.platforms.kubernetes.writes import holds

_RENDERED = ("kustomization.yaml", "kustomization.yml", "Kustomization", "Chart.yaml")
_COMPARED = ("image", "command", "args", "env", "envFrom")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def fits(scene: Scene, pod: str, files: Mapping[str, str]) -> bool | None:
    """Whether manifests (path -> text) are of a version; None where they do not tell."""
    if pod not in scene.revisions or any(posixpath.basename(path) in _RENDERED for path in files):
        return None
    revision = scene.revisions[pod]
    written = [one for text in files.values() for one in _documents(text)]
    found = [one for one in written if _is(one, scene.kind.kind, scene.deployment, scene.namespace)]
    if len(found) != 1:
        return None
    template = (found[0].get("spec") or {}).get("template") or {}
    kept = template_of(revision)
    for field in ("initContainers", "containers"):
        known = {one["name"]: one for one in kept["spec"].get(field) or ()}
        for container in (template.get("spec") or {}).get(field) or ():
            stated = {key: container[key] for key in _COMPARED if key in container}
            if not holds(known.get(container.get("name")), stated):
                return False
    for (kind, name), copied in names_in(revision).items():
        copy = scene.copies.get((kind, copied))
        if copy is None or kind != "ConfigMap":
            continue
        there = [one for one in written if _is(one, kind, name, scene.namespace)]
        if any((one.get("data") or {}) != (copy.get("data") or {}) for one in there):
            return False
    return True


def names(scene: Scene, pods: Iterable[str]) -> frozenset[tuple[str, str]]:
    """The documents that versions are written in, as (kind, name)."""
    used = {key for pod in pods if pod in scene.revisions for key in names_in(scene.revisions[pod])}
    sealed = {(other, name) for kind, name in used if kind == "Secret" for other in ("SealedSecret", "ExternalSecret")}
    return frozenset({(scene.kind.kind, scene.deployment), *used, *sealed})


def words(scene: Scene, pods: Iterable[str]) -> frozenset[str]:
    """By what an entry of a shared file is known to be about the service: its images without tags, and its names."""
    templates = [template_of(scene.revisions[pod]) for pod in pods if pod in scene.revisions]
    containers = [
        one
        for template in templates
        for one in template["spec"].get("containers") or ()
        if one.get("name") == scene.deployment or len(template["spec"]["containers"]) == 1
    ]
    images = {_untagged(str(one.get("image", ""))) for one in containers}
    return frozenset({scene.deployment, scene.name, *images} - {""})


def told(revert: Revert, namespace: str) -> Revert:
    """The revert as its commit says it: with the commits that it takes back instead of a fingerprint."""
    release = f"{revert.service.partition('.')[0]}-{revert.release.rpartition('-')[2]}"
    more = f"kubectl -n {namespace} describe release {release}"
    trailers = tuple((key, value) for key, value in revert.trailers if key != "Sternway-Reverts")
    return replace(revert, body=f"{revert.body}\n\n{more}", trailers=trailers)


def _untagged(image: str) -> str:
    name = image.partition("@")[0]
    head, _, last = name.rpartition("/")
    last = last.partition(":")[0]
    return f"{head}/{last}" if head else last


def _documents(text: str) -> list[Object]:
    try:
        return [one for one in yaml.load_all(text, Loader=_LOADER) if isinstance(one, dict)]
    except yaml.YAMLError:
        return []


def _is(document: Object, kind: str, name: str, namespace: str) -> bool:
    metadata: Any = document.get("metadata")
    if not isinstance(metadata, dict):
        return False
    return (document.get("kind"), metadata.get("name")) == (kind, name) and metadata.get(
        "namespace", namespace
    ) == namespace
