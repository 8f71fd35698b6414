"""PromQL in manifests: is it right, what does it look back on, does it tell versions apart. Called by `models.metrics`."""

from __future__ import annotations

from datetime import timedelta
from difflib import get_close_matches
from typing import Any

import promql_parser as promql

from sternway.domain.metrics import ARGUMENTS, fill, places

_EXAMPLES = dict.fromkeys(ARGUMENTS, "x") | {"window": "1m"}
_TELL_APART = frozenset({"version", "tag", "workload", "role", "canary", "cluster", "backend"})


class Mistake(Exception):
    """What is wrong with a query, and how to mend it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def check(query: str) -> None:
    """Raise Mistake when a query cannot be right."""
    _value_of(_parse(query))


def check_selector(query: str) -> None:
    """Raise Mistake unless this selects series: Sternway counts for itself what rate() and increase() would guess."""
    found = _parse(query)
    if not isinstance(found, promql.VectorSelector):
        raise Mistake("this is no plain selector", 'write the counter alone, as `requests_total{code=~"5.."}`')
    if found.offset is not None or found.at is not None:
        raise Mistake("a selector here takes neither `offset` nor `@`", "take it out")


def spans_s(query: str, *, window_s: float) -> float:
    """How long one value looks back: the ranges of the query, one in another added up."""
    window = f"{round(window_s * 1000)}ms"
    return _spans_s(promql.parse(fill(query, _EXAMPLES | {"window": window})))


def tells_apart(query: str) -> bool:
    """Whether a query is another one for each version."""
    return not _TELL_APART.isdisjoint(places(query))


def _parse(query: str) -> Any:
    for name in places(query):
        if name not in ARGUMENTS:
            near = get_close_matches(name.strip().lower(), ARGUMENTS, n=1, cutoff=0.6)
            fix = f"did you mean `$({near[0]})`?" if near else f"there is: {', '.join(ARGUMENTS)}"
            raise Mistake(f"unknown argument `$({name})`", fix)
    if "{{" in query:
        raise Mistake("`{{…}}` is no argument here", "write for example `$(version)`")
    try:
        return promql.parse(fill(query, _EXAMPLES))
    except ValueError as exc:
        raise Mistake(f"this is no PromQL: {exc}", "try it in Prometheus") from None


def _value_of(found: Any) -> None:
    if isinstance(found, promql.MatrixSelector):
        raise Mistake("this selects a range, which has no value", "put it into a function, for example `rate(…)`")
    if isinstance(found, promql.StringLiteral):
        raise Mistake("this is a text", "write a query")


def _seconds(span: timedelta | None) -> float:
    return span.total_seconds() if span else 0.0


def _spans_s(found: Any) -> float:
    if isinstance(found, (list, tuple)):
        return max((_spans_s(part) for part in found), default=0.0)
    if isinstance(found, promql.MatrixSelector):
        return _seconds(found.range)
    if isinstance(found, promql.SubqueryExpr):
        return _seconds(found.range) + _spans_s(found.expr)
    parts = [getattr(found, name) for name in ("expr", "lhs", "rhs", "args", "param") if hasattr(found, name)]
    return max((_spans_s(part) for part in parts if part is not None), default=0.0)
