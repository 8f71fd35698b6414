"""Ports: where a service is called, and where its replicas listen. Called by `sternway.manifests.assemble`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sternway.domain.releases import Wanted
from sternway.manifests.models.core import Service, ServicePort
from sternway.manifests.models.deployment import Deployment
from sternway.manifests.pairing import Pair
from sternway.manifests.report import Report, suggest
from sternway.manifests.workloads import CONTAINER
from sternway.manifests.yamltext import Document, Path

_PORTS: Path = (*CONTAINER, "ports")


def container_port(deployment: Deployment) -> int | None:
    """Return the port that a Deployment without a Service is called on: the one named `http`, or else the first."""
    ports = [port for port in deployment.spec.template.spec.containers[0].ports if port.protocol == "TCP"]
    named = [port for port in ports if port.name == "http"]
    return (named or ports)[0].container_port if ports else None


def addresses(pair: Pair, report: Report) -> tuple[int | None, int | None]:
    """Return the port that callers use, and the port that replicas listen on."""
    if pair.service is None:
        port = container_port(pair.deployment)
        return port, port
    document, service = pair.service
    _note_unused(document, service, report)
    index = _served(document, service, report)
    if index is None:
        return None, container_port(pair.deployment)
    path: Path = ("spec", "ports", index)
    return service.spec.ports[index].port, replica_port(pair, path, pair.document, pair.deployment, report)


def replica_port(pair: Pair, path: Path, place: Document, deployment: Deployment, report: Report) -> int | None:
    """Return the container port that the Service's port at `path` leads to, in this Deployment."""
    assert pair.service
    document, service = pair.service
    port = service.spec.ports[int(path[-1])]
    target = port.target_port if port.target_port is not None else port.port
    at: Path = (*path, "targetPort" if port.target_port is not None else "port")
    open_ports = [one for one in deployment.spec.template.spec.containers[0].ports if one.protocol == "TCP"]
    name = deployment.metadata.name
    if not open_ports:
        number = target if isinstance(target, int) else port.port
        said = f"Service {pair.name} leads to port {target}, but Deployment {name} opens none"
        report.wrong(place, CONTAINER, said, f"add `ports: [{{containerPort: {number}}}]` to the container")
        return None
    by_name = {one.name: one.container_port for one in open_ports if one.name}
    numbers = {one.container_port for one in open_ports}
    if isinstance(target, str) and target in by_name:
        return by_name[target]
    if isinstance(target, int) and target in numbers:
        return target
    known = by_name if isinstance(target, str) and by_name else {str(number): number for number in numbers}
    said = f"Service {pair.name} leads to port {target}, which Deployment {name} does not open"
    report.wrong(document, at, said, suggest(str(target), known))
    return open_ports[0].container_port


def served_path(pair: Pair) -> Path | None:
    """Where the port that is served stands in the Service; None without one."""
    index = _served(pair.service[0], pair.service[1], Report()) if pair.service else None
    return None if index is None else ("spec", "ports", index)


def note_shared_ports(wanted: Iterable[Wanted], pairs: Mapping[str, Pair], report: Report) -> None:
    """Services may share a port in a cluster; on one machine each gets an address of its own."""
    by_port: dict[int, list[str]] = {}
    for one in wanted:
        if one.service.port is not None and one.service.port >= 1024:
            by_port.setdefault(one.service.port, []).append(one.service.name)
    for port, sharing in by_port.items():
        for name in sharing[1:]:
            pair = pairs[name]
            document = pair.service[0] if pair.service else pair.document
            said = f"services {sharing[0]} and {name} share port {port}: on one machine only one of them can have it"
            report.note(document, f"{said}; `sternway services` shows the addresses")


def _served(document: Document, service: Service, report: Report) -> int | None:
    """Return the index of the port that is served: HTTP by its name or protocol, or else the first."""
    ports = service.spec.ports
    tcp = [index for index, port in enumerate(ports) if port.protocol == "TCP"]
    if not tcp:
        if ports:
            said = "only TCP ports are served"
            report.wrong(document, ("spec", "ports"), said, "add a port with protocol TCP")
        return None
    chosen = next((index for index in tcp if _is_http(ports[index])), tcp[0])
    for index, port in enumerate(ports):
        if index != chosen:
            said = f"port {port.port} of Service {service.metadata.name} is not served; {ports[chosen].port} is"
            report.note(document, said, ("spec", "ports", index))
    return chosen


def _note_unused(document: Document, service: Service, report: Report) -> None:
    parts = (service.spec, *service.spec.ports)
    unused = {name for part in parts for name in part.stated_unused()}
    stated_type = document.value["spec"].get("type")
    unused -= {"type"} if stated_type == "ClusterIP" else set()
    if unused:
        said = f"Service {service.metadata.name}: not used on this machine: {', '.join(sorted(unused))}"
        report.note(document, said)


def _is_http(port: ServicePort) -> bool:
    return port.name == "http" or port.app_protocol == "http"
