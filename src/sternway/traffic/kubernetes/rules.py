"""Routes that are lists of rules with weighted targets: how a service's share is written into them and taken out again.

Used by every dialect whose routes look like that; what differs between them is a `Grammar`. The text that the user
wrote is found again by taking our own parts out of what stands there, which is how an edit of the user survives; the
annotation knows how the user had spelled each rule that still says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol

from sternway.errors import NotApplied
from sternway.kubernetes.api import Object, namespace_of
from sternway.kubernetes.backends import Backends
from sternway.traffic.kubernetes import weights
from sternway.traffic.kubernetes.dialect import (
    ORIGINAL,
    SPLIT,
    CopyTo,
    PinTo,
    Standing,
    Wish,
    Witness,
    annotation,
    compact,
    our_names,
    user_names,
)

Rule = dict[str, Any]
Target = dict[str, Any]
Rules = dict[str, list[Rule]]
"""The rules of a route by the name of the list that they stand in."""
Marks = Mapping[str, Mapping[str, Any]]
"""service -> {"to": [Services of ours], "pins": […]}: what the annotation `sternway.dev/split` says."""


class Grammar(Protocol):
    """How a mesh writes rules. most: the highest weight. whole: the weight of a target that stands alone.

    weight: what a target without one counts. reduces: whether weights are proportions (else they sum to `whole`).
    by_request: the lists whose rules see requests, which pins and mirrors need; others see connections.
    """

    most: int
    whole: int
    weight: int
    reduces: bool
    by_request: frozenset[str]

    def rules(self, obj: Object) -> Rules:
        """The lists of rules of a route."""
        ...

    def put(self, obj: Object, rules: Rules) -> None:
        """Put lists of rules in their place."""
        ...

    def targets(self, rule: Rule) -> list[Target]:
        """Where a rule sends requests."""
        ...

    def retarget(self, rule: Rule, targets: list[Target]) -> Rule:
        """The rule with other targets."""
        ...

    def named(self, target: Target, namespace: str) -> tuple[str, str] | None:
        """The Service (name, namespace) of a target."""
        ...

    def renamed(self, target: Target, name: str) -> Target:
        """The same target in another Service of the same namespace."""
        ...

    def pinned(self, rule: Rule, pin: PinTo) -> Rule:
        """The rule for those of its requests alone that carry the pin. Raises NotApplied where it cannot be said."""
        ...

    def carries(self, rule: Rule, pin: PinTo) -> bool:
        """Whether a rule is for requests with the pin alone."""
        ...

    def mirrored(self, rule: Rule, target: Target, mirror: CopyTo) -> Rule:
        """The rule with copies of its requests to `target`."""
        ...

    def unmirrored(self, rule: Rule, ours: frozenset[tuple[str, str]], namespace: str) -> Rule:
        """The rule without copies to Services of ours; mirrors written in the one way that we write them."""
        ...


def marks_of(obj: Object) -> Marks:
    """The services that we share out in a route."""
    found = annotation(obj, SPLIT) or {}
    return {
        service: {"to": [str(name) for name in mark["to"]], "pins": mark.get("pins") or []}
        for service, mark in found.items()
        if isinstance(mark, dict) and isinstance(mark.get("to"), list)
    }


def _marks_for(obj: Object, service: str, to: Sequence[str], grammar: Grammar) -> Marks:
    """The same; our Services in a route whose annotation somebody took away or spoilt are ours all the same."""
    marks, namespace = marks_of(obj), namespace_of(obj)
    ours = {(name, service.partition(".")[2]) for name in to}
    if service in marks or not any(grammar.named(target, namespace) in ours for target in _targets(obj, grammar)):
        return marks
    return {**marks, service: {"to": list(to), "pins": []}}


def _targets(obj: Object, grammar: Grammar) -> Iterator[Target]:
    for rules in grammar.rules(obj).values():
        for rule in rules:
            yield from grammar.targets(rule)


def services_in(obj: Object, grammar: Grammar) -> frozenset[str]:
    """Every service (NAME.NAMESPACE) that a route sends requests to; also by what one of our Services would be called."""
    marks, namespace = marks_of(obj), namespace_of(obj)
    ours = {(name, service.partition(".")[2]) for service, mark in marks.items() for name in mark["to"]}
    found = {named for target in _targets(obj, grammar) if (named := grammar.named(target, namespace)) is not None}
    names = {(said, of) for name, of in found - ours for said in (name, *user_names(name))}
    return frozenset(f"{name}.{of}" for name, of in names) | frozenset(marks)


def split(obj: Object, wish: Wish, grammar: Grammar) -> Object:
    """The route with the service's requests shared out as wished."""
    marks = _marks_for(obj, wish.key, wish.to, grammar)
    wrote = _as_written(obj, marks, grammar)
    before = wrote if not marks.keys() - {wish.key} else _without(obj, wish.key, marks, grammar)
    if (wish.pins or wish.mirror) and not grammar.by_request & before.keys():
        said = (
            f"{obj['kind']} {obj['metadata']['name']} routes connections of {wish.key}, which have no headers or copies"
        )
        raise NotApplied(said, hint="Use a strategy without pins, and no `mirror`.")
    plain = replace(wish, pins=(), mirror=None)
    made = deepcopy(obj)
    grammar.put(
        made,
        {
            name: [
                new
                for rule in rules
                for new in _shared(rule, wish if name in grammar.by_request else plain, grammar, namespace_of(obj))
            ]
            for name, rules in before.items()
        },
    )
    mark = {"to": list(wish.to), "pins": [[pin.header, pin.cookie] for pin in wish.pins]}
    annotations = made["metadata"].setdefault("annotations", {}) or {}
    annotations |= {ORIGINAL: compact(wrote), SPLIT: compact({**marks, wish.key: mark})}
    made["metadata"]["annotations"] = annotations
    return made


def split_own(obj: Object, wish: Wish, grammar: Grammar) -> Object:
    """The same for a route of ours: there is no text of a user to keep."""
    made = split(obj, wish, grammar)
    del made["metadata"]["annotations"][ORIGINAL]
    return made


def unsplit(obj: Object, service: str, grammar: Grammar) -> Object:
    """The route as its user wrote it, as far as this service goes; the last one to leave takes the annotations along."""
    marks = _marks_for(obj, service, our_names(service.partition(".")[0]), grammar)
    if service not in marks:
        return obj
    made = deepcopy(obj)
    rest = {name: mark for name, mark in marks.items() if name != service}
    annotations = dict(made["metadata"].get("annotations") or {})
    if rest:
        grammar.put(made, _without(obj, service, marks, grammar))
        annotations |= {ORIGINAL: compact(_as_written(obj, marks, grammar)), SPLIT: compact(rest)}
    else:
        grammar.put(made, _as_written(obj, marks, grammar))
        annotations = {name: text for name, text in annotations.items() if name not in (SPLIT, ORIGINAL)}
    made["metadata"]["annotations"] = annotations
    return made


def shares(obj: Object, to: Sequence[str], service: str, grammar: Grammar) -> tuple[tuple[str, int], ...] | None:
    """How the first rule that names our Services shares out; None when there is none."""
    namespace = service.partition(".")[2]
    for rules in grammar.rules(obj).values():
        for rule in rules:
            if any(grammar.carries(rule, pin) for pin in _pins(marks_of(obj).get(service, {}))):
                continue
            found = dict.fromkeys(to, 0)
            targets = grammar.targets(rule)
            for target in targets:
                name, of = grammar.named(target, namespace_of(obj)) or ("", "")
                if of == namespace and name in found:
                    found[name] += _weight(target, grammar) if len(targets) > 1 else grammar.whole
            if sum(found.values()):
                return tuple(zip(found, weights.ppm(list(found.values())), strict=True))
    return None


def standing(
    backends: Backends, seen: Sequence[Object], grammar: Grammar, witness: Callable[[Object], tuple[Witness, str]]
) -> Standing | None:
    """What the routes that share out a service say, and the worst of what their witness says; None without any."""
    to = tuple(one.service for one in (backends.stable, backends.candidate) if one is not None)
    service = f"{backends.service}.{backends.namespace}"
    shared = [(found, obj) for obj in seen if (found := shares(obj, to, service, grammar)) is not None]
    if not shared:
        return None
    order = (Witness.REFUSED, Witness.AWAITED, Witness.UNVERIFIED, Witness.CONFIRMED)
    worst, words = min((witness(obj) for _, obj in shared), key=lambda said: order.index(said[0]))
    return Standing(shares=shared[0][0], witness=worst, words=words)


def _without(obj: Object, service: str, marks: Marks, grammar: Grammar) -> Rules:
    """The rules without what we wrote for one service; what we wrote for others stays."""
    return _undone(obj, {service: marks[service]}, grammar) if service in marks else grammar.rules(obj)


def _as_written(obj: Object, marks: Marks, grammar: Grammar) -> Rules:
    """The rules as the user wrote them last."""
    if not marks:
        return grammar.rules(obj)
    original = annotation(obj, ORIGINAL) or {}
    return {
        name: _spelled(rules, original.get(name) or (), obj, marks, grammar)
        for name, rules in _undone(obj, marks, grammar).items()
    }


def _spelled(
    rules: Sequence[Rule], original: Sequence[Rule], obj: Object, marks: Marks, grammar: Grammar
) -> list[Rule]:
    """Rules as the user spelled them, where there was one that says the same."""
    plain = [(_plain(one, obj, marks, grammar), one) for one in original]
    found = []
    for rule in rules:
        said = _plain(rule, obj, marks, grammar)
        index = next((index for index, (meant, _) in enumerate(plain) if meant == said), None)
        found.append(rule if index is None else plain.pop(index)[1])
    return found


def _undone(obj: Object, marks: Marks, grammar: Grammar) -> Rules:
    """The rules without what we wrote for these services; how weights were spelled is lost, what they mean is not."""
    namespace = namespace_of(obj)
    ours = frozenset((name, service.partition(".")[2]) for service, mark in marks.items() for name in mark["to"])
    pins = [(pin, service) for service, mark in marks.items() for pin in _pins(mark)]

    def is_pin(rule: Rule) -> bool:
        targets = grammar.targets(rule)
        alone = len(targets) == 1 and grammar.named(targets[0], namespace) in ours
        return alone and any(grammar.carries(rule, pin) for pin, _ in pins)

    def undone(rule: Rule) -> Rule:
        bare = grammar.unmirrored(rule, ours, namespace)
        mirrored = bare != grammar.unmirrored(rule, frozenset(), namespace)
        if not mirrored and not any(grammar.named(one, namespace) in ours for one in grammar.targets(rule)):
            return rule  # none of it is ours, so it stays as it is spelled
        return _joined(bare, marks, grammar, namespace)

    return {name: [undone(rule) for rule in rules if not is_pin(rule)] for name, rules in grammar.rules(obj).items()}


def _plain(rule: Rule, obj: Object, marks: Marks, grammar: Grammar) -> Rule:
    """The same rule in one spelling, to be compared."""
    namespace = namespace_of(obj)
    return _joined(grammar.unmirrored(rule, frozenset(), namespace), marks, grammar, namespace)


def _joined(rule: Rule, marks: Marks, grammar: Grammar, namespace: str) -> Rule:
    """The targets of each service in one, which has their weights together."""
    of = {(name, key.partition(".")[2]): key for key, mark in marks.items() for name in mark["to"]}
    of |= {(key.partition(".")[0], key.partition(".")[2]): key for key in marks}
    kept: list[Target] = []
    place: dict[str, int] = {}
    sums: list[int] = []
    touched = False
    for target in grammar.targets(rule):
        service = of.get(grammar.named(target, namespace) or ("", ""))
        touched |= service is not None
        if service is not None and service in place:
            sums[place[service]] += _weight(target, grammar)
            continue
        if service is not None:
            place[service] = len(kept)
        kept.append(target if service is None else grammar.renamed(target, service.partition(".")[0]))
        sums.append(_weight(target, grammar))
    if not touched:
        return rule
    return grammar.retarget(rule, _weighed(kept, weights.reduced(sums) if grammar.reduces else sums))


def _weighed(targets: Iterable[Target], sums: Sequence[int]) -> list[Target]:
    if len(sums) == 1:
        return [{key: value for key, value in target.items() if key != "weight"} for target in targets]
    return [{**target, "weight": weight} for target, weight in zip(targets, sums, strict=True)]


def _shared(rule: Rule, wish: Wish, grammar: Grammar, namespace: str) -> list[Rule]:
    """What becomes of a user's rule: the pins of its requests first, then itself with the service shared out."""
    targets = grammar.targets(rule)
    service = (wish.backends.service, wish.backends.namespace)
    mine = [target for target in targets if grammar.named(target, namespace) == service]
    alone = len(mine) == len(targets)
    whole = grammar.whole if alone else sum(_weight(target, grammar) for target in mine)
    if not mine or whole == 0:
        return [rule]
    rest = [target for target in targets if target not in mine]
    rest_weights = [_weight(target, grammar) for target in rest]
    most = grammar.most if grammar.reduces else 0
    ours, others = weights.scaled(whole, [ppm for _, ppm in wish.shares], rest_weights, most=most)
    made: list[Target] = []
    for target in targets:
        if target is mine[0]:
            made += [
                {**grammar.renamed(target, name), "weight": weight} for name, weight in zip(wish.to, ours, strict=True)
            ]
        elif target not in mine:
            made.append({**target, "weight": others[rest.index(target)]})
    shared = grammar.retarget(rule, made)
    if wish.mirror is not None:
        shared = grammar.mirrored(shared, grammar.renamed(mine[0], wish.mirror.to), wish.mirror)
    pins = [
        grammar.retarget(
            grammar.pinned(deepcopy(rule), pin), [{**grammar.renamed(mine[0], pin.to), "weight": grammar.whole}]
        )
        for pin in wish.pins
    ]
    return [*pins, shared]


def _weight(target: Target, grammar: Grammar) -> int:
    return int(target.get("weight", grammar.weight))


def _pins(mark: Mapping[str, Any]) -> list[PinTo]:
    return [
        PinTo(to="", header=tuple(header) if header else None, cookie=tuple(cookie) if cookie else None)
        for header, cookie in mark.get("pins", ())
    ]


def cannot_pin(what: str, pin: PinTo) -> NotApplied:
    """The error for a rule of the user that cannot be narrowed to a pin."""
    name = pin.header[0] if pin.header else "cookie"
    return NotApplied(f"{what} matches the header {name} already, so no pin can use it", hint="Choose another header.")
