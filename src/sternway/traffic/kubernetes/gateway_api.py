"""Gateway API: HTTPRoutes and GRPCRoutes, on Gateways and on Services (GAMMA).

Weights are proportions up to 1,000,000. A pin is a rule of its own with one more header to match, which goes before the
wider one by the API's order of precedence. The controllers' conditions are the witness: Accepted and ResolvedRefs, for the
generation that we wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sternway.domain.traffic import Can
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.backends import Backends
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
    speaks_grpc,
    speaks_http,
    users,
)
from sternway.traffic.kubernetes.rules import Rule, Rules, Target

GROUP = "gateway.networking.k8s.io"
HTTP_ROUTES = Resource(group=GROUP, version="v1", plural="httproutes", kind="HTTPRoute")
GRPC_ROUTES = Resource(group=GROUP, version="v1", plural="grpcroutes", kind="GRPCRoute")
_EVERYTHING = {"path": {"type": "PathPrefix", "value": "/"}}
_MOST_RULES = 16
_MILLION = 1_000_000


class Routes:
    """The grammar of every route of the Gateway API that matches requests."""

    most = _MILLION
    whole = 100
    weight = 1
    reduces = True
    by_request = frozenset({"rules"})

    def rules(self, obj: Object) -> Rules:
        """See Grammar."""
        return {"rules": obj["spec"]["rules"]} if obj.get("spec", {}).get("rules") else {}

    def put(self, obj: Object, rules: Rules) -> None:
        """See Grammar."""
        for name, list_ in rules.items():
            if len(list_) > _MOST_RULES:
                said = f"{obj['kind']} {obj['metadata']['name']} would have {len(list_)} rules with the pins; {_MOST_RULES} is most"
                raise NotApplied(said, hint="Split it into two routes, or use a strategy without pins.")
            obj["spec"][name] = list_

    def targets(self, rule: Rule) -> list[Target]:
        """See Grammar."""
        return rule.get("backendRefs") or []

    def retarget(self, rule: Rule, targets: list[Target]) -> Rule:
        """See Grammar."""
        return {**rule, "backendRefs": targets}

    def named(self, target: Target, namespace: str) -> tuple[str, str] | None:
        """See Grammar."""
        if target.get("group", "") not in ("", "core") or target.get("kind", "Service") != "Service":
            return None
        return target["name"], target.get("namespace") or namespace

    def renamed(self, target: Target, name: str) -> Target:
        """See Grammar."""
        return {**target, "name": name}

    def pinned(self, rule: Rule, pin: PinTo) -> Rule:
        """See Grammar."""
        match = _header(pin)
        made = []
        for found in rule.get("matches") or [{}]:
            headers = found.get("headers") or []
            if any(known["name"].lower() == match["name"].lower() for known in headers):
                raise rules.cannot_pin("a rule of the route", pin)
            made.append({**found, "headers": [*headers, match]})
        return {key: value for key, value in rule.items() if key != "name"} | {"matches": made}

    def carries(self, rule: Rule, pin: PinTo) -> bool:
        """See Grammar."""
        found = rule.get("matches") or []
        return bool(found) and all(_header(pin) in (one.get("headers") or []) for one in found)

    def mirrored(self, rule: Rule, target: Target, mirror: CopyTo) -> Rule:
        """See Grammar."""
        backend = {"group": "", "kind": "Service"} | {
            k: target[k] for k in ("name", "namespace", "port") if k in target
        }
        copy: dict[str, Any] = {"backendRef": backend}
        if mirror.percent % 1:
            copy["fraction"] = {"numerator": round(mirror.percent * 10_000), "denominator": _MILLION}
        elif mirror.percent < 100:
            copy["percent"] = int(mirror.percent)
        return {**rule, "filters": [*rule.get("filters", []), {"type": "RequestMirror", "requestMirror": copy}]}

    def unmirrored(self, rule: Rule, ours: frozenset[tuple[str, str]], namespace: str) -> Rule:
        """See Grammar."""
        filters = rule.get("filters")
        if not filters:
            return rule
        kept = [one for one in filters if not _copies_to(one, ours, namespace)]
        rest = {key: value for key, value in rule.items() if key != "filters"}
        return {**rest, "filters": kept} if kept else rest


class GatewayApi:
    """See the module. Subclassed by meshes that take the same routes."""

    name = "gateway-api"
    capabilities = frozenset({Can.WEIGHTS, Can.PINS, Can.MIRROR, Can.PREVIEW})
    reads: tuple[Resource, ...] = (HTTP_ROUTES, GRPC_ROUTES)
    routes = reads
    grammar = Routes()

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect."""
        mine = made_for(obj)
        return frozenset({mine}) if mine is not None else rules.services_in(obj, self.grammar)

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        return tuple(rules.split(obj, wish, self.grammar) for obj in self._routes(seen)) or tuple(self._own(wish))

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """See Dialect. Every route that shares out the service must have been taken."""
        return rules.standing(backends, seen, self.grammar, witness)

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        return tuple(rules.unsplit(obj, service, self.grammar) for obj in self._routes(seen))

    def _routes(self, seen: Sequence[Object]) -> list[Object]:
        return [obj for obj in users(seen) if any(is_kind(obj, kind) for kind in self.reads)]

    def _own(self, wish: Wish) -> Iterator[Object]:
        """Routes on the Service itself, for the callers in a mesh."""
        name, ports = wish.backends.service, wish.backends.ports
        routed = [port for port in ports if speaks_http(port[0], port[2])]
        if not routed:
            said = f"no port of Service {wish.key} speaks HTTP or gRPC, and no route names it"
            raise NotApplied(said, hint="Say `appProtocol` at its ports, or write a route that names the Service.")
        for port_name, port, protocol in routed:
            grpc = speaks_grpc(port_name, protocol)
            rule: Rule = {"backendRefs": [_ref(name, port)]}
            if not grpc:
                rule = {"matches": [_EVERYTHING], **rule}
            spec = {"parentRefs": [self._parent(name, port)], "rules": [rule]}
            suffix = f"-{port}" if len(routed) > 1 else ""
            made = own(self._kind_of(grpc=grpc), f"{name}-sternway{suffix}", wish, spec)
            yield rules.split_own(made, wish, self.grammar)

    def _kind_of(self, *, grpc: bool) -> Resource:
        return GRPC_ROUTES if grpc else HTTP_ROUTES

    def _parent(self, name: str, port: int) -> Object:
        return {"group": "", "kind": "Service", "name": name, "port": port}


def witness(obj: Object) -> tuple[Witness, str]:
    """What the controllers say of a route: the worst of what is said of any parent."""
    generation = obj["metadata"].get("generation", 0)
    found = (Witness.AWAITED, f"no controller has taken {obj['kind']} {obj['metadata']['name']} yet")
    parents = (obj.get("status") or {}).get("parents") or []
    for parent in parents:
        said = {one["type"]: one for one in parent.get("conditions", [])}
        judged = [said[name] for name in ("Accepted", "ResolvedRefs") if name in said]
        if any("observedGeneration" in one and one["observedGeneration"] < generation for one in judged) or not judged:
            return Witness.AWAITED, f"{parent.get('controllerName', 'a controller')} has not read the route again yet"
        bad = next((one for one in judged if one["status"] != "True"), None)
        if bad is not None:
            words = f"{bad['type']} is {bad['status']}: {bad.get('reason', '')}: {bad.get('message', '')}".rstrip(": ")
            return (Witness.REFUSED if "observedGeneration" in bad else Witness.AWAITED), words
        sure = all("observedGeneration" in one for one in judged)
        if found[0] is not Witness.UNVERIFIED:
            found = (Witness.CONFIRMED, "") if sure else (Witness.UNVERIFIED, "no generation is told")
    return found


def _ref(name: str, port: int) -> Target:
    return {"group": "", "kind": "Service", "name": name, "port": port}


def _header(pin: PinTo) -> dict[str, str]:
    if pin.header is not None:
        return {"type": "Exact", "name": pin.header[0], "value": pin.header[1]}
    assert pin.cookie is not None
    key, value = (re.escape(part) for part in pin.cookie)
    return {"type": "RegularExpression", "name": "cookie", "value": rf"(?:.*;\s*)?{key}={value}\s*(?:;.*)?"}


def _copies_to(filter_: Object, ours: frozenset[tuple[str, str]], namespace: str) -> bool:
    ref = filter_.get("requestMirror", {}).get("backendRef") or {}
    return (ref.get("name", ""), ref.get("namespace") or namespace) in ours
