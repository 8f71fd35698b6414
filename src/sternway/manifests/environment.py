"""The environment of a container, as Kubernetes would set it. Called by `sternway.manifests.workloads`.

A value that comes from a Secret is a reference with a digest; text into which one would be written is refused,
because the journal and the process list would show it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sternway.domain.versions import EnvVar
from sternway.manifests.models.deployment import Deployment, Env, EnvFrom, EnvSource
from sternway.manifests.report import suggest
from sternway.manifests.sources import Lookup
from sternway.manifests.yamltext import Path

_CONTAINER: Path = ("spec", "template", "spec", "containers", 0)
_REFERENCE = re.compile(r"\$\$|\$\(([^()$\s]+)\)")
_NAME = re.compile(r"^[^=\x00]+$")
_INDEXED = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


def environment(lookup: Lookup, deployment: Deployment) -> dict[str, EnvVar]:
    """Every variable by name: first `envFrom`, then `env`, later ones winning."""
    container = deployment.spec.template.spec.containers[0]
    found: dict[str, EnvVar] = {}
    for index, source in enumerate(container.env_from):
        found.update(_from_source(lookup, source, (*_CONTAINER, "envFrom", index)))
    for index, env in enumerate(container.env):
        path: Path = (*_CONTAINER, "env", index)
        variable = _variable(lookup, deployment, env, found, path)
        if variable is not None:
            found[env.name] = variable
    return found


def expand(lookup: Lookup, text: str, env: Mapping[str, EnvVar], path: Path) -> str:
    """`$(NAME)` replaced by the variable's value; `$$` is one `$`; unknown names stay as they stand."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        variable = env.get(name)
        if variable is None:
            lookup.report.note(
                lookup.document, f"$({name}) is not defined before this place and stays as it stands", path
            )
            return match.group(0)
        if variable.secret:
            fix = "put the whole text into the Secret, or build it in the program"
            lookup.report.wrong(lookup.document, path, f"$({name}) would write a Secret's value into plain text", fix)
        return variable.value

    return _REFERENCE.sub(replace, text)


def _from_source(lookup: Lookup, source: EnvFrom, path: Path) -> dict[str, EnvVar]:
    if source.config_map_ref:
        ref = source.config_map_ref
        data = lookup.config(ref.name, (*path, "configMapRef", "name"), optional=ref.optional) or {}
        found = {key: EnvVar(name=source.prefix + key, value=value) for key, value in data.items()}
    else:
        assert source.secret_ref
        ref = source.secret_ref
        keys = lookup.secret(ref.name, (*path, "secretRef", "name"), optional=ref.optional) or {}
        found = {key: EnvVar(name=source.prefix + key, secret=secret) for key, secret in keys.items()}
    return {variable.name: variable for variable in found.values() if _NAME.match(variable.name)}


def _variable(
    lookup: Lookup, deployment: Deployment, env: Env, before: Mapping[str, EnvVar], path: Path
) -> EnvVar | None:
    if env.value_from is None:
        return EnvVar(name=env.name, value=expand(lookup, env.value or "", before, (*path, "value")))
    source, path = env.value_from, (*path, "valueFrom")
    if source.config_map_key_ref:
        return _from_config(lookup, env.name, source, (*path, "configMapKeyRef"))
    if source.secret_key_ref:
        return _from_secret(lookup, env.name, source, (*path, "secretKeyRef"))
    if source.field_ref:
        return _from_field(lookup, deployment, env.name, source.field_ref.field_path, (*path, "fieldRef", "fieldPath"))
    field = "resourceFieldRef" if source.resource_field_ref is not None else "fileKeyRef"
    fix = "write the value out, or take it from a ConfigMap"
    lookup.report.wrong(lookup.document, (*path, field), f"{field} is not known on this machine", fix)
    return None


def _from_config(lookup: Lookup, name: str, source: EnvSource, path: Path) -> EnvVar | None:
    ref = source.config_map_key_ref
    assert ref
    data = lookup.config(ref.name, (*path, "name"), optional=ref.optional)
    if data is None:
        return None
    if ref.key not in data:
        if not ref.optional:
            lookup.missing_key("ConfigMap", ref.name, ref.key, data, (*path, "key"))
        return None
    return EnvVar(name=name, value=data[ref.key])


def _from_secret(lookup: Lookup, name: str, source: EnvSource, path: Path) -> EnvVar | None:
    ref = source.secret_key_ref
    assert ref
    keys = lookup.secret(ref.name, (*path, "name"), optional=ref.optional)
    if keys is None:
        return None
    if ref.key not in keys:
        if not ref.optional:
            lookup.missing_key("Secret", ref.name, ref.key, keys, (*path, "key"))
        return None
    return EnvVar(name=name, secret=keys[ref.key])


def _from_field(lookup: Lookup, deployment: Deployment, name: str, field: str, path: Path) -> EnvVar | None:
    pod = deployment.spec.template
    known = {
        "metadata.name": deployment.metadata.name,
        "metadata.namespace": deployment.metadata.namespace,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }
    indexed = _INDEXED.match(field)
    if indexed:
        values = pod.metadata.labels if indexed.group(1) == "labels" else pod.metadata.annotations
        return EnvVar(name=name, value=values.get(indexed.group(2), ""))
    if field not in known:
        lookup.report.wrong(lookup.document, path, f"`{field}` is not known on this machine", suggest(field, known))
        return None
    if field == "metadata.name":
        said = f"{name} holds the Deployment's name here; HOSTNAME holds each replica's own"
        lookup.report.note(lookup.document, said, path)
    return EnvVar(name=name, value=known[field])
