"""Consul service mesh on Kubernetes: ServiceSplitters.

A splitter bears the name of its service; the user's is edited in place, else it is ours. Weights are percentages with two
decimals that sum to 100. What the user's ServiceDefaults say of the service (its protocol above all, without which
Consul splits nothing) is copied for our two Services. The condition `Synced` says that Consul's servers have the splitter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

from sternway.domain.traffic import Can
from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, Resource, condition_of, name_of, namespace_of
from sternway.kubernetes.backends import Backends
from sternway.traffic.kubernetes import rules
from sternway.traffic.kubernetes.dialect import CopyTo, PinTo, Standing, Wish, Witness, is_kind, made_for, own, users
from sternway.traffic.kubernetes.rules import Rule, Rules, Target

_GROUP = "consul.hashicorp.com"
SPLITTERS = Resource(group=_GROUP, version="v1alpha1", plural="servicesplitters", kind="ServiceSplitter")
DEFAULTS = Resource(group=_GROUP, version="v1alpha1", plural="servicedefaults", kind="ServiceDefaults")


class Splits:
    """The grammar of a splitter: one rule, whose weights are counted in hundredths of a percent here."""

    most = 10_000
    whole = 10_000
    weight = 0
    reduces = False
    by_request: frozenset[str] = frozenset()

    def rules(self, obj: Object) -> Rules:
        """See Grammar."""
        splits = obj.get("spec", {}).get("splits")
        return {"splits": [{"name": name_of(obj), "splits": splits}]} if splits else {}

    def put(self, obj: Object, rules: Rules) -> None:
        """See Grammar."""
        for list_ in rules.values():
            obj["spec"]["splits"] = list_[0]["splits"]

    def targets(self, rule: Rule) -> list[Target]:
        """See Grammar."""
        return [
            {"service": rule["name"], **one, "weight": round(100 * one.get("weight", 0))}
            for one in rule.get("splits") or []
        ]

    def retarget(self, rule: Rule, targets: list[Target]) -> Rule:
        """See Grammar."""
        return {**rule, "splits": [{**one, "weight": _percent(one.get("weight", self.whole))} for one in targets]}

    def named(self, target: Target, namespace: str) -> tuple[str, str] | None:
        """See Grammar."""
        return target["service"], namespace

    def renamed(self, target: Target, name: str) -> Target:
        """See Grammar. A subset is one of the user's own service, and means nothing in ours."""
        return {key: value for key, value in target.items() if key != "serviceSubset"} | {"service": name}

    def pinned(self, rule: Rule, pin: PinTo) -> Rule:
        """See Grammar. Refused at admission: it is none of the capabilities."""
        raise NotApplied(f"a splitter of Consul cannot be pinned: {rule['name']}, {pin}")

    def carries(self, rule: Rule, pin: PinTo) -> bool:  # noqa: ARG002 - a splitter has no pins
        """See Grammar."""
        return False

    def mirrored(self, rule: Rule, target: Target, mirror: CopyTo) -> Rule:
        """See Grammar. Refused at admission: it is none of the capabilities."""
        raise NotApplied(f"a splitter of Consul copies nothing: {rule['name']}, {target}, {mirror}")

    def unmirrored(self, rule: Rule, ours: frozenset[tuple[str, str]], namespace: str) -> Rule:  # noqa: ARG002 - see above
        """See Grammar."""
        return rule


class Consul:
    """See the module."""

    name = "consul"
    capabilities = frozenset({Can.WEIGHTS, Can.PREVIEW})
    reads = (SPLITTERS, DEFAULTS)
    routes = (SPLITTERS,)
    grammar = Splits()

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect."""
        mine = made_for(obj)
        if mine is not None:
            return frozenset({mine})
        if is_kind(obj, SPLITTERS):
            return rules.services_in(obj, self.grammar)
        return frozenset({f"{name_of(obj)}.{namespace_of(obj)}"})

    def write(self, wish: Wish, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        made = [rules.split(obj, wish, self.grammar) for obj in users(seen) if is_kind(obj, SPLITTERS)]
        return (*_defaults(wish, seen), *(made or [_own(wish, self.grammar)]))

    def read(self, backends: Backends, seen: Sequence[Object]) -> Standing | None:
        """See Dialect."""
        return rules.standing(backends, [obj for obj in seen if is_kind(obj, SPLITTERS)], self.grammar, _witness)

    def restore(self, service: str, seen: Sequence[Object]) -> tuple[Object, ...]:
        """See Dialect."""
        found = (obj for obj in users(seen) if is_kind(obj, SPLITTERS))
        return tuple(rules.unsplit(obj, service, self.grammar) for obj in found)


def _own(wish: Wish, grammar: Splits) -> Object:
    name = wish.backends.service
    return rules.split_own(own(SPLITTERS, name, wish, {"splits": [{"weight": 100, "service": name}]}), wish, grammar)


def _defaults(wish: Wish, seen: Sequence[Object]) -> Iterator[Object]:
    for obj in users(seen):
        if is_kind(obj, DEFAULTS) and name_of(obj) == wish.backends.service:
            for name in wish.to:
                yield own(DEFAULTS, name, wish, deepcopy(obj["spec"]))


def _percent(hundredths: int) -> float | int:
    return hundredths / 100 if hundredths % 100 else hundredths // 100


def _witness(obj: Object) -> tuple[Witness, str]:
    synced = condition_of(obj, "Synced")
    if not synced or synced["status"] == "Unknown":
        return Witness.AWAITED, f"Consul has not taken ServiceSplitter {name_of(obj)} yet"
    if synced["status"] != "True":
        return Witness.REFUSED, f"{synced.get('reason', '')}: {synced.get('message', '')}"
    return Witness.UNVERIFIED, "Consul does not tell which generation it has"
