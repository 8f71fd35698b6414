"""What meshes and libraries count by themselves, by version: no query needs to be written.

Used by `models.metrics`, and by `sternway.monitoring` for whole services. A name is SOURCE-errors or SOURCE-latency. The names of the metrics are those of each project's own documentation; where
the label that tells versions apart has to be switched on there, `docs/metrics.md` says how.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """requests: the counter; labels: of a version; bad: the label that makes it an error. buckets: of the durations.

    whole: the labels of a service, whichever version answers. version: the label whose values tell versions apart.
    rescued: the counter of failures that no caller saw, because another replica was asked.
    """

    requests: str
    labels: str
    bad: str
    whole: str
    version: str
    buckets: str = ""
    rescued: str = ""

    @property
    def total(self) -> str:
        """Select all requests."""
        return f"{self.requests}{{{self.labels}}}"

    @property
    def errors(self) -> str:
        """Select the bad ones."""
        return f"{self.requests}{{{self.labels},{self.bad}}}"

    @property
    def durations(self) -> str:
        """Select the buckets of durations."""
        return f"{self.buckets}{{{self.labels}}}"

    @property
    def per_ms(self) -> float:
        """How many of its units of duration a millisecond is."""
        return 0.001 if "_seconds" in self.buckets else 1.0


SOURCES = {
    "istio": Source(
        requests="istio_requests_total",
        labels='reporter="destination",destination_workload_namespace="$(namespace)",destination_workload="$(workload)"',
        bad='response_code=~"5..|0"',
        whole='reporter="destination",destination_workload_namespace="$(namespace)",destination_workload=~"$(deployment)(-stable)?"',
        version="destination_workload",
        buckets="istio_request_duration_milliseconds_bucket",
    ),
    "linkerd": Source(
        requests="response_total",
        labels='direction="inbound",namespace="$(namespace)",deployment="$(workload)"',
        bad='classification="failure"',
        whole='direction="inbound",namespace="$(namespace)",deployment=~"$(deployment)(-stable)?"',
        version="deployment",
        buckets="response_latency_ms_bucket",
    ),
    "envoy": Source(
        requests="envoy_cluster_upstream_rq_xx",
        labels='envoy_cluster_name="$(cluster)"',
        bad='envoy_response_code_class="5"',
        whole='envoy_cluster_name=~"$(service)[|][^|]+([|]shield)?",envoy_cluster_name!~"$(service)[|]mirror"',
        version="envoy_cluster_name",
        buckets="envoy_cluster_upstream_rq_time_bucket",
        rescued="envoy_cluster_retry_upstream_rq_xx",
    ),
    "contour": Source(
        requests="envoy_cluster_upstream_rq",
        labels='envoy_cluster_name=~"$(namespace)_$(workload)_[0-9a-zA-Z-]+"',
        bad='envoy_response_code=~"5.."',
        whole='envoy_cluster_name=~"$(namespace)_$(deployment)(-stable)?_[0-9a-zA-Z-]+"',
        version="envoy_cluster_name",
        buckets="envoy_cluster_upstream_rq_time_bucket",
    ),
    "cilium": Source(
        requests="hubble_http_requests_total",
        labels='reporter="server",destination_namespace="$(namespace)",destination_workload="$(workload)"',
        bad='status=~"5.."',
        whole='reporter="server",destination_namespace="$(namespace)",destination_workload=~"$(deployment)(-stable)?"',
        version="destination_workload",
        buckets="hubble_http_request_duration_seconds_bucket",
    ),
    "traefik": Source(
        requests="traefik_service_requests_total",
        labels='service=~"$(namespace)-$(workload)-[0-9a-zA-Z-]+@.+"',
        bad='code=~"5.."',
        whole='service=~"$(namespace)-$(deployment)(-stable)?-[0-9a-zA-Z-]+@.+"',
        version="service",
        buckets="traefik_service_request_duration_seconds_bucket",
    ),
    "nginx": Source(
        requests="nginx_ingress_controller_requests",
        labels='namespace="$(namespace)",ingress=~"$(service)(-.+)?",canary=~"$(canary)"',
        bad='status=~"5.."',
        whole='namespace="$(namespace)",ingress=~"$(service)(-.+)?"',
        version="canary",
        buckets="nginx_ingress_controller_request_duration_seconds_bucket",
    ),
    "otel": Source(
        requests="http_server_request_duration_seconds_count",
        labels='job=~"(.+/)?$(service)",service_version="$(tag)"',
        bad='http_response_status_code=~"5.."',
        whole='job=~"(.+/)?$(service)"',
        version="service_version",
        buckets="http_server_request_duration_seconds_bucket",
    ),
    "http": Source(
        requests="http_requests_total",
        labels='service="$(service)",version="$(tag)"',
        bad='code=~"5.."',
        whole='service="$(service)"',
        version="version",
        buckets="http_request_duration_seconds_bucket",
    ),
}
NAMES = tuple(f"{name}-{what}" for name in SOURCES for what in ("errors", "latency"))
