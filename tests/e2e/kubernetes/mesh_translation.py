"""What a mesh's control plane makes of routes: from the objects of a namespace to what Envoy is told. Pure.

    istio            outbound|PORT|SUBSET|HOST, a cluster for each port of a Service, and weighted clusters in the routes
    envoy_gateway    httproute/NS/NAME/rule/N, one cluster for each rule with a weighted locality for each backend; and where
                     one of them has no endpoint …/backend/K, a cluster for each

What the story does not need is refused loudly, so that nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sternway.kubernetes.api import Object, name_of

Json = dict[str, Any]
Address = tuple[str, int]
_ADS = {"ads": {}, "resource_api_version": "V3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The objects of a namespace. places: where a pod's port is reached. pods: those that are ready and do not end."""

    namespace: str
    services: Sequence[Object]
    pods: Sequence[Object]
    places: Callable[[Object, int], Address | None]
    routes: Sequence[Object] = ()
    policies: Sequence[Object] = ()


@dataclass(slots=True, kw_only=True)
class Config:
    """Envoy's, in its JSON form.

    hosts: name -> (domains, routes). workloads: cluster, as it is counted -> Deployments whose pods are there.
    """

    clusters: dict[str, Json] = field(default_factory=dict)
    endpoints: dict[str, Json] = field(default_factory=dict)
    hosts: dict[str, tuple[list[str], list[Json]]] = field(default_factory=dict)
    workloads: dict[str, set[str]] = field(default_factory=dict)
    conditions: dict[str, list[Json]] = field(default_factory=dict)
    """HTTPRoute -> what its status says."""


def istio(seen: Seen) -> Config:
    """What istiod tells the sidecar of a caller in the same namespace."""
    made = Config()
    for service in seen.services:
        for port in service["spec"]["ports"]:
            made.hosts[name_of(service)] = (
                _names(name_of(service), seen),
                [_istio_route({}, [(f"outbound|{port['port']}||{_host(name_of(service), seen)}", 100)])],
            )
            _istio_cluster(made, seen, service, port, subset="", labels={})
    for policy in seen.policies:
        _only(policy["spec"], "host", "subsets")
        service = _service(seen, policy["spec"]["host"].partition(".")[0])
        for subset in policy["spec"].get("subsets") or ():
            _only(subset, "name", "labels")
            for port in service["spec"]["ports"] if service else ():
                _istio_cluster(made, seen, service, port, subset=subset["name"], labels=subset["labels"])
    for route in seen.routes:
        _only(route["spec"], "hosts", "http")
        rules = [one for rule in route["spec"]["http"] for one in _istio_rules(rule, seen)]
        for host in route["spec"]["hosts"]:
            name = host.partition(".")[0]
            made.hosts[name] = (_names(name, seen), rules)
    return made


def _istio_cluster(
    made: Config, seen: Seen, service: Object, port: Json, *, subset: str, labels: Mapping[str, str]
) -> None:
    name = f"outbound|{port['port']}|{subset}|{_host(name_of(service), seen)}"
    pods = [one for one in _behind(seen, service) if labels.items() <= one["metadata"]["labels"].items()]
    _cluster(made, name, [{"lb_endpoints": _lb_endpoints(seen, pods, port)}])
    made.workloads[counted_as(name)] = {_workload(pod) for pod in pods}


def _istio_rules(rule: Json, seen: Seen) -> Iterator[Json]:
    _only(rule, "match", "route")
    targets = []
    for one in rule["route"]:
        _only(one, "destination", "weight")
        _only(one["destination"], "host", "port", "subset")
        name = one["destination"]["host"].partition(".")[0]
        service = _service(seen, name)
        port = one["destination"].get("port", {}).get("number") or service["spec"]["ports"][0]["port"]
        cluster = f"outbound|{port}|{one['destination'].get('subset', '')}|{_host(name, seen)}"
        targets.append((cluster, one.get("weight", 100 if len(rule["route"]) == 1 else 0)))
    for match in rule.get("match") or [{}]:
        _only(match, "headers", "port")
        for value in match.get("headers", {}).values():
            _only(value, "exact")
        yield _istio_route({name: value["exact"] for name, value in match.get("headers", {}).items()}, targets)


def _istio_route(headers: Mapping[str, str], targets: Sequence[tuple[str, int]]) -> Json:
    """With Istio's own default: two more tries of what no replica has answered."""
    made = _route(headers, targets)
    made["route"]["retry_policy"] = {
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": 2,
        "retriable_status_codes": [503],
        "host_selection_retry_max_attempts": "5",
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
    }
    return made


def envoy_gateway(seen: Seen) -> Config:
    """What Envoy Gateway tells the proxy of a Gateway, and says of each route. It retries nothing by itself."""
    made = Config()
    for route in seen.routes:
        _only(route["spec"], "parentRefs", "hostnames", "rules")
        missing = [
            ref["name"]
            for rule in route["spec"]["rules"]
            for ref in rule["backendRefs"]
            if not _service(seen, ref["name"])
        ]
        generation = route["metadata"]["generation"]
        made.conditions[name_of(route)] = [
            {"type": "Accepted", "status": "True", "reason": "Accepted", "observedGeneration": generation},
            {
                "type": "ResolvedRefs",
                "status": "False" if missing else "True",
                "reason": "BackendNotFound" if missing else "ResolvedRefs",
                "message": f"Service {', '.join(missing)} not found" if missing else "",
                "observedGeneration": generation,
            },
        ]
        routes = []
        for number, rule in enumerate(route["spec"]["rules"]):
            name = f"httproute/{seen.namespace}/{name_of(route)}/rule/{number}"
            targets = _gateway_clusters(made, seen, name, rule)
            routes += [_route(headers, targets) for headers in _gateway_matches(rule)]
        made.hosts[name_of(route)] = (route["spec"].get("hostnames") or ["*"], routes)
    return made


def _gateway_clusters(made: Config, seen: Seen, name: str, rule: Json) -> list[tuple[str, int]]:
    _only(rule, "matches", "backendRefs")
    localities = []
    for number, ref in enumerate(rule["backendRefs"]):
        _only(ref, "group", "kind", "name", "port", "weight")
        service = _service(seen, ref["name"])
        if ref.get("weight", 1) == 0:
            continue
        port = next(one for one in service["spec"]["ports"] if one["port"] == ref["port"]) if service else {}
        ends = _lb_endpoints(seen, _behind(seen, service), port) if service else []
        localities.append(
            {
                "locality": {"region": f"{name}/backend/{number}"},
                "lb_endpoints": ends,
                "load_balancing_weight": ref.get("weight", 1),
            }
        )
    if all(one["lb_endpoints"] for one in localities):
        _cluster(made, name, localities, common_lb_config={"locality_weighted_lb_config": {}})
        return [(name, 1)]
    for one in localities:
        _cluster(made, one["locality"]["region"], [one])
    return [(one["locality"]["region"], one["load_balancing_weight"]) for one in localities]


def _gateway_matches(rule: Json) -> Iterator[Mapping[str, str]]:
    for match in rule.get("matches") or [{}]:
        _only(match, "path", "headers")
        assert match.get("path", {}).get("value", "/") == "/", f"only all paths: {match}"
        for header in match.get("headers") or ():
            _only(header, "name", "value")
        yield {header["name"]: header["value"] for header in match.get("headers") or ()}


# Shared ---------------------------------------------------------------------------------------------------------------


def counted_as(cluster: str) -> str:
    """The name in Envoy's counters, where a dot would end it."""
    return cluster.replace(".", "_")


def _route(headers: Mapping[str, str], targets: Sequence[tuple[str, int]]) -> Json:
    match: Json = {"prefix": "/"}
    if headers:
        match["headers"] = [{"name": name, "string_match": {"exact": value}} for name, value in headers.items()]
    used = [{"name": name, "weight": weight} for name, weight in targets if weight]
    return {"match": match, "route": {"weighted_clusters": {"clusters": used}, "timeout": "0s"}}


def _cluster(made: Config, name: str, localities: list[Json], **more: Any) -> None:
    made.clusters[name] = {
        "name": name,
        "type": "EDS",
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "alt_stat_name": counted_as(name),
        "eds_cluster_config": {"eds_config": _ADS},
        **more,
    }
    made.endpoints[name] = {"cluster_name": name, "endpoints": [one for one in localities if one["lb_endpoints"]]}


def _lb_endpoints(seen: Seen, pods: Sequence[Object], port: Json) -> list[Json]:
    target = port.get("targetPort", port["port"])
    found = sorted(place for pod in pods if (place := seen.places(pod, int(target))) is not None)
    return [{"endpoint": {"address": {"socket_address": {"address": a, "port_value": p}}}} for a, p in found]


def _behind(seen: Seen, service: Object) -> list[Object]:
    wants = service["spec"]["selector"].items()
    return [one for one in seen.pods if wants <= (one["metadata"].get("labels") or {}).items()]


def _workload(pod: Object) -> str:
    """The Deployment of a pod, by the name of its ReplicaSet."""
    return str(pod["metadata"]["ownerReferences"][0]["name"]).rpartition("-")[0]


def _service(seen: Seen, name: str) -> Any:
    return next((one for one in seen.services if name_of(one) == name), None)


def _host(name: str, seen: Seen) -> str:
    return f"{name}.{seen.namespace}.svc.cluster.local"


def _names(name: str, seen: Seen) -> list[str]:
    return [name, f"{name}.{seen.namespace}", f"{name}.{seen.namespace}.svc", _host(name, seen)]


def _only(given: Mapping[str, Any], *known: str) -> None:
    unknown = given.keys() - set(known)
    assert not unknown, f"the translation does not know {sorted(unknown)} of {given}"
