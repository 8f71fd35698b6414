"""Label and field selectors, as pure functions over objects. Used by the fake API."""

from __future__ import annotations

import re
from collections.abc import Callable

from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.errors import Invalid

Matches = Callable[[Object], bool]

_TERM = re.compile(
    r"""\s*(?:
        (?P<absent>!)\s*(?P<absent_key>[\w./-]+)
      | (?P<set_key>[\w./-]+)\s+(?P<set_op>in|notin)\s*\((?P<values>[^)]*)\)
      | (?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[\w./:-]*))?
    )\s*(?:,|$)""",
    re.VERBOSE,
)
_FIELDS: dict[str, tuple[str, ...]] = {
    "Pod": ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    "Secret": ("type",),
    "Namespace": ("status.phase",),
    "ReplicaSet": ("status.replicas",),
    "Event": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "reason",
        "type",
    ),
}
"""By which fields the API selects, beside metadata.name and metadata.namespace."""


def by_labels(selector: str) -> Matches:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k`."""
    tests: list[Callable[[dict[str, str]], bool]] = []
    at = 0
    while at < len(selector):
        term = _TERM.match(selector, at)
        if term is None or term.end() == at:
            raise Invalid(f"labelSelector {selector!r}: cannot be read from {selector[at:]!r}")
        tests.append(_label_test(term))
        at = term.end()
    return lambda obj: all(test(obj["metadata"].get("labels") or {}) for test in tests)


def _label_test(term: re.Match[str]) -> Callable[[dict[str, str]], bool]:
    if term["absent"]:
        absent = term["absent_key"]
        return lambda labels: absent not in labels
    if term["set_op"]:
        key, values = term["set_key"], {value.strip() for value in term["values"].split(",")}
        if term["set_op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    key, op, value = term["key"], term["op"], term["value"]
    if op is None:
        return lambda labels: key in labels
    if op == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def by_fields(selector: str, resource: Resource) -> Matches:
    """`metadata.name=a,status.phase!=Running`; only the fields by which the API can select."""
    known = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.kind, ()))
    wanted: list[tuple[str, bool, str]] = []
    for term in filter(None, (part.strip() for part in selector.split(","))):
        field, operator, value = re.match(r"([^=!]*)(==|=|!=)?(.*)", term).groups()  # type: ignore[union-attr] # it matches always
        if field not in known or operator is None:
            raise Invalid(f"fieldSelector {term!r}: {resource.plural} are selected by {', '.join(known)}")
        wanted.append((field, operator != "!=", value))
    return lambda obj: all((_field(obj, field) == value) is equal for field, equal, value in wanted)


def _field(obj: Object, path: str) -> str:
    value: object = obj
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value)
