"""Istio: VirtualServices, and DestinationRules for our two Services.

A VirtualService of the user is edited in place: each destination that is the service becomes two, `NAME-stable` and
`NAME-candidate`. Time-outs, retries, faults, headers and matches belong to the rule and stay. What the user's
DestinationRules say of the service (connection pools, outlier detection, TLS, subsets) would not hold for other hosts, so
they are copied for ours; a subset of a copy selects all pods of that workload, or none could be left after a change of
labels. Weights are proportions; they sum to 100 where whole percents do, and to 1,000, … 1,000,000 where not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from sternway.domain.traffic import Can
from sternway.kubernetes.api import Object, Resource, namespace_of
from sternway.kubernetes.backends import Backend, Backends
from sternway.traffic.kubernetes import rules
from sternway.traffic.kubernetes.dialect import (
    CopyTo,
    PinTo,
    Standing,
    Wish,
    Witness,
    is_kind,
    made_for,
    own,
    speaks_http,
    users,
)
from sternway.traffic.kubernetes.rules import Rule, Rules, Target

VIRTUAL_SERVICES = Resource(group="networking.istio.io", version="v1", plural="virtualservices", kind="VirtualService")
DESTINATION_RULES = Resource(
    group="networking.istio.io", version="v1", plural="destinationrules", kind="DestinationRule"
)
_LISTS = ("http", "tls", "tcp")


class VirtualServices:
    """The grammar of a VirtualService. Only `http` knows matches by header and mirrors."""

    most = 1_000_000
    whole = 100
    weight = 0
    reduces = True
    by_request = frozenset({"http"})

    def rules(self, obj: Object) -> Rules:
        """See Grammar."""
        return {name: obj["spec"][name] for name in _LISTS if obj.get("spec", {}).get(name)}

    def put(self, obj: Object, rules: Rules) -> None:
        """See Grammar."""
        obj["spec"].update(rules)

    def targets(self, rule: Rule) -> list[Target]:
        """See Grammar."""
        return rule.get("route") or []

    def retarget(self, rule: Rule, targets: list[Target]) -> Rule:
        """See Grammar."""
        return {**rule, "route": targets}

    def named(self, target: Target, namespace: str) -> tuple[str, str] | None:
        """See Grammar."""
        return service_of_host(target.get("destination", {}).get("host", ""), namespace)

    def renamed(self, target: Target, name: str) -> Target:
        """See Grammar."""
        destination = target["destination"]
        return {**target, "destination": {**destination, "host": _host(destination["host"], name)}}

    def pinned(self, rule: Rule, pin: PinTo) -> Rule:
        """See Grammar."""
        name, match = _header(pin)
        made = []
        for found in rule.get("match") or [{}]:
            headers = found.get("headers") or {}
            if any(known.lower() == name.lower() for known in headers):
                raise rules.cannot_pin("a rule of the VirtualService", pin)
            made.append({**found, "headers": {**headers, name: match}})
        return {key: value for key, value in rule.items() if key != "name"} | {"match": made}

    def carries(self, rule: Rule, pin: PinTo) -> bool:
        """See Grammar."""
        name, match = _header(pin)
        found = rule.get("match") or []
        return bool(found) and all((one.get("headers") or {}).get(name) == match for one in found)

    def mirrored(self, rule: Rule, target: Target, mirror: CopyTo) -> Rule:
        """See Grammar."""
        copy = {"destination": target["destination"], "percentage": {"value": mirror.percent}}
        made = _one_way(rule)
        return {**made, "mirrors": [*made.get("mirrors", []), copy]}

    def unmirrored(self, rule: Rule, ours: frozenset[tuple[str, str]], namespace: str) -> Rule:
        """See Grammar."""
        made = _one_way(rule)
        kept = [one for one in made.pop("mirrors", []) if self.named(one, namespace) not in ours]
        return {**made, "mirrors": kept} if kept else made


class Istio:
    """See the module."""

    name = "istio"
    capabilities = frozenset({Can.WEIGHTS, Can.PINS, Can.MIRROR, Can.PREVIEW})
    reads = (VIRTUAL_SERVICES, DESTINATION_RULES)
    routes = (VIRTUAL_SERVICES,)
    grammar = VirtualServices()

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect."""
        mine = made_for(obj)
        if mine is not None:
            return frozenset({mine})
        if is_kind(obj, VIRTUAL_SERVICES):
            return rules.services_in(obj, self.grammar)
        host = service_of_host(obj.get("spec", {}).get("host", ""), namespace_of(obj))
        return frozenset({".".join(host)}) if host else frozenset()

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        routes = [obj for obj in users(seen) if is_kind(obj, VIRTUAL_SERVICES)]
        policies = [obj for obj in users(seen) if is_kind(obj, DESTINATION_RULES)]
        made = [rules.split(obj, wish, self.grammar) for obj in routes] or [_own_route(wish, self.grammar)]
        return (*(copy for obj in policies for copy in _copies(obj, wish)), *made)

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """See Dialect. Istio tells of a VirtualService only where its status is switched on."""
        routes = [obj for obj in seen if is_kind(obj, VIRTUAL_SERVICES)]
        return rules.standing(backends, routes, self.grammar, _witness)

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        routes = (obj for obj in users(seen) if is_kind(obj, VIRTUAL_SERVICES))
        return tuple(rules.unsplit(obj, service, self.grammar) for obj in routes)


def service_of_host(host: str, namespace: str) -> tuple[str, str] | None:
    """`orders`, `orders.shop`, `orders.shop.svc.cluster.local` -> (orders, shop); None for what is no Service."""
    parts = host.split(".")
    if not host or (len(parts) > 2 and parts[2] != "svc"):
        return None
    return parts[0], parts[1] if len(parts) > 1 else namespace


def _host(host: str, name: str) -> str:
    """Another Service of the same namespace, spelled in the same way."""
    return ".".join([name, *host.split(".")[1:]])


def _header(pin: PinTo) -> tuple[str, dict[str, str]]:
    if pin.header is not None:
        return pin.header[0].lower(), {"exact": pin.header[1]}
    assert pin.cookie is not None
    key, value = (re.escape(part) for part in pin.cookie)
    return "cookie", {"regex": rf"(?:.*;\s*)?{key}={value}\s*(?:;.*)?"}


def _one_way(rule: Rule) -> Rule:
    """The older `mirror`, `mirrorPercentage` and `mirrorPercent` as `mirrors`, which may not stand beside them."""
    if "mirror" not in rule:
        return dict(rule)
    old = ("mirror", "mirrorPercentage", "mirrorPercent", "mirror_percent")
    percent = rule.get("mirrorPercentage")
    whole = rule.get("mirrorPercent", rule.get("mirror_percent"))
    copy: Target = {"destination": rule["mirror"]}
    if percent is not None or whole is not None:
        copy["percentage"] = percent if percent is not None else {"value": whole}
    return {key: value for key, value in rule.items() if key not in old} | {"mirrors": [copy]}


def _own_route(wish: Wish, grammar: VirtualServices) -> Object:
    """A VirtualService for callers in the mesh, by every port of the Service."""
    name = wish.backends.service
    ports = wish.backends.ports
    http: list[Rule] = []
    tcp: list[Rule] = []
    for port_name, port, protocol in ports:
        rule: Rule = {"route": [{"destination": {"host": name, "port": {"number": port}}}]}
        by_request = speaks_http(port_name, protocol)
        if len(ports) > 1 or not by_request:
            rule = {"match": [{"port": port}], **rule}
        (http if by_request else tcp).append(rule)
    spec: dict[str, Any] = {"hosts": [name]} | ({"http": http} if http else {}) | ({"tcp": tcp} if tcp else {})
    return rules.split_own(own(VIRTUAL_SERVICES, f"{name}-sternway", wish, spec), wish, grammar)


def _copies(policy: Object, wish: Wish) -> Iterator[Object]:
    """What a user's DestinationRule says of the service, said of our Services."""
    if namespace_of(policy) != wish.backends.namespace:
        return
    first = policy["metadata"]["name"]
    for backend in (wish.backends.stable, wish.backends.candidate):
        if backend is not None:
            yield own(DESTINATION_RULES, f"{first}-{_role(backend, wish.backends)}", wish, _copied(policy, backend))


def _role(backend: Backend, backends: Backends) -> str:
    return "sternway-stable" if backend == backends.stable else "sternway-candidate"


def _copied(policy: Object, backend: Backend) -> Object:
    spec: Object = deepcopy(policy["spec"])
    spec["host"] = _host(spec["host"], backend.service)
    for subset in spec.get("subsets", []):
        subset["labels"] = dict(backend.labels)
    return spec


def _witness(obj: Object) -> tuple[Witness, str]:
    status = obj.get("status") or {}
    for condition in status.get("conditions", []):
        if condition.get("type") != "Reconciled":
            continue
        current = int(status.get("observedGeneration", 0)) >= obj["metadata"].get("generation", 0)
        done = current and condition.get("status") == "True"
        return (Witness.CONFIRMED if done else Witness.AWAITED), condition.get("message", "")
    return Witness.UNVERIFIED, ""
