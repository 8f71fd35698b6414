"""How soon each Guard would find a fault: from traffic that somebody states or the running platform sees.

Called by `cli.checking` and `cli.cluster_check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sternway.cli.session import ask
from sternway.cli.words import duration, number, percent
from sternway.control.status import PlatformStatus
from sternway.domain.guards import Guard, Then
from sternway.domain.releases import Wanted
from sternway.errors import SternwayError
from sternway.forecast import Advice, Forecast, Found, Known, advise, forecast, words
from sternway.web.wire import from_json

KNOWN_FROM = 1000
"""So many answers of stable tell its error rate well enough to count on."""
_THEN = {
    Then.ROLLBACK: "then the release is rolled back",
    Then.HOLD: "then everything stays as it is",
    Then.PROMOTE: "then it is promoted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """A service's forecast, with what to change. `source`: where its traffic is known from."""

    forecast: Forecast
    advice: tuple[Advice, ...]
    source: str


def traffic_seen(folder: Path) -> dict[str, Known]:
    """Ask the platform that runs for a folder what its services get; nothing where none runs."""
    try:
        text = ask(folder, lambda client: client.get("status"))
    except SternwayError:
        return {}
    seen = {}
    for service in from_json(PlatformStatus, text).services:
        if service.rate_per_s:
            known = service.stable_answers >= KNOWN_FROM
            error = _two_digits(service.stable_bad / service.stable_answers) if known else None
            seen[service.service] = Known(rate_per_s=_two_digits(service.rate_per_s), error=error)
    return seen


def foresee(wanted: Iterable[Wanted], *, rps: float | None, seen: Mapping[str, Known]) -> tuple[Foreseen, ...]:
    """Forecast every service that can be called and whose traffic is known."""
    found = []
    for one in wanted:
        name = one.service.name
        if one.service.port is None or (rps is None and name not in seen):
            continue
        known = seen.get(name)
        if rps is not None:
            known = Known(rate_per_s=rps, error=known.error if known else None)
        assert known is not None
        found.append(foresee_guard(one.guard, known, "as stated" if rps is not None else "as the platform sees now"))
    return tuple(found)


def foresee_guard(guard: Guard, known: Known, source: str) -> Foreseen:
    """Forecast the releases of one Guard."""
    made = forecast(guard, known)
    return Foreseen(forecast=made, advice=advise(guard, made), source=source)


def as_json(found: Foreseen) -> dict[str, Any]:
    """Give a forecast as the JSON output has it."""
    told = asdict(found.forecast)
    told["source"] = found.source
    told["advice"] = [{**asdict(one), "sentence": words(one)} for one in found.advice]
    return told


def render(found: Foreseen) -> RenderableType:
    """Render a forecast: a row for each fault, then what is missed and how long nothing may be seen."""
    made = found.forecast
    basis = f"{percent(100 * made.error)} assumed" if made.assumed else f"{percent(100 * made.error)} seen"
    head = Text(f"{made.service}: ", "bold").append(
        f"how soon a fault is found, at {made.rate_per_s:g} requests/s {found.source} (errors of stable: {basis})",
        "not bold",
    )
    if made.unknown:
        return Group(head, Text(f"  {made.unknown}", "yellow"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim", pad_edge=False)
    table.add_column("  fault")
    for column in ("withdrawn after", "condemned after", "hurt", "with the shield", "found before promotion"):
        table.add_column(column, justify="right")
    for fault in made.faults:
        size = "total failure" if fault.error >= 1.0 else f"{100 * fault.error:g} % errors"
        if fault.tolerated:
            table.add_row(f"  {size}", "tolerated: within the margins")
            continue
        for way, one in (("first step", fault.first_step), ("on the way up", fault.ramp)):
            if one is not None:
                table.add_row(f"  {size}, {way}", *_cells(one, held=way == "first step"))
    lines: list[RenderableType] = [head, table]
    lines += [_indented(Text(f"missed: {words(one)}", "yellow")) for one in found.advice]
    return Group(*lines, _indented(Text(_blind(made))))


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))


def _cells(one: Found, *, held: bool) -> tuple[str, ...]:
    found = (
        "" if held else f"{100 * one.withdrawn:.0f} %" + (f", in the bake {100 * one.late:.0f} %" if one.late else "")
    )
    return (
        _after(one.requests, one.seconds),
        _after(one.condemned_requests, one.condemned_seconds),
        f"{one.hurt:.0f}",
        f"{one.hurt_shielded:.0f}" if one.hurt_shielded >= 0.5 else "0",
        found,
    )


def _after(requests: float | None, seconds: float | None) -> str:
    if requests is None or seconds is None:
        return "never"
    return f"{number(round(requests), 'request')}, {duration(seconds)}"


def _blind(made: Forecast) -> str:
    blind = made.blind
    return (
        f"blind time: a bad answer is seen within {duration(blind.reacts_s)}, the rest each {duration(blind.looks_s)};"
        f" {duration(blind.away_s)} while it is withdrawn; if nothing can be seen, up to {duration(blind.borne_s)}:"
        f" the split holds, {_THEN[blind.then]}"
    )


def _two_digits(value: float) -> float:
    """Take a measurement for what it is: equal forecasts are made once."""
    return float(f"{value:.2g}")
