"""Listeners, in Envoy's JSON form. Pure; called by the router.

A listener's routes come over RDS under their own name, so that a changed split touches no listener. Callers
are not trusted with Envoy's own request headers (`use_remote_address`), request ids are made where they are
missing and kept where they are not, and every request is told to the control plane's access log.
"""

from __future__ import annotations

from collections.abc import Sequence

from sternway.domain.mesh import Fault
from sternway.traffic.envoy import names
from sternway.traffic.envoy.clusters import Json, duration, socket_address

_TYPE = "type.googleapis.com/envoy.extensions"
_ALWAYS_LOGGED = ("x-request-id", "traceparent")
_ADS = {"ads": {}, "resource_api_version": "V3"}


def tcp_listener(name: str, port: int, routes: str, logged_headers: Sequence[str]) -> Json:
    """On loopback, for processes of this machine."""
    return {
        "name": name,
        "stat_prefix": name.replace(".", "_"),
        "address": socket_address("127.0.0.1", port),
        # With it a second Envoy on the port would silently take half of the traffic.
        "enable_reuse_port": False,
        "filter_chains": [_chain(_manager(name, routes, _access_log(logged_headers)))],
    }


def statistics_listener(port: int) -> Json:
    """On loopback, for Prometheus; its requests are nobody's and stand in no access log."""
    name = names.STATISTICS
    return {
        "name": name,
        "address": socket_address("127.0.0.1", port),
        "enable_reuse_port": False,
        "filter_chains": [_chain(_manager(name, name, []))],
    }


def mirror_listener(service: str, logged_headers: Sequence[str]) -> Json:
    """Inside Envoy, so that mirrored requests appear in the access log."""
    name = names.mirror(service)
    return _internal(name, _manager(name, name, _access_log(logged_headers)))


def fault_listener(name: str, fault: Fault) -> Json:
    """Inside Envoy, in front of one version's replicas. Its requests are logged where they entered."""
    config: Json = {"@type": f"{_TYPE}.filters.http.fault.v3.HTTPFault"}
    if fault.abort_percent:
        config["abort"] = {"http_status": fault.abort_status, "percentage": _percentage(fault.abort_percent)}
    if fault.delay_percent and fault.delay_ms:
        config["delay"] = {"fixed_delay": duration(fault.delay_ms), "percentage": _percentage(fault.delay_percent)}
    return _internal(name, _manager(name, name, [], [{"name": "envoy.filters.http.fault", "typed_config": config}]))


def _percentage(percent: float) -> Json:
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}


def _internal(name: str, manager: Json) -> Json:
    return {"name": name, "internal_listener": {}, "filter_chains": [_chain(manager)]}


def _chain(manager: Json) -> Json:
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def _manager(name: str, routes: str, access_log: list[Json], filters: Sequence[Json] = ()) -> Json:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router", "suppress_envoy_headers": True},
    }
    request_id = {"@type": f"{_TYPE}.request_id.uuid.v3.UuidRequestIdConfig", "pack_trace_reason": False}
    inside = not access_log or name.startswith("mirror/")
    return {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name.replace(".", "_"),
        "codec_type": "AUTO",
        "rds": {"route_config_name": routes, "config_source": _ADS},
        "http_filters": [*filters, router],
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        "use_remote_address": not inside,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "request_id_extension": {"typed_config": request_id},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "300s",
        "request_headers_timeout": "30s",
        "access_log": access_log,
    }


def _access_log(logged_headers: Sequence[str]) -> list[Json]:
    headers = [*_ALWAYS_LOGGED, *(h for h in logged_headers if h not in _ALWAYS_LOGGED)]
    config = {
        "@type": f"{_TYPE}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": {
            "log_name": names.ACCESS_LOG,
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": names.CONTROL}},
            "buffer_flush_interval": "0.01s",
        },
        "additional_request_headers_to_log": headers,
        "additional_response_headers_to_log": ["grpc-status"],
        "additional_response_trailers_to_log": ["grpc-status"],
    }
    return [{"name": "envoy.access_loggers.http_grpc", "typed_config": config}]
