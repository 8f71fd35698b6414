"""Traefik: IngressRoutes and weighted TraefikServices.

The user's are edited in place; there is none of ours, for only the user knows the rule.

Weights are proportions. Options of a service (scheme, sticky, transport, …) are kept. Traefik tells nothing of what it has
taken, so a split is unverified.
"""

from __future__ import annotations

from collections.abc import Sequence

from sternway.domain.traffic import Can
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.backends import Backends
from sternway.traffic.kubernetes import rules
from sternway.traffic.kubernetes.dialect import CopyTo, PinTo, Standing, Wish, is_kind, no_route, unverified, users
from sternway.traffic.kubernetes.rules import Rule, Rules, Target

INGRESS_ROUTES = Resource(group="traefik.io", version="v1alpha1", plural="ingressroutes", kind="IngressRoute")
TRAEFIK_SERVICES = Resource(group="traefik.io", version="v1alpha1", plural="traefikservices", kind="TraefikService")


class WeightedServices:
    """The grammar of what Traefik weighs. The one weighted list of a TraefikService is a rule."""

    most = 1_000_000
    whole = 100
    weight = 1
    reduces = True
    by_request: frozenset[str] = frozenset()

    def rules(self, obj: Object) -> Rules:
        """See Grammar."""
        spec = obj.get("spec", {})
        if is_kind(obj, TRAEFIK_SERVICES):
            return {"weighted": [spec["weighted"]]} if spec.get("weighted") else {}
        return {"routes": spec["routes"]} if spec.get("routes") else {}

    def put(self, obj: Object, rules: Rules) -> None:
        """See Grammar."""
        for name, list_ in rules.items():
            obj["spec"][name] = list_[0] if name == "weighted" else list_

    def targets(self, rule: Rule) -> list[Target]:
        """See Grammar."""
        return rule.get("services") or []

    def retarget(self, rule: Rule, targets: list[Target]) -> Rule:
        """See Grammar."""
        return {**rule, "services": targets}

    def named(self, target: Target, namespace: str) -> tuple[str, str] | None:
        """See Grammar."""
        if target.get("kind", "Service") != "Service":
            return None
        return target["name"], target.get("namespace") or namespace

    def renamed(self, target: Target, name: str) -> Target:
        """See Grammar."""
        return {**target, "name": name}

    def pinned(self, rule: Rule, pin: PinTo) -> Rule:
        """See Grammar. Refused at admission: it is none of the capabilities."""
        raise NotApplied(f"a rule of Traefik cannot be pinned: {rule.get('match')}, {pin}")

    def carries(self, rule: Rule, pin: PinTo) -> bool:  # noqa: ARG002 - no rule of Traefik carries a pin
        """See Grammar."""
        return False

    def mirrored(self, rule: Rule, target: Target, mirror: CopyTo) -> Rule:
        """See Grammar. Refused at admission: it is none of the capabilities."""
        raise NotApplied(f"a rule of Traefik cannot be copied: {rule.get('match')}, {target}, {mirror}")

    def unmirrored(self, rule: Rule, ours: frozenset[tuple[str, str]], namespace: str) -> Rule:  # noqa: ARG002 - see above
        """See Grammar."""
        return rule


class Traefik:
    """See the module."""

    name = "traefik"
    capabilities = frozenset({Can.WEIGHTS, Can.PREVIEW})
    reads = (INGRESS_ROUTES, TRAEFIK_SERVICES)
    routes = reads
    grammar = WeightedServices()

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect."""
        return rules.services_in(obj, self.grammar)

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        found = users(seen)
        if not found:
            raise no_route(self.name, "IngressRoute or weighted TraefikService", wish)
        return tuple(rules.split(obj, wish, self.grammar) for obj in found)

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """See Dialect."""
        return rules.standing(backends, seen, self.grammar, unverified)

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        return tuple(rules.unsplit(obj, service, self.grammar) for obj in users(seen))
