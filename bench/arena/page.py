"""Lays the cells out: one table a section and measure, scenarios down, rules across. Used by `bench` and docs/arena.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.page import BEGIN, END
from bench.results import FOLDER, Result

PAGE = FOLDER.parent.parent / "docs" / "arena.md"
TITLES = {
    "healthy": "Healthy releases at 10 %, half an hour",
    "healthy, clustered": "Healthy releases whose bad answers come in clusters, 0.2 %, half an hour",
    "common trouble": "Trouble common to both versions, an hour",
    "replicas": "Candidates that differ because of their replicas, 0.2 %, half an hour",
    "warm-up": "Healthy releases that warm up, 0.2 %, from the first request on, half an hour",
    "own path, healthy": "Healthy releases from the first request to the promotion",
    "own path": "Bad releases from the first request on, 75 minutes, promoted ones included",
    "own path, clustered": "The same where bad answers come in clusters, half an hour",
    "fixed weight": "Bad releases at a fixed weight, 200 requests/s, half an hour",
    "latency, healthy": "Healthy releases whose durations are told, half an hour",
    "latency": "Slow releases, half an hour",
}
SHOWN = (
    "taken back",
    "withdrawals",
    "promoted, median",
    "users hurt",
    "users hurt, mean",
    "users hurt, p95",
    "missed",
    "asked",
    "traffic back",
    "condemned",
)
FEW = ("asked", "withdrawals")
"""Most rules never do it: their zeros are left out."""
_NONE = "-"


def tables(details: Sequence[Result]) -> Iterable[tuple[str, list[list[str]]]]:
    """Give each table: its title, and its lines; the first line has the names of the rules."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    units: dict[str, str] = {}
    order: dict[str, None] = {}
    for row in details:
        section, scenario, rule, measure = row.name.split("; ")
        units[measure], order[rule] = row.unit, None
        if row.value == 0.0 and measure in FEW:
            continue
        found.setdefault((section, measure), {}).setdefault(scenario, {})[rule] = f"{row.value:.3g}"
    for section, title in TITLES.items():
        for measure in SHOWN:
            lines = found.get((section, measure))
            if lines:
                rules = [rule for rule in order if any(rule in line for line in lines.values())]
                head = [f"{measure} ({units[measure]})", *rules]
                yield title, [head, *([name, *(line.get(r, _NONE) for r in rules)] for name, line in lines.items())]


def show(details: Sequence[Result]) -> None:
    """Print them."""
    console = Console(highlight=False)
    for title, (head, *lines) in tables(details):
        shown = Table(*head, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for line in lines:
            shown.add_row(*line)
        console.print(shown)


def render(path: Path = FOLDER / "arena.json") -> str:
    """Write the tables of what was measured last."""
    if not path.exists():
        return "Not measured yet.\n"
    rows = [Result(name=r["name"], value=r["value"], unit=r["unit"]) for r in json.loads(path.read_text())]
    parts, last = [], ""
    for title, (head, *lines) in tables([row for row in rows if row.detail]):
        parts.append("" if title == last else f"### {title}\n")
        last = title
        parts.append(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
        parts.extend(f"| {' | '.join(line)} |" for line in lines)
        parts.append("")
    return "\n".join(parts)


def update(page: Path = PAGE) -> None:
    """Replace what stands between the marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + "\n" + render() + END + after)
