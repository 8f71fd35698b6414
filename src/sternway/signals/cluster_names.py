"""Whom an entry of a cluster's own proxies is about: Istio's sidecars and gateways, Envoy Gateway, any Envoy.

An `Attribution` over the objects of the cluster; wired by `sternway.cluster`. Three rules:

- **The caller's side counts.** A request through two sidecars is logged twice; the server's side is told by Istio's name for
  it, `inbound|…`, or by the pod that answered being the sidecar's own, and is left out. Who calls from outside the mesh has no entry at the caller's side, and loses nothing: only the mesh's
  routes lead to a candidate. Copies (a mirror) are logged by nobody else, so they alone count at the server's side: Envoy
  marks them by `-shadow` after the host.
- **Who answered is a pod, found by its address.** That holds for every mesh, also where one cluster of Envoy's holds the pods of
  both versions (`httproute/NS/NAME/rule/0` of Envoy Gateway). There another attempt may ask the other version, so the
  number of attempts tells nothing of either, and the answer is that of the pod that gave it.
- **Without an address the cluster's name speaks**: `outbound|80||orders-candidate.shop.svc.cluster.local`,
  `httproute/shop/orders/rule/0/backend/1`. Where that says nothing either, the entry is nobody's: Envoy names no cluster when it
  has no pod to ask. That a version has none is seen by its pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from sternway.domain.traffic import TrafficPlan
from sternway.domain.versions import Version
from sternway.kubernetes.api import Object, Resource, name_of, namespace_of
from sternway.kubernetes.backends import Backends
from sternway.kubernetes.ours import ROLE, SERVICE, service_key
from sternway.kubernetes.resources import PODS, SERVICES
from sternway.signals.counting import MIRROR
from sternway.signals.naming import Named, Sent

_KEPT = 10_000
_NAMED_BY = ("app.kubernetes.io/name", "app", "k8s-app")
_HTTP_ROUTES = Resource(group="gateway.networking.k8s.io", version="v1", plural="httproutes", kind="HTTPRoute")
_GRPC_ROUTES = Resource(group="gateway.networking.k8s.io", version="v1", plural="grpcroutes", kind="GRPCRoute")
_ROUTES = {"httproute": _HTTP_ROUTES, "grpcroute": _GRPC_ROUTES}


class Pods(Protocol):
    """What is known of the cluster, without asking it."""

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """One object."""
        ...

    def at(self, address: str) -> Sequence[Object]:
        """The pods that have an address: an index by their IPs."""
        ...


class Running(Protocol):
    """The platform, as far as it is asked here."""

    def backends(self, service: str) -> Backends | None:
        """Where a service's versions are reached now."""
        ...

    def pods(self, service: str) -> Mapping[str, str]:
        """Name of each pod of a service -> id of the workload that it runs."""
        ...


class ClusterNames:
    """Implements naming.Attribution.

    service_of: the services that a pod may be of. plan: what the routes were told last. wanted: the version that is asked for, which may
    be asked before the plan that names it is known to be in force.
    """

    def __init__(
        self,
        pods: Pods,
        running: Running,
        *,
        services_of: Callable[[Object], Iterable[str]],
        plan: Callable[[str], TrafficPlan | None],
        wanted: Callable[[str], Version | None],
    ) -> None:
        self._pods = pods
        self._running = running
        self._services_of = services_of
        self._plan = plan
        self._wanted = wanted
        self._known: dict[str, tuple[TrafficPlan | None, Mapping[str, str], Mapping[str, str]]] = {}
        self._named: dict[tuple[str, str], tuple[TrafficPlan | None, Named]] = {}

    def forget(self, service: str) -> None:
        """Something of the service changed in the cluster."""
        self._known.pop(service, None)
        self._named.clear()

    def named(self, sent: Sent) -> Named | None:
        """See Attribution. What was found is kept until the cluster or the plan changes; what was not is looked for again."""
        if _at_the_servers_side(sent):
            return self._copy(sent)
        key = sent.cluster, sent.replica or ""
        kept = self._named.get(key)
        if kept is not None and kept[0] is self._plan(kept[1].service):
            return kept[1]
        named = self._by_address(sent) or self._by_cluster(sent.cluster)
        if named is not None:
            if len(self._named) >= _KEPT:
                self._named.clear()
            self._named[key] = (self._plan(named.service), named)
        return named

    def caller(self, sent: Sent) -> str | None:
        """See Attribution. A sidecar calls for its pod; any other proxy is a gateway, by which the outside world comes."""
        pod = self._proxied(sent.proxy)
        if pod is None:
            return None if sent.proxy.startswith("sidecar~") or not sent.proxy else ""
        services = sorted(self._services_of(pod))
        if services:
            return services[0]
        labels = pod["metadata"].get("labels") or {}
        name = next((labels[label] for label in _NAMED_BY if label in labels), name_of(pod))
        return service_key(namespace_of(pod), name)

    def _by_address(self, sent: Sent) -> Named | None:
        for pod in self._pods.at(sent.replica.rpartition(":")[0]) if sent.replica else ():
            for service in sorted(self._services_of(pod)):
                version = self._look(service)[0].get(name_of(pod))
                if version is not None:
                    ours = self._our_service(sent.cluster) is not None
                    return Named(service=service, version=version, mixed=not ours)
        return None

    def _by_cluster(self, cluster: str) -> Named | None:
        found = self._our_service(cluster)
        if found is None:
            return None
        service, role = found
        version = self._look(service)[1].get(role)
        return Named(service=service, version=version) if version is not None else None

    def _our_service(self, cluster: str) -> tuple[str, str] | None:
        """(service, role) of the Service of ours that a cluster reaches alone; None when it reaches others."""
        found = _istio_host(cluster) or self._backend_ref(cluster)
        obj = self._pods.get(SERVICES, *found) if found is not None else None
        labels = (obj["metadata"].get("labels") or {}) if obj is not None else {}
        if obj is None or SERVICE not in labels or ROLE not in labels:
            return None
        return service_key(namespace_of(obj), labels[SERVICE]), labels[ROLE]

    def _backend_ref(self, cluster: str) -> tuple[str, str] | None:
        """(name, namespace) by `httproute/NS/NAME/rule/N/…/backend/K` of Envoy Gateway."""
        parts = cluster.split("/")
        kind, rest = _ROUTES.get(parts[0]), parts[1:]
        if kind is None or len(rest) < 6 or rest[2] != "rule" or rest[-2] != "backend":
            return None
        route = self._pods.get(kind, rest[1], rest[0])
        try:
            ref = route["spec"]["rules"][int(rest[3])]["backendRefs"][int(rest[-1])] if route is not None else None
        except (LookupError, ValueError):
            return None
        return (str(ref["name"]), str(ref.get("namespace") or rest[0])) if ref is not None else None

    def _copy(self, sent: Sent) -> Named | None:
        """A mirrored request at the sidecar of the pod that was given it."""
        if "-shadow" not in sent.authority:
            return None
        pod = self._proxied(sent.proxy)
        for service in sorted(self._services_of(pod)) if pod is not None else ():
            version = self._look(service)[0].get(name_of(pod)) if pod is not None else None
            if version is not None:
                return Named(service=service, version=version, route=MIRROR)
        return None

    def _proxied(self, proxy: str) -> Object | None:
        """The pod of Istio's `sidecar~IP~POD.NS~DOMAIN`."""
        parts = proxy.split("~")
        if len(parts) < 3 or parts[0] != "sidecar":
            return None
        name, _, namespace = parts[2].rpartition(".")
        return self._pods.get(PODS, name, namespace)

    def _look(self, service: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Name of each pod -> its version, and role (stable, candidate) -> its version."""
        plan = self._plan(service)
        known = self._known.get(service)
        if known is None or known[0] is not plan:
            wanted = self._wanted(service)
            versions = (*(plan.versions if plan is not None else ()), *((wanted,) if wanted is not None else ()))
            ids = {one.workload.id: one.id for one in versions}
            pods = {pod: ids[workload] for pod, workload in self._running.pods(service).items() if workload in ids}
            known = self._known[service] = (plan, pods, _roles(self._running.backends(service), ids))
        return known[1], known[2]


def _roles(backends: Backends | None, ids: Mapping[str, str]) -> dict[str, str]:
    if backends is None:
        return {}
    both = (("stable", backends.stable), ("candidate", backends.candidate))
    return {role: ids[one.workload_id] for role, one in both if one is not None and one.workload_id in ids}


def _at_the_servers_side(sent: Sent) -> bool:
    if sent.cluster.startswith(("inbound|", "InboundPassthroughCluster")):
        return True
    parts = sent.proxy.split("~", 2)
    return parts[0] == "sidecar" and sent.replica is not None and sent.replica.rpartition(":")[0] == parts[1]


def _istio_host(cluster: str) -> tuple[str, str] | None:
    """(name, namespace) by `outbound|PORT|SUBSET|HOST`, with `;` at its end or not; a waypoint's are called `inbound-vip|…`."""
    parts = cluster.rstrip(";").split("|")
    if len(parts) != 4 or parts[0] not in ("outbound", "inbound-vip"):
        return None
    name, _, rest = parts[3].partition(".")
    return (name, rest.partition(".")[0]) if rest else None
