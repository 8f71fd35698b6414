"""Envoy's bootstrap: where it finds the control plane, and its admin socket. Pure; called by the process."""

from __future__ import annotations

from pathlib import Path

from sternway.traffic.envoy import names
from sternway.traffic.envoy.clusters import Json

_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_INTERNAL = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"


def bootstrap(*, control: Path, admin: Path) -> Json:
    """`control`: the unix socket of ADS and access log. `admin`: the one that Envoy makes, for its owner alone."""
    reconnect = {"retry_back_off": {"base_interval": "0.02s", "max_interval": "0.5s"}}
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": names.CONTROL, "retry_policy": reconnect}}],
    }
    http2 = {"@type": f"type.googleapis.com/{_HTTP}", "explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "node": {"id": "sternway", "cluster": "sternway"},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "stats_flush_on_admin": True,
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {"@type": f"type.googleapis.com/{_INTERNAL}"},
            }
        ],
        "dynamic_resources": {
            "ads_config": ads,
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {
            "clusters": [
                {
                    "name": names.CONTROL,
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {_HTTP: http2},
                    "load_assignment": {
                        "cluster_name": names.CONTROL,
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(control)}}}}]}],
                    },
                }
            ]
        },
    }
