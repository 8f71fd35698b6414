"""Names that the parts of the data plane share. Called by every module of this package.

The access-log reader lives by them: a request's cluster tells service and version, its route tells why it
went there.
"""

from __future__ import annotations

from sternway.domain.versions import Version

CONTROL = "control"
ACCESS_LOG = "sternway"
MESH = "mesh"
STATISTICS = "statistics"
"""The listener of Envoy's figures for Prometheus, its routes, and the cluster that is Envoy's own admin socket."""

SPLIT = "split"
PIN = "pin"
PREVIEW = "preview"
MIRROR = "mirror"
NO_SERVICE = "no-service"


def cluster(version: Version) -> str:
    """Name the cluster for requests to one version."""
    return f"{version.service}|{version.id}"


def shield_cluster(version: Version) -> str:
    """Name the cluster for safe requests to one version, which stable answers when it fails."""
    return f"{version.service}|{version.id}|shield"


def local_cluster(version: Version) -> str:
    """Name the cluster of the version's replicas, seen from behind its fault injection."""
    return f"{version.service}|{version.id}|local"


def mirror_cluster(service: str) -> str:
    """Name the cluster for copies of requests on their way to the service's mirror listener."""
    return f"{service}|mirror"


def inbound(service: str) -> str:
    """Name the listener for callers from outside the mesh."""
    return f"inbound/{service}"


def outbound(caller: str) -> str:
    """Name the listener that a service's own processes use as their proxy."""
    return f"outbound/{caller}"


def preview(service: str) -> str:
    """Name the listener, and its routes, on which everything goes to one version."""
    return f"preview/{service}"


def mirror(service: str) -> str:
    """Name the listener inside Envoy, and its routes, that mirrored requests pass."""
    return f"mirror/{service}"


def fault(version: Version) -> str:
    """Name the listener inside Envoy, and its routes, that injects a version's faults."""
    return f"fault/{cluster(version)}"


def routes(service: str) -> str:
    """Name the routes of a service's inbound listener."""
    return f"service/{service}"
