"""A commit's files -> checked manifests, each on its own. Called by `sternway.manifests.load`.

What several manifests mean together is the matter of `sternway.manifests.assemble`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sternway.domain.monitoring import RuleFile
from sternway.errors import Problem
from sternway.manifests.models.base import Ours
from sternway.manifests.models.core import ConfigMap, Secret, Service
from sternway.manifests.models.deployment import Deployment
from sternway.manifests.models.guard import Guard
from sternway.manifests.models.images import ImagesFile
from sternway.manifests.models.mesh import MeshPolicy
from sternway.manifests.models.monitoring import RULES, MonitoringFile
from sternway.manifests.models.policy import Policy
from sternway.manifests.models.route import HTTPRoute
from sternway.manifests.report import Report, explain_errors, suggest
from sternway.manifests.yamltext import Document, read_text

IMAGES_FILES = ("images.yaml", "images.yml")
MONITORING_FILES = ("monitoring.yaml", "monitoring.yml")
API_VERSIONS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "Guard": "sternway.dev/v1alpha1",
    "MeshPolicy": "sternway.dev/v1alpha1",
    "Policy": "sternway.dev/v1alpha1",
}
_MODELS: dict[str, type[Manifest]] = {
    "Deployment": Deployment,
    "Service": Service,
    "ConfigMap": ConfigMap,
    "Secret": Secret,
    "HTTPRoute": HTTPRoute,
    "Guard": Guard,
    "MeshPolicy": MeshPolicy,
    "Policy": Policy,
}
_OUR_GROUP = "sternway.dev"

Manifest = Deployment | Service | ConfigMap | Secret | HTTPRoute | Guard | MeshPolicy | Policy
M = TypeVar("M", bound=Manifest)
P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Every manifest of a commit: (document, model), and what was read beside them."""

    manifests: tuple[tuple[Document, Manifest], ...] = ()
    others: tuple[Document, ...] = ()
    images: tuple[Document, ImagesFile] | None = None
    monitoring: tuple[Document, MonitoringFile] | None = None
    rules: tuple[RuleFile, ...] = ()

    def of(self, model: type[M]) -> Iterator[tuple[Document, M]]:
        """Return the manifests of one kind, in the order of their files."""
        for document, manifest in self.manifests:
            if isinstance(manifest, model):
                yield document, manifest


def read(files: Mapping[str, str], report: Report) -> Read:
    """Read every YAML file. Problems and notices go to the report."""
    manifests: list[tuple[Document, Manifest]] = []
    others: list[Document] = []
    images: tuple[Document, ImagesFile] | None = None
    monitoring = _monitoring(files, report)
    rules = _rules(files, monitoring, report)
    beside = {*MONITORING_FILES, *(rule.path for rule in rules)}
    for path in sorted(files):
        if not is_manifest_file(path) or path in beside:
            continue
        documents, problems = read_text(path, files[path])
        report.problems += problems
        if path in IMAGES_FILES:
            images = _settings(path, documents, ImagesFile, report) or images
            continue
        for document in _flat(documents, report):
            model = _model_of(document, report)
            if model is None:
                others.append(document)
                continue
            manifest = validate(document, model, report)
            if manifest is not None:
                manifests.append((document, manifest))
    _refuse_twins(manifests, report)
    report.incomplete = bool(report.problems)
    return Read(
        manifests=tuple(manifests), others=tuple(others), images=images, monitoring=monitoring, rules=tuple(rules)
    )


def is_manifest_file(path: str) -> bool:
    """YAML files, but for those in hidden folders."""
    parts = PurePosixPath(path).parts
    return path.endswith((".yaml", ".yml")) and not any(part.startswith(".") for part in parts)


def validate(document: Document, model: type[P], report: Report) -> P | None:
    """One document as a model, or None with every mistake in the report."""
    try:
        return model.model_validate(document.value)
    except ValidationError as exc:
        report.problems += explain_errors(document, model, exc, secret=model is Secret)
        return None


def _monitoring(files: Mapping[str, str], report: Report) -> tuple[Document, MonitoringFile] | None:
    """Read it first: it says which files are no manifests, but rules for Prometheus."""
    found: tuple[Document, MonitoringFile] | None = None
    for path in MONITORING_FILES:
        if path in files:
            documents, problems = read_text(path, files[path])
            report.problems += problems
            found = _settings(path, documents, MonitoringFile, report) or found
    return found


def _rules(
    files: Mapping[str, str], monitoring: tuple[Document, MonitoringFile] | None, report: Report
) -> list[RuleFile]:
    """Find the files of rules. What is inside is Prometheus's matter: `promtool` checks it, where there is one."""
    found: dict[str, RuleFile] = {}
    patterns = monitoring[1].rules if monitoring else RULES
    for index, pattern in enumerate(patterns):
        fitting = sorted(path for path in files if is_manifest_file(path) and fnmatchcase(path, pattern))
        if not fitting and monitoring and "rules" in monitoring[1].model_fields_set:
            report.wrong(
                monitoring[0], ("rules", index), f"no file {pattern!r} is there", "name a *.yaml of this folder"
            )
        found |= {path: RuleFile(path=path, text=files[path]) for path in fitting}
    for path in found:
        documents, problems = read_text(path, files[path])
        report.problems += problems
        if documents and (not isinstance(documents[0].value, dict) or "groups" not in documents[0].value):
            report.wrong(documents[0], (), "these are no rules of Prometheus", "begin with `groups:`")
    return list(found.values())


def _settings(path: str, documents: tuple[Document, ...], model: type[P], report: Report) -> tuple[Document, P] | None:
    """Read a file that is no manifest, but says what things mean on this machine."""
    first = next(iter(model.model_fields))
    if len(documents) != 1:
        if documents:
            report.wrong(documents[1], (), "a second document", f"keep one `{first}:` mapping in this file")
        return None
    if not isinstance(documents[0].value, dict):
        report.wrong(documents[0], (), "this is no mapping", f"{path} begins with `{first}:`")
        return None
    found = validate(documents[0], model, report)
    return (documents[0], found) if found else None


def _flat(documents: tuple[Document, ...], report: Report) -> Iterator[Document]:
    """Unpack Lists, and refuse everything that is no manifest."""
    for document in documents:
        value = document.value
        if not isinstance(value, dict):
            report.wrong(document, (), "a manifest must be a mapping", "begin with `apiVersion:` and `kind:`")
        elif value.get("kind") == "List" and value.get("apiVersion") == "v1":
            items = value.get("items")
            if not isinstance(items, list):
                report.wrong(
                    document, ("items",), "the items of a List must be a list", "write `items:` with `- ` lines"
                )
                continue
            yield from _flat(tuple(document.at(("items", index)) for index in range(len(items))), report)
        else:
            yield document


def _model_of(document: Document, report: Report) -> type[Manifest] | None:
    """Find the model for a document; None when it is not ours to read (with a notice) or wrong (with a problem)."""
    value = document.value
    kind, version = value.get("kind"), value.get("apiVersion")
    missing = [
        name for name, held in (("apiVersion", version), ("kind", kind)) if not isinstance(held, str) or not held
    ]
    if missing:
        _refuse_nameless(document, missing, report)
        return None
    if API_VERSIONS.get(kind) == version:
        return _MODELS[kind]
    near = get_close_matches(kind, API_VERSIONS, n=1, cutoff=0.8)
    right = API_VERSIONS.get(near[0]) if near else None
    if near and right and (_group(version) == _group(right) or get_close_matches(version, [right], cutoff=0.7)):
        if near[0] != kind:
            report.wrong(document, ("kind",), f"unknown kind `{kind}`", f"did you mean `{near[0]}`?")
        else:
            report.wrong(document, ("apiVersion",), f"{kind} is read as {right}, not {version}", f"write {right}")
        return None
    if _group(version) == _OUR_GROUP:
        ours = [known for known, model in _MODELS.items() if issubclass(model, Ours)]
        report.wrong(document, ("kind",), f"unknown kind `{kind}`", suggest(kind, ours))
        return None
    if kind == "Deployment" and _group(version) == "extensions":
        report.wrong(document, ("apiVersion",), f"{kind} is read as apps/v1, not {version}", "write apps/v1")
        return None
    report.note(document, f"{kind} {_name(document) or 'without a name'} ({version}) is not used here")
    return None


def _refuse_nameless(document: Document, missing: list[str], report: Report) -> None:
    for name in missing:
        near = get_close_matches(name.lower(), {key.lower(): key for key in document.value}, n=1, cutoff=0.7)
        if near:
            wrote = next(key for key in document.value if key.lower() == near[0])
            report.wrong(document, (wrote,), f"unknown field `{wrote}`", f"did you mean `{name}`?")
        elif "images" in document.value:
            report.wrong(
                document, (), f"`{name}` is missing", "images.yaml belongs into the top folder of the manifests"
            )
        else:
            report.wrong(document, (), f"`{name}` is missing", f"add `{name}`, or move this file out of the folder")


def _group(version: str) -> str:
    return version.rpartition("/")[0]


def _name(document: Document) -> str:
    metadata: Any = document.value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _refuse_twins(manifests: list[tuple[Document, Manifest]], report: Report) -> None:
    first: dict[tuple[str, str, str], Document] = {}
    for document, manifest in manifests:
        key = (manifest.kind, manifest.metadata.namespace, manifest.metadata.name)
        if key in first:
            there = f"{first[key].file}:{first[key].line()}"
            said = f"{manifest.kind} {manifest.metadata.name} stands twice, also in {there}"
            report.problems.append(
                Problem(file=document.file, line=document.line(), field="metadata.name", message=said, fix="keep one")
            )
        first.setdefault(key, document)
