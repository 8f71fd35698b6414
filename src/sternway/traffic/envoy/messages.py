"""From Envoy's JSON form to protobuf. The one module that knows protobuf's types; called by the router.

Types that stand inside an `Any` must have been imported once, or they cannot be parsed.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from enum import Enum
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from google.protobuf import json_format

from sternway.errors import NotApplied
from sternway.traffic.envoy.clusters import Json

for _name in (
    "envoy.extensions.access_loggers.grpc.v3.als_pb2",
    "envoy.extensions.filters.http.fault.v3.fault_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.request_id.uuid.v3.uuid_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
):
    importlib.import_module(_name)


class Kind(Enum):
    """Kinds of resources, by Envoy's type URL."""

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


_MESSAGES = {
    Kind.CLUSTER: cluster_pb2.Cluster,
    Kind.ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    Kind.LISTENER: listener_pb2.Listener,
}


def message(kind: Kind, resource: Json) -> Any:
    """Make a cluster, endpoints or a listener."""
    return _parse(resource, _MESSAGES[kind]())


def virtual_host(name: str, domains: Sequence[str], entries: Sequence[Json]) -> Any:
    """Put one service's routes under its names."""
    return _parse({"name": name, "domains": list(domains), "routes": list(entries)}, route_components_pb2.VirtualHost())


def under(host: Any, domains: Sequence[str]) -> Any:
    """Put the same virtual host under other names."""
    return route_components_pb2.VirtualHost(name=host.name, domains=domains, routes=host.routes)


def routes(name: str, hosts: Sequence[Any]) -> Any:
    """Make a route configuration; the port in a Host header does not matter."""
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=hosts, ignore_port_in_host_matching=True)


def _parse(resource: Json, into: Any) -> Any:
    try:
        return json_format.ParseDict(resource, into)
    except json_format.ParseError as exc:
        raise NotApplied(
            f"no Envoy configuration can be made of this plan: {exc}",
            hint="A value in the mesh policy does not fit Envoy; correct it in Git.",
        ) from exc
