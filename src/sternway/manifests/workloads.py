"""A Deployment -> the Workload that each of its replicas runs. Called by `sternway.manifests.assemble`."""

from __future__ import annotations

from dataclasses import dataclass

from sternway.domain import versions
from sternway.domain.versions import ConfigFile, EnvVar, Workload
from sternway.manifests.environment import environment, expand
from sternway.manifests.models import deployment as model
from sternway.manifests.models.deployment import Deployment
from sternway.manifests.report import suggest
from sternway.manifests.sources import DocumentName, Lookup
from sternway.manifests.volumes import config_files
from sternway.manifests.yamltext import Path

POD: Path = ("spec", "template", "spec")
CONTAINER: Path = (*POD, "containers", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A workload and the documents that shaped it."""

    workload: Workload
    documents: tuple[DocumentName, ...]


def build_workload(lookup: Lookup, deployment: Deployment, port: int | None, *, service: str) -> Built:
    """Say what a replica of a service runs when it listens on `port`. Everything wrong goes to the report."""
    _refuse_company(lookup, deployment)
    pod = deployment.spec.template.spec
    container = pod.containers[0]
    env = environment(lookup, deployment)
    lookup.used.add((lookup.document.file, "Deployment", deployment.metadata.name))
    _note_unused(lookup, deployment)
    workload = Workload(
        image=container.image,
        command=_expanded(lookup, container.command, env, "command"),
        args=_expanded(lookup, container.args, env, "args"),
        env=tuple(env[name] for name in sorted(env)),
        files=_files(lookup, deployment),
        port=port,
        readiness=_probe(lookup, container, container.readiness_probe, "readinessProbe", port),
        liveness=_probe(lookup, container, container.liveness_probe, "livenessProbe", port),
        startup=_probe(lookup, container, container.startup_probe, "startupProbe", port),
        grace_s=float(pod.termination_grace_period_seconds),
        service=service,
    )
    return Built(workload=workload, documents=tuple(sorted(lookup.used)))


def _files(lookup: Lookup, deployment: Deployment) -> tuple[ConfigFile, ...]:
    return tuple(sorted(config_files(lookup, deployment), key=lambda file: file.path))


def _refuse_company(lookup: Lookup, deployment: Deployment) -> None:
    pod = deployment.spec.template.spec
    if len(pod.containers) > 1:
        extra = ", ".join(container.name for container in pod.containers[1:])
        said = f"several containers in one pod: sidecars ({extra}) are not run on this machine"
        fix = "keep one container; the mesh is there already"
        lookup.report.wrong(lookup.document, (*POD, "containers", 1), said, fix)
    if pod.init_containers:
        fix = "do its work when the service starts, or in the command of images.yaml"
        said = "init containers are not run on this machine"
        lookup.report.wrong(lookup.document, (*POD, "initContainers"), said, fix)


def _expanded(lookup: Lookup, words: tuple[str, ...], env: dict[str, EnvVar], field: str) -> tuple[str, ...]:
    return tuple(expand(lookup, word, env, (*CONTAINER, field, index)) for index, word in enumerate(words))


def _probe(
    lookup: Lookup, container: model.Container, probe: model.Probe | None, field: str, port: int | None
) -> versions.Probe | None:
    if probe is None:
        return None
    path: Path = (*CONTAINER, field)
    if probe.grpc is not None:
        fix = "use httpGet, tcpSocket or exec"
        lookup.report.wrong(lookup.document, (*path, "grpc"), "gRPC probes are not made on this machine", fix)
    if probe.http_get and probe.http_get.scheme == "HTTPS":
        said = "probes by HTTPS are not made on this machine"
        lookup.report.wrong(lookup.document, (*path, "httpGet", "scheme"), said, "use HTTP or tcpSocket")
    if field != "readinessProbe" and probe.success_threshold > 1:
        lookup.report.wrong(lookup.document, (*path, "successThreshold"), f"must be 1 for a {field}", "write 1")
    for way, asked in (("httpGet", probe.http_get), ("tcpSocket", probe.tcp_socket)):
        if asked is not None:
            _check_probe_port(lookup, container, asked.port, (*path, way, "port"), port)
            for unused in asked.stated_unused():
                lookup.report.note(lookup.document, f"`{unused}` of the {field} is not used here", (*path, way, unused))
    return versions.Probe(
        http_path=("/" + probe.http_get.path.lstrip("/")) if probe.http_get else None,
        tcp=probe.tcp_socket is not None,
        exec_command=probe.exec.command if probe.exec else (),
        initial_delay_s=float(probe.initial_delay_seconds),
        period_s=float(probe.period_seconds or 10),
        timeout_s=float(probe.timeout_seconds or 1),
        success_threshold=probe.success_threshold or 1,
        failure_threshold=probe.failure_threshold or 3,
    )


def _check_probe_port(
    lookup: Lookup, container: model.Container, asked: int | str, path: Path, port: int | None
) -> None:
    by_name = {known.name: known.container_port for known in container.ports if known.name}
    number = by_name.get(asked) if isinstance(asked, str) else asked
    if number is None:
        lookup.report.wrong(
            lookup.document, path, f"the container has no port named `{asked}`", suggest(str(asked), by_name)
        )
    elif number != port:
        said = f"the probe asks port {number}, but a replica has one port here: {port or 'none'}"
        fix = f"probe port {port}" if port else "add the port to the container's ports"
        lookup.report.wrong(lookup.document, path, said, fix)


def _note_unused(lookup: Lookup, deployment: Deployment) -> None:
    pod = deployment.spec.template.spec
    container = pod.containers[0]
    parts = (deployment.spec, pod, container, *(part for part in (deployment.spec.selector,) if part))
    unused = sorted({name for part in parts for name in part.stated_unused()})
    if unused:
        said = f"Deployment {deployment.metadata.name}: not used on this machine: {', '.join(unused)}"
        lookup.report.note(lookup.document, said)
    if container.command:
        said = f"Deployment {deployment.metadata.name}: images.yaml says what is run here, not `command`"
        lookup.report.note(lookup.document, said, (*CONTAINER, "command"))
