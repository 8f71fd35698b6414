"""Clusters and endpoints of a traffic plan, in Envoy's JSON form. Pure; called by the router.

A version has one cluster, named by `names.cluster`. Its endpoints are those of its workload, so versions that
differ in mesh policy alone share them. A version with faults to inject gets its cluster pointed at a listener
inside Envoy that injects them, so that they count as the version's own.

The shield cluster holds the candidate's replicas at priority 0 and stable's at priority 1, and a retry goes to
the next priority. One cluster of two priorities, not an aggregate of two clusters: Envoy counts requests under
way per cluster, and a retry budget is a share of them, so on an aggregate (which counts none) only the floor
of the budget would ever be in force. It has neither health checks nor ejection: with them a request could
reach stable at its first attempt and hide the candidate's failure. A candidate without any replica is given
an address that refuses, for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sternway.domain.mesh import CircuitBreaker, HealthCheck, OutlierDetection
from sternway.domain.traffic import Endpoint, ShieldPlan, TrafficPlan
from sternway.domain.versions import Version
from sternway.traffic.envoy import names

Json = dict[str, Any]

# Web servers close idle connections after 5 s and more (Node.js and uvicorn: 5 s); Envoy must be the first to
# do so, or a request now and then meets a connection that is just being closed.
_UPSTREAM_IDLE = "4s"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# So many rescues may always be under way at once: a share of a handful of requests would round to none.
RESCUE_FLOOR = 16
_UNLIMITED = 1_000_000


def duration(milliseconds: float) -> str:
    """Protobuf's JSON form of a duration."""
    return f"{milliseconds / 1000:.3f}s"


def clusters(plan: TrafficPlan) -> dict[str, Json]:
    """Every cluster that the plan's routes may name."""
    found: dict[str, Json] = {}
    for version in plan.versions:
        found |= _version_clusters(version)
    if plan.shield is not None:
        shielded = by_id(plan, plan.shield.version)
        found[names.shield_cluster(shielded)] = shield_cluster(plan, plan.shield)
    if plan.mirror is not None:
        name = names.mirror_cluster(plan.service.name)
        found[name] = _inside(name, names.mirror(plan.service.name), CircuitBreaker())
    return found


def statistics(admin: str) -> Json:
    """Make the cluster that is Envoy's own admin socket."""
    hosts = [{"endpoint": {"address": {"pipe": {"path": admin}}}}]
    return {
        "name": names.STATISTICS,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": names.STATISTICS, "endpoints": [{"lb_endpoints": hosts}]},
    }


def by_id(plan: TrafficPlan, version: str) -> Version:
    """Find the plan's version of this id."""
    return next(v for v in plan.versions if v.id == version)


def shield_endpoints_name(plan: TrafficPlan) -> str | None:
    """Name the endpoints of the plan's shield cluster."""
    if plan.shield is None:
        return None
    return names.shield_cluster(by_id(plan, plan.shield.version))


def assignment(name: str, endpoints: Iterable[Endpoint]) -> Json:
    """State a workload's endpoints; one that is not healthy gets no new request, and finishes those that it has."""
    hosts = [_host(e) | {"health_status": "HEALTHY" if e.healthy else "DRAINING"} for e in endpoints]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}] if hosts else []}


def shield_assignment(plan: TrafficPlan, endpoints: Mapping[str, Sequence[Endpoint]]) -> Json:
    """State the candidate's endpoints, then stable's. `endpoints`: by workload id."""
    assert plan.shield is not None
    first, then = by_id(plan, plan.shield.version), by_id(plan, plan.shield.by)
    nowhere = [{"endpoint": {"address": _inside_address("nowhere")}}]
    levels = [_shield_hosts(first, endpoints) or nowhere, _shield_hosts(then, endpoints)]
    return {
        "cluster_name": names.shield_cluster(first),
        "endpoints": [{"priority": level, "lb_endpoints": hosts} for level, hosts in enumerate(levels) if hosts],
    }


def _shield_hosts(version: Version, endpoints: Mapping[str, Sequence[Endpoint]]) -> list[Json]:
    if version.policy.fault is not None:
        return [{"endpoint": {"address": _inside_address(names.fault(version))}}]
    return [_host(e) for e in endpoints.get(version.workload.id, ()) if e.healthy]


def _host(endpoint: Endpoint) -> Json:
    return {"endpoint": {"address": socket_address(endpoint.address, endpoint.port)}}


def socket_address(address: str, port: int) -> Json:
    """Envoy's form of a TCP address."""
    return {"socket_address": {"address": address, "port_value": port}}


def _inside_address(listener: str) -> Json:
    return {"envoy_internal_address": {"server_listener_name": listener}}


def _version_clusters(version: Version) -> dict[str, Json]:
    policy, name, behind = version.policy, names.cluster(version), names.cluster(version)
    found: dict[str, Json] = {}
    limits = policy.circuit_breaker
    if policy.fault is not None:
        found[name] = _inside(name, names.fault(version), limits)
        limits = CircuitBreaker(
            max_connections=limits.max_connections,
            max_pending_requests=_UNLIMITED,
            max_requests=_UNLIMITED,
            max_retries=limits.max_retries,
        )
        behind = names.local_cluster(version)
    found[behind] = (
        _replicas(behind, version.workload.id, version)
        | {"circuit_breakers": {"thresholds": [_thresholds(limits)]}}
        | _health(policy.outlier_detection, policy.health_check)
    )
    return found


def shield_cluster(plan: TrafficPlan, shield: ShieldPlan) -> Json:
    """Make the cluster for safe requests to the shielded version, with the budget for its present weight."""
    version = by_id(plan, shield.version)
    name = names.shield_cluster(version)
    limits = _thresholds(version.policy.circuit_breaker)
    percent = rescue_percent(plan, shield)
    if percent >= 100:
        # No budget at all: Envoy does not count the attempt that has just failed, so 100 % would refuse some.
        limits["max_retries"] = _UNLIMITED
    else:
        limits["retry_budget"] = {"budget_percent": {"value": percent}, "min_retry_concurrency": RESCUE_FLOOR}
    return _replicas(name, name, version) | {"circuit_breakers": {"thresholds": [limits]}}


def rescue_percent(plan: TrafficPlan, shield: ShieldPlan) -> float:
    """Tell which share of the shield cluster's requests under way may be rescues.

    The budget is a share of the whole service's requests, of which the shield cluster sees the candidate's
    share: at 10 % weight a budget of 20 % covers every request, at 50 % weight two of five.
    """
    share = shielded_percent(plan, shield)
    return 100.0 if share <= shield.budget_percent else round(100.0 * shield.budget_percent / share, 3)


def shielded_percent(plan: TrafficPlan, shield: ShieldPlan) -> float:
    """Tell how much of the service's traffic the shielded version may get; pins have no known share."""
    pinned = any(pin.version == shield.version for pin in plan.pins)
    return 100.0 if pinned else plan.split.percent(shield.version)


def _base(name: str, breaker: CircuitBreaker) -> Json:
    return {
        "name": name,
        # A dot would end the cluster's name in statistics and in Prometheus labels.
        "alt_stat_name": name.replace(".", "_"),
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [_thresholds(breaker)]},
        "typed_extension_protocol_options": {
            _HTTP: {
                "@type": f"type.googleapis.com/{_HTTP}",
                "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _replicas(name: str, endpoints: str, version: Version) -> Json:
    return _base(name, version.policy.circuit_breaker) | {
        "type": "EDS",
        "lb_policy": version.policy.load_balancing.value,
        "eds_cluster_config": {
            "service_name": endpoints,
            "eds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "3s"},
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _inside(name: str, listener: str, breaker: CircuitBreaker) -> Json:
    hosts = [{"endpoint": {"address": _inside_address(listener)}}]
    return _base(name, breaker) | {
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
    }


def _thresholds(breaker: CircuitBreaker) -> Json:
    return {
        "max_connections": breaker.max_connections,
        "max_pending_requests": breaker.max_pending_requests,
        "max_requests": breaker.max_requests,
        "max_retries": breaker.max_retries,
    }


def _health(outlier: OutlierDetection | None, check: HealthCheck | None) -> Json:
    found: Json = {}
    if outlier is not None:
        found["outlier_detection"] = {
            "consecutive_5xx": outlier.consecutive_5xx,
            "interval": duration(outlier.interval_ms),
            "base_ejection_time": duration(outlier.base_ejection_ms),
            "max_ejection_percent": outlier.max_ejection_percent,
            "enforcing_success_rate": 0,
        }
    if check is not None:
        found["ignore_health_on_host_removal"] = True
        found["health_checks"] = [
            {
                "timeout": duration(check.timeout_ms),
                "interval": duration(check.interval_ms),
                # Until a replica has answered once, and while a cluster has no traffic, check as often.
                "no_traffic_interval": duration(check.interval_ms),
                "unhealthy_threshold": check.unhealthy_threshold,
                "healthy_threshold": check.healthy_threshold,
                "http_health_check": {"path": check.path},
            }
        ]
    return found
