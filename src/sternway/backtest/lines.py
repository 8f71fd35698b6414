"""One line of a recording -> an answer or a count, or a problem with file, line, field and fix. Called by `run`."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from math import isfinite
from typing import Any, NamedTuple, NoReturn

from pydantic_core import from_json

from sternway.errors import InvalidInput, Problem

OUTCOME_FIELDS = frozenset({"release", "t", "role", "replica", "key", "status", "duration_ms"})
TALLY_FIELDS = frozenset({"release", "t", "role", "replica", "criterion", "total", "bad"})
_TALLY_ONLY = frozenset({"criterion", "total", "bad"})
_OPTIONAL = frozenset({"replica", "key"})
_OUTCOME_NEEDS = OUTCOME_FIELDS - _OPTIONAL
_TALLY_NEEDS = TALLY_FIELDS - _OPTIONAL
_ROLES = {"stable": False, "candidate": True}
_CRITERION = re.compile(r"errors|(latency|objective)-p\d+(\.\d+)?")
_EXAMPLES = {
    "release": 'write text, for example `"release": "orders-17"`',
    "t": "write seconds, for example `12.5`",
    "status": "write an HTTP status from 100 to 599; 503 or 504 where no answer came",
    "duration_ms": "write milliseconds, for example `12.5`",
    "replica": "write text, or leave it out",
    "key": "write text, or leave it out",
    "total": "write a whole number from 0 on",
    "bad": "write a whole number from 0 to `total`",
}
_LATEST_S = 1e12


class Answer(NamedTuple):
    """How one recorded request ended. A tuple, because one is made for each request."""

    release: str
    t: float
    candidate: bool
    replica: str | None
    key: str | None
    status: int
    duration_ms: float

    @property
    def bad(self) -> bool:
        """The caller was given a bad answer."""
        return self.status >= 500


class Count(NamedTuple):
    """A recorded tally: how many requests a version answered about `t`, and how many were bad by one criterion."""

    release: str
    t: float
    candidate: bool
    replica: str | None
    criterion: str
    total: int
    bad: int


class Line(NamedTuple):
    """A line as it was read, and where it stands. `number` counts from 1."""

    file: str
    number: int
    text: bytes


def parse(line: Line, metrics: frozenset[str] = frozenset()) -> Answer | Count:
    """Read a line. metrics: those of the Guard that tallies may name. Raises InvalidInput."""
    try:
        value = from_json(line.text, allow_inf_nan=False)
    except ValueError as exc:
        said = f"is no JSON: {str(exc).replace(' at line 1 column', ' in column')}"
        fix = 'write one object a line, for example {"release": "a", "t": 0, "role": "stable", "status": 200, …}'
        refuse(line, "", said, fix)
    if type(value) is not dict:
        refuse(line, "", "is no JSON object", "write one object a line")
    if _TALLY_ONLY.isdisjoint(value):
        return _answer(line, value)
    return _count(line, value, metrics)


def refuse(line: Line, field: str, message: str, fix: str = "") -> NoReturn:
    """Say what is wrong with a line."""
    raise InvalidInput((Problem(file=line.file, line=line.number, field=field, message=message, fix=fix),))


def _answer(line: Line, value: dict[str, Any]) -> Answer:
    if not (value.keys() <= OUTCOME_FIELDS and value.keys() >= _OUTCOME_NEEDS):
        _refuse_fields(line, value, OUTCOME_FIELDS)
    _check_common(line, value)
    status, duration_ms = value["status"], value["duration_ms"]
    if type(status) is not int:
        refuse(line, "status", f"{_show(status)} is no number", _EXAMPLES["status"])
    if not 100 <= status <= 599:
        refuse(line, "status", f"{status} is no HTTP status", _EXAMPLES["status"])
    if not _is_number(duration_ms) or duration_ms < 0:
        refuse(line, "duration_ms", f"{_show(duration_ms)} is no duration", _EXAMPLES["duration_ms"])
    return Answer(
        value["release"],
        float(value["t"]),
        _ROLES[value["role"]],
        value.get("replica"),
        _text_or_none(line, value, "key"),
        status,
        float(duration_ms),
    )


def _count(line: Line, value: dict[str, Any], metrics: frozenset[str]) -> Count:
    if not (value.keys() <= TALLY_FIELDS and value.keys() >= _TALLY_NEEDS):
        _refuse_fields(line, value, TALLY_FIELDS)
    _check_common(line, value)
    criterion = value["criterion"]
    if not isinstance(criterion, str) or not (criterion in metrics or _CRITERION.fullmatch(criterion)):
        known = ("errors", "latency-p50", "latency-p90", "latency-p99", *sorted(metrics))
        near = get_close_matches(str(criterion), known, n=1)
        others = "`errors`, `latency-p99`, `objective-p99` or a metric of the Guard"
        fix = f"did you mean `{near[0]}`?" if near else f"write {others} that counts answers"
        refuse(line, "criterion", f"{_show(criterion)} is no criterion", fix)
    total, bad = value["total"], value["bad"]
    for field, number in (("total", total), ("bad", bad)):
        if type(number) is not int or number < 0:
            refuse(line, field, f"{_show(number)} is no count", _EXAMPLES[field])
    if bad > total:
        refuse(line, "bad", f"{bad} is more than the total of {total}", _EXAMPLES["bad"])
    return Count(
        value["release"], float(value["t"]), _ROLES[value["role"]], value.get("replica"), criterion, total, bad
    )


def _refuse_fields(line: Line, value: dict[str, Any], known: frozenset[str]) -> NoReturn:
    for field in value:
        if field not in known:
            near = get_close_matches(field, sorted(OUTCOME_FIELDS | TALLY_FIELDS), n=1)
            fix = f"did you mean `{near[0]}`?" if near and near[0] in known else f"there is: {', '.join(sorted(known))}"
            refuse(line, field, "is not known" + (" in a tally" if known is TALLY_FIELDS else ""), fix)
    missing = min(known - _OPTIONAL - value.keys())
    refuse(line, missing, "is missing", _EXAMPLES.get(missing, "add it"))


def _check_common(line: Line, value: dict[str, Any]) -> None:
    release, t, role = value["release"], value["t"], value["role"]
    if type(release) is not str or not release:
        refuse(line, "release", f"{_show(release)} is no name", _EXAMPLES["release"])
    if not _is_number(t) or abs(t) > _LATEST_S:
        refuse(line, "t", f"{_show(t)} is no time", _EXAMPLES["t"])
    if type(role) is not str or role not in _ROLES:
        near = get_close_matches(str(role).lower(), tuple(_ROLES), n=1)
        refuse(line, "role", f"{_show(role)} is no role", f"write `{near[0]}`" if near else "write stable or candidate")
    _text_or_none(line, value, "replica")


def _text_or_none(line: Line, value: dict[str, Any], field: str) -> str | None:
    text = value.get(field)
    if text is not None and type(text) is not str:
        refuse(line, field, f"{_show(text)} is no text", _EXAMPLES[field])
    return text


def _is_number(value: object) -> bool:
    return (type(value) is float and isfinite(value)) or type(value) is int


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"
