"""`kubectl sternway check`: whether Guards of a cluster are valid and in force, and how soon a fault would be found. Pure.

Used by `cli.kubectl`. The forecast is that of `sternway check`; it knows the Guard, and not what the mesh adds to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sternway.cli import foreseeing
from sternway.forecast import Known
from sternway.kubernetes.api import Object, condition_of, name_of, namespace_of
from sternway.kubernetes.ours import service_key
from sternway.operator.asked import read_guard

_UNSEEN = "Sternway has not looked at it: is it installed, and does it look after this namespace?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found of one Guard. notes: what is in force, and what a release cannot be judged by."""

    guard: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    forecast: foreseeing.Foreseen | None


def check(guards: Sequence[Object], rps: float | None) -> tuple[Checked, ...]:
    """Look at each Guard. rps: requests per second of its service; None for no forecast."""
    return tuple(_check(one, rps) for one in guards)


def _check(guard: Object, rps: float | None) -> Checked:
    found, problems = read_guard(guard)
    ready, sighted = condition_of(guard, "Ready"), condition_of(guard, "Sighted")
    said = str(ready.get("message") or _UNSEEN)
    wrong = tuple(map(str, problems)) or (() if ready.get("status") in ("True", "Unknown") else (said,))
    notes = () if wrong else (said,)
    unsighted = (str(sighted["message"]),) if sighted.get("status") == "False" else ()
    forecast = None
    if found is not None and rps is not None:
        own = found.to_domain()
        key = service_key(namespace_of(guard), found.spec.service)
        there = replace(own, service=key, shield=replace(own.shield, enabled=False))  # no mesh of a cluster has one
        forecast = foreseeing.foresee_guard(there, Known(rate_per_s=rps), "as stated")
    return Checked(
        guard=f"{namespace_of(guard)}/{name_of(guard)}", problems=wrong, notes=notes + unsighted, forecast=forecast
    )


def as_json(found: Sequence[Checked]) -> dict[str, Any]:
    """Give what was found, for scripts."""
    guards = [{"guard": one.guard, "problems": one.problems, "notes": one.notes} for one in found]
    forecasts = [foreseeing.as_json(one.forecast) for one in found if one.forecast is not None]
    return {"ok": not any(one.problems for one in found), "guards": guards, "forecasts": forecasts}


def rendered(found: Sequence[Checked]) -> RenderableType:
    """Render a line for each finding, then the forecasts."""
    parts: list[RenderableType] = []
    for one in found:
        parts += [Text(f"{one.guard}: {text}", "red", overflow="fold") for text in one.problems]
        parts += [Text(f"{one.guard}: {text}", overflow="fold") for text in one.notes]
    forecasts = [one.forecast for one in found if one.forecast is not None]
    for forecast in forecasts:
        parts += [Text(), foreseeing.render(forecast)]
    if not forecasts:
        parts.append(Text("how soon a fault is found: state the traffic with --rps", "dim"))
    return Group(*parts)
