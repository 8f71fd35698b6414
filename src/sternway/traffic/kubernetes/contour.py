"""Contour: HTTPProxies. The user's is edited in place; there is none of ours, for only the user knows the host name.

Weights are proportions. A copy's weight is its percentage, a whole one, and Contour takes one mirror for each route. Its
condition `Valid` is the witness.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil

from sternway.domain.traffic import Can
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Resource, condition_of
from sternway.kubernetes.backends import Backends
from sternway.traffic.kubernetes import rules
from sternway.traffic.kubernetes.dialect import CopyTo, PinTo, Standing, Wish, Witness, no_route, users
from sternway.traffic.kubernetes.rules import Rule, Rules, Target

HTTP_PROXIES = Resource(group="projectcontour.io", version="v1", plural="httpproxies", kind="HTTPProxy")


class HttpProxies:
    """The grammar of an HTTPProxy."""

    most = 1_000_000
    whole = 100
    weight = 0
    reduces = True
    by_request = frozenset({"routes"})

    def rules(self, obj: Object) -> Rules:
        """See Grammar."""
        return {"routes": obj["spec"]["routes"]} if obj.get("spec", {}).get("routes") else {}

    def put(self, obj: Object, rules: Rules) -> None:
        """See Grammar."""
        obj["spec"].update(rules)

    def targets(self, rule: Rule) -> list[Target]:
        """See Grammar."""
        return [one for one in rule.get("services") or [] if not one.get("mirror")]

    def retarget(self, rule: Rule, targets: list[Target]) -> Rule:
        """See Grammar."""
        return {**rule, "services": [*targets, *_mirrors(rule)]}

    def named(self, target: Target, namespace: str) -> tuple[str, str] | None:
        """See Grammar."""
        return target["name"], namespace

    def renamed(self, target: Target, name: str) -> Target:
        """See Grammar."""
        return {**target, "name": name}

    def pinned(self, rule: Rule, pin: PinTo) -> Rule:
        """See Grammar."""
        header = _header(pin)
        conditions = rule.get("conditions") or []
        known = [one["header"]["name"].lower() for one in conditions if "header" in one]
        if header["name"].lower() in known:
            raise rules.cannot_pin("a route of the HTTPProxy", pin)
        return {**rule, "conditions": [*conditions, {"header": header}]}

    def carries(self, rule: Rule, pin: PinTo) -> bool:
        """See Grammar."""
        return {"header": _header(pin)} in (rule.get("conditions") or [])

    def mirrored(self, rule: Rule, target: Target, mirror: CopyTo) -> Rule:
        """See Grammar."""
        if _mirrors(rule):
            said = "a route of the HTTPProxy copies its requests already, and Contour takes one mirror for each route"
            raise NotApplied(said, hint="Take `mirror` out of the Guard.")
        copy = {key: value for key, value in target.items() if key != "weight"}
        return {**rule, "services": [*rule["services"], {**copy, "mirror": True, "weight": ceil(mirror.percent)}]}

    def unmirrored(self, rule: Rule, ours: frozenset[tuple[str, str]], namespace: str) -> Rule:
        """See Grammar."""
        if not _mirrors(rule):
            return rule
        kept = [one for one in rule["services"] if not one.get("mirror") or (one["name"], namespace) not in ours]
        return {**rule, "services": kept}


class Contour:
    """See the module."""

    name = "contour"
    capabilities = frozenset({Can.WEIGHTS, Can.PINS, Can.MIRROR, Can.PREVIEW})
    reads = (HTTP_PROXIES,)
    routes = reads
    grammar = HttpProxies()

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect."""
        return rules.services_in(obj, self.grammar)

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        found = users(seen)
        if not found:
            raise no_route(self.name, "HTTPProxy", wish)
        return tuple(rules.split(obj, wish, self.grammar) for obj in found)

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """See Dialect."""
        return rules.standing(backends, seen, self.grammar, _witness)

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        return tuple(rules.unsplit(obj, service, self.grammar) for obj in users(seen))


def _mirrors(rule: Rule) -> list[Target]:
    return [one for one in rule.get("services") or [] if one.get("mirror")]


def _header(pin: PinTo) -> dict[str, str]:
    if pin.header is not None:
        return {"name": pin.header[0], "exact": pin.header[1]}
    assert pin.cookie is not None
    key, value = (re.escape(part) for part in pin.cookie)
    return {"name": "cookie", "regex": rf"(?:.*;\s*)?{key}={value}\s*(?:;.*)?"}


def _witness(obj: Object) -> tuple[Witness, str]:
    valid = condition_of(obj, "Valid")
    if not valid or valid.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return Witness.AWAITED, f"Contour has not read HTTPProxy {obj['metadata']['name']} yet"
    if valid["status"] == "True":
        return Witness.CONFIRMED, ""
    errors = [f"{one.get('type')}: {one.get('message')}" for one in valid.get("errors", [])]
    return Witness.REFUSED, "; ".join(errors) or valid.get("message", "")
