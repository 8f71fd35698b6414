"""ConfigMaps and Secrets: looked up for environments and volumes, and for the platform when a process starts.

A Secret's value leaves this module in one way only: `secret_value`, which the platform calls at start.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sternway.domain.versions import SecretKey
from sternway.errors import InvalidInput, Problem
from sternway.manifests.models.core import ConfigMap, Secret
from sternway.manifests.read import Read, read
from sternway.manifests.report import Report, suggest
from sternway.manifests.yamltext import Document, Path

DocumentName = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class Lookup:
    """What one Deployment refers to. `used` collects the documents that shape its version."""

    document: Document
    namespace: str
    sources: Sources
    report: Report
    used: set[DocumentName] = field(default_factory=set)

    def config(self, name: str, path: Path, *, optional: bool) -> Mapping[str, str] | None:
        """Return the data of a ConfigMap; None when it is missing (a problem, unless it is optional)."""
        found = self._find("ConfigMap", name, path, optional=optional)
        if not isinstance(found, ConfigMap):
            return None
        return {**found.data, **_decoded(found.binary_data)}

    def secret(self, name: str, path: Path, *, optional: bool) -> Mapping[str, SecretKey] | None:
        """Return the keys of a Secret, with digests in place of the values; None when it is missing."""
        found = self._find("Secret", name, path, optional=optional)
        if not isinstance(found, Secret):
            return None
        if len(self.sources.namespaces("Secret", name)) > 1:
            said = f"Secret {name} stands in several namespaces"
            self.report.wrong(self.document, path, said, "give each Secret a name of its own")
        return {
            key: SecretKey(name=name, key=key, digest=_digest(name, key, value))
            for key, value in _secret_values(found).items()
        }

    def missing_key(self, kind: str, name: str, key: str, known: Mapping[str, object], path: Path) -> None:
        """Report a key that a ConfigMap or Secret does not hold."""
        self.report.wrong(self.document, path, f"{kind} {name} has no key `{key}`", suggest(key, known))

    def _find(self, kind: str, name: str, path: Path, *, optional: bool) -> ConfigMap | Secret | None:
        found = self.sources.by_name.get((kind, self.namespace, name))
        if found is None:
            if not optional:
                known = [n for k, space, n in self.sources.by_name if (k, space) == (kind, self.namespace)]
                fix = (
                    f"add it, or {suggest(name, known)}" if known else "add it, or mark the reference `optional: true`"
                )
                self.report.absent(self.document, path, f"there is no {kind} {name}", fix)
            return None
        document, manifest = found
        self.used.add((document.file, kind, name))
        return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Every ConfigMap and Secret, by (kind, namespace, name)."""

    by_name: Mapping[tuple[str, str, str], tuple[Document, ConfigMap | Secret]]

    @classmethod
    def of(cls, found: Read, report: Report) -> Sources:
        """Index them, and check that every value can be read."""
        by_name: dict[tuple[str, str, str], tuple[Document, ConfigMap | Secret]] = {}
        for document, config in found.of(ConfigMap):
            by_name[("ConfigMap", config.metadata.namespace, config.metadata.name)] = (document, config)
            for key in set(config.data) & set(config.binary_data):
                report.wrong(document, ("binaryData", key), f"`{key}` stands in data as well", "keep one of them")
            _check_base64(document, "binaryData", config.binary_data, report)
        for document, secret in found.of(Secret):
            by_name[("Secret", secret.metadata.namespace, secret.metadata.name)] = (document, secret)
            _check_base64(document, "data", secret.data, report)
        return cls(by_name=by_name)

    def namespaces(self, kind: str, name: str) -> set[str]:
        """Where a name is taken."""
        return {space for k, space, n in self.by_name if (k, n) == (kind, name)}


def secret_value(files: Mapping[str, str], name: str, key: str) -> str:
    """Return the value of a Secret's key, for a process that starts now. Raises InvalidInput without ever naming a value."""
    found = next((secret for _, secret in read(files, Report()).of(Secret) if secret.metadata.name == name), None)
    values = _secret_values(found) if found else {}
    if key not in values:
        what = f"Secret {name} has no key `{key}`" if found else f"there is no Secret {name}"
        problem = Problem(file="manifests", field=f"{name}.{key}", message=what, fix=suggest(key, values))
        raise InvalidInput((problem,))
    return values[key]


def _digest(name: str, key: str, value: str) -> str:
    return hashlib.sha256(f"{name}\0{key}\0{value}".encode()).hexdigest()[:12]


def _secret_values(secret: Secret) -> dict[str, str]:
    return {**_decoded(secret.data), **secret.string_data}


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    """Values from base64; those that cannot be read have been reported and are left out."""
    texts = {key: _decode(value) for key, value in data.items()}
    return {key: text for key, text in texts.items() if text is not None}


def _decode(value: str) -> str | None:
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _check_base64(document: Document, where: str, data: Mapping[str, str], report: Report) -> None:
    for key, value in data.items():
        if _decode(value) is None:
            fix = "encode it with `base64`, or write it as text under stringData"
            report.wrong(
                document, (where, key), "the value is no text in base64", fix if where == "data" else "use data"
            )
