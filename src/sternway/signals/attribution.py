"""Whom an alert's labels name, and how services hang together. Used by `alertmanager`; filled by `sternway.bootstrap`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sternway.domain.catalogue import Edge, VersionTraffic

SERVICE_LABELS = (
    "service",
    "service_name",
    "app",
    "app_kubernetes_io_name",
    "deployment",
    "workload",
    "destination_service_name",
    "destination_workload",
    "envoy_cluster_name",
    "job",
)
"""Labels that may name a service, the surest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """What is known of the mesh: its services, who calls whom, and which version answers at which address."""

    services: Callable[[], Iterable[str]] = tuple
    edges: Callable[[], Iterable[Edge]] = tuple
    traffic: Callable[[], Iterable[VersionTraffic]] = tuple

    def named(self, labels: Mapping[str, str]) -> tuple[str, str]:
        """(service, version) that labels name, "" for what they do not; the version only by a replica's address."""
        instance = labels.get("instance", "")
        for version in self.traffic() if instance else ():
            if any(replica.replica == instance for replica in version.replicas):
                return version.service, version.version
        known = set(self.services())
        for label in SERVICE_LABELS:
            value = labels.get(label, "").split("|")[0].rpartition("/")[2]
            if value in known:
                return value, ""
            if value.removesuffix("-stable") in known:
                return value.removesuffix("-stable"), ""
        return "", ""


def paths_to(service: str, edges: Iterable[Edge]) -> dict[str, tuple[str, ...]]:
    """Every service that calls this one or is called by it, at any distance -> the way, from caller to callee."""
    callers: dict[str, set[str]] = {}
    callees: dict[str, set[str]] = {}
    for edge in edges:
        if edge.caller:
            callers.setdefault(edge.callee, set()).add(edge.caller)
            callees.setdefault(edge.caller, set()).add(edge.callee)
    up = _walk(service, callers)
    down = _walk(service, callees)
    ways = {name: tuple(reversed(way)) for name, way in up.items()}
    return {**down, **ways}


def _walk(start: str, next_to: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    ways: dict[str, tuple[str, ...]] = {start: (start,)}
    queue = [start]
    while queue:
        here = queue.pop(0)
        for there in sorted(next_to.get(here, ())):
            if there not in ways:
                ways[there] = (*ways[here], there)
                queue.append(there)
    del ways[start]
    return ways
