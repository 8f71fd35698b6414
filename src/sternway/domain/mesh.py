"""Mesh policy: how requests to one version of a service are treated on their way.

Part of a version's identity: changing it is a release like any other.
Names follow Envoy and the Gateway API.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LoadBalancing(StrEnum):
    """Envoy's `lb_policy`."""

    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    RANDOM = "RANDOM"
    RING_HASH = "RING_HASH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Retry a failed request up to `attempts` more times (Envoy's `num_retries`)."""

    attempts: int = 0
    per_try_timeout_ms: int | None = None
    on: tuple[str, ...] = ("5xx", "reset", "connect-failure")
    back_off_ms: int = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """Limits of one version's cluster; beyond them requests are refused at once (503, flag UO)."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """Passive health checking: an endpoint that fails `consecutive_5xx` times in a row is ejected for a while."""

    consecutive_5xx: int = 5
    interval_ms: int = 1000
    base_ejection_ms: int = 5000
    max_ejection_percent: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """Active health checking by the proxy."""

    path: str
    interval_ms: int = 1000
    timeout_ms: int = 500
    unhealthy_threshold: int = 2
    healthy_threshold: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Faults injected for drills, behind the routing decision, so that they count as the version's own."""

    abort_percent: float = 0.0
    abort_status: int = 503
    delay_percent: float = 0.0
    delay_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A request matches when every stated part does. `headers` are exact (name, value) pairs."""

    path_prefix: str | None = None
    path_exact: str | None = None
    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One rule of an HTTPRoute, in the order of precedence; None falls back to the policy's own value."""

    match: Match = Match()
    timeout_ms: int | None = None
    retries: Retries | None = None
    set_request_headers: tuple[tuple[str, str], ...] = ()
    remove_request_headers: tuple[str, ...] = ()
    set_response_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshPolicy:
    """Everything the mesh does with requests to one version."""

    timeout_ms: int = 15_000
    retries: Retries = Retries()
    load_balancing: LoadBalancing = LoadBalancing.LEAST_REQUEST
    hash_header: str | None = None
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    outlier_detection: OutlierDetection | None = None
    health_check: HealthCheck | None = None
    fault: Fault | None = None
    rules: tuple[RouteRule, ...] = ()
