"""`sternway prometheus record`: what a Prometheus still knows of past releases, as a recording for `backtest`. Called by `cli.app`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from sternway.bootstrap import counting_the_past
from sternway.cli.backtesting import lines_of, read_guard
from sternway.cli.session import Code, show_error, understood, unwritable
from sternway.domain.guards import Guard
from sternway.domain.metrics import Metric, MetricQuestion, escape, places
from sternway.domain.monitoring import Endpoint
from sternway.domain.monitoring import told as told_where
from sternway.engine.asking import CANDIDATE, STABLE, ask, role_arguments, templates_of
from sternway.errors import InvalidInput, Problem, SignalUnavailable
from sternway.judgement.asking import slow_name
from sternway.manifests.models.base import parse_duration
from sternway.manifests.models.monitoring import parse_url
from sternway.operator.mesh_metrics import SOURCES, mesh_metrics

ROLES = (STABLE, CANDIDATE)
ERRORS = "errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A release of the past. about: role -> what stands for `$(NAME)` about its version. Times in s since 1970."""

    release: str
    start_s: float
    end_s: float
    about: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the command was told: where the release ran, and which metric counts all answers and the errors among them."""

    namespace: str
    deployment: str | None
    mesh: str | None
    errors: str | None


def record(
    stretches: Sequence[Stretch], guard: Path, endpoint: Endpoint, told: Told, *, service: str | None, out: Path | None
) -> Code:
    """Write a tally a line for every release. A release of which nothing is there is named, and left out."""
    found = read_guard(guard, service)
    metrics = _metrics(found, guard, told)
    criteria = {metric.name: names for metric, names in metrics.items()}
    asked = [(one, _question(one, found, metrics, guard, told)) for one in stretches]
    if out is None:
        written = asyncio.run(_record(asked, criteria, endpoint, sys.stdout))
    else:
        try:
            with out.open("w", encoding="utf-8") as file:
                written = asyncio.run(_record(asked, criteria, endpoint, file))
        except OSError as exc:
            raise unwritable(str(out), exc) from exc
    if written:
        return Code.OK
    hint = "look at the range, the retention of Prometheus, and at what stands for $(NAME): --stable, --candidate"
    return show_error(SignalUnavailable("nothing was recorded", hint=hint))


async def _record(
    asked: Sequence[tuple[Stretch, MetricQuestion]],
    criteria: Mapping[str, Sequence[str]],
    endpoint: Endpoint,
    file: TextIO,
) -> int:
    """Record one release after the other; gives how many were."""
    written = 0
    async with counting_the_past(endpoint) as count:
        for stretch, question in asked:
            past = await count(question, stretch.start_s, stretch.end_s)
            for role, why in past.missing:
                print(f"{stretch.release}: nothing of {role}: {why}", file=sys.stderr)
            if CANDIDATE in dict(past.missing):
                continue
            written += 1
            for tally in past.tallies:
                at = (stretch, tally.end_s, tally.version)
                file.writelines(_line(*at, name, tally.total, tally.bad) for name in criteria[tally.criterion])
    return written


def _line(stretch: Stretch, at_s: float, role: str, criterion: str, total: int, bad: int) -> str:
    told = {"release": stretch.release, "t": round(at_s, 3), "role": role, "criterion": criterion}
    return json.dumps({**told, "total": total, "bad": bad}, ensure_ascii=False) + "\n"


def _metrics(guard: Guard, file: Path, told: Told) -> dict[Metric, tuple[str, ...]]:
    """Name the metrics that count answers, and by which criteria each is recorded. Raises InvalidInput.

    What the Guard does not name goes by what every Guard judges.
    """
    stated = {one.name: one for one in guard.judge.metrics if one.ratio or one.slower}
    if told.mesh is not None and told.mesh not in SOURCES:
        said = f"nobody knows by which names {told.mesh} counts"
        raise InvalidInput((Problem(file="--mesh", message=said, fix=f"there is: {', '.join(sorted(SOURCES))}"),))
    metrics = {one.name: one for one in mesh_metrics(told.mesh or "")} | stated
    ratios = [name for name, one in metrics.items() if one.ratio]
    if not ratios:
        fix = "add a metric with a ratio or a `builtIn: …-errors`, or say --mesh"
        said = "states no metric that counts answers and the errors among them"
        raise InvalidInput((Problem(file=str(file), field="spec.metrics", message=said, fix=fix),))
    errors = told.errors or ratios[0]
    if errors not in ratios:
        said = f"the Guard has no metric {errors} with a ratio"
        raise InvalidInput((Problem(file="--errors", message=said, fix=f"there is: {', '.join(ratios)}"),))
    criteria: dict[Metric, tuple[str, ...]] = {}
    for name, one in metrics.items():
        own = (name,) if name in stated else (slow_name(one.slower.quantile),) if one.slower else ()
        criteria[one] = (ERRORS, *own) if name == errors else own
    return criteria


def _question(stretch: Stretch, guard: Guard, metrics: Iterable[Metric], file: Path, told: Told) -> MetricQuestion:
    """Fill the queries in. Raises InvalidInput when they ask for what nobody stated."""
    about: dict[str, dict[str, str]] = {}
    deployment = told.deployment or guard.deployment or guard.service
    for role in ROLES:
        known = role_arguments(guard.service, namespace=told.namespace, deployment=deployment, role=role, window_s=60.0)
        about[role] = {name: escape(value) for name, value in {**known, **stretch.about.get(role, {})}.items()}
    for metric in metrics:
        needed = {name for template in templates_of(metric)[1] for name in places(template)}
        for role in ROLES:
            for name in sorted(needed - about[role].keys()):
                said = f"asks for $({name}), and {stretch.release} does not say what that is for its {role} version"
                fix = f"say --{role} {name}=VALUE" if len(stretch.about) else f"add {name} to `{role}`"
                raise InvalidInput((Problem(file=str(file), field=f"metrics.{metric.name}", message=said, fix=fix),))
    asks = tuple(ask(metric, stable=about[STABLE], candidate=about[CANDIDATE]) for metric in metrics)
    return MetricQuestion(stable=STABLE, candidate=CANDIDATE, asks=asks)


class _Row(BaseModel):
    """A line of a file of releases."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    release: str = Field(min_length=1)
    from_: str | float = Field(alias="from")
    to: str | float
    stable: dict[str, str] | str = Field(default_factory=dict)
    candidate: dict[str, str] | str = Field(default_factory=dict)


def releases_in(file: str) -> Iterator[Stretch]:
    """Read a file of releases, one JSON object a line. Raises InvalidInput."""
    for line in lines_of([file]):
        if line.text.isspace():
            continue
        try:
            row = _Row.model_validate_json(line.text)
        except ValidationError as exc:
            problems = tuple(
                Problem(
                    file=line.file,
                    line=line.number,
                    field=".".join(str(part) for part in one["loc"][:1]),
                    message=one["msg"][:1].lower() + one["msg"][1:],
                    fix='write {"release": "orders-17", "from": "2026-11-20T10:00Z", "to": "2026-11-20T11:00Z"}',
                )
                for one in exc.errors()
            )
            raise InvalidInput(problems) from exc
        place = {"file": line.file, "line": line.number}
        yield stretch_of(row.release, row.from_, row.to, {STABLE: row.stable, CANDIDATE: row.candidate}, place=place)


def stretch_of(
    release: str, start: object, end: object, about: Mapping[str, Any], *, place: Mapping[str, Any]
) -> Stretch:
    """Put a release together. about: role -> a version, or names and values. Raises InvalidInput."""
    start_s, end_s = (when(value, {**place, "field": name}) for name, value in (("from", start), ("to", end)))
    if start_s >= end_s:
        said = f"{release} ends before it begins"
        raise InvalidInput((Problem(**place, field="to", message=said, fix="write the end as `to`"),))
    named = {role: {"version": said} if isinstance(said, str) else dict(said) for role, said in about.items()}
    return Stretch(release=release, start_s=start_s, end_s=end_s, about=named)


def about_of(option: str, said: Sequence[str]) -> dict[str, str]:
    """Read `NAME=VALUE …`, or a version alone. Raises InvalidInput."""
    found: dict[str, str] = {}
    for one in said:
        name, equals, value = one.partition("=")
        found |= {name: value} if equals else {"version": name}
    if "" in found:
        fix = f"write for example {option} version=1.4.1"
        raise InvalidInput((Problem(file=option, message="is no NAME=VALUE", fix=fix),))
    return found


def when(value: object, place: Mapping[str, Any]) -> float:
    """Seconds since 1970: of a number, of a time with its zone, or of how long ago it was (`90m`). Raises InvalidInput."""
    text = str(value).strip()
    try:
        return float(text)
    except ValueError:
        pass
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        try:
            return time.time() - understood(text, parse_duration, text)
        except InvalidInput:
            fix = "write for example `2026-11-20T10:00:00Z`, or `90m` for that long ago"
            raise InvalidInput((Problem(**place, message=f"{text!r} is no time", fix=fix),)) from None
    if told.tzinfo is None:
        raise InvalidInput((Problem(**place, message=f"{text} has no zone", fix=f"write for example `{text}Z`"),))
    return told.timestamp()


def endpoint_of(known: Endpoint | None, url: str | None) -> Endpoint:
    """Where Prometheus is. Raises InvalidInput."""
    if url is not None:
        understood("--prometheus", parse_url, url)
    found = told_where(known, url)
    if found is None:
        fix = "say --prometheus URL, or --monitoring FILE"
        raise InvalidInput((Problem(file="--prometheus", message="nobody knows where Prometheus is", fix=fix),))
    return found
