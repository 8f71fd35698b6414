"""What a bench returns, how it is written and shown. Used by every bench and by `python -m bench`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measured number. goal: the most that it may be; None promises nothing, so nothing can be missed."""

    name: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the goal is reached."""
        return self.goal is None or self.value <= self.goal

    @property
    def detail(self) -> bool:
        """Whether it is one cell of a bench's own tables, `…; …; …`, and stands there alone."""
        return "; " in self.name

    def to_json(self) -> dict[str, Any]:
        """Give the form in which results are kept."""
        return {"name": self.name, "value": self.value, "unit": self.unit, "goal": self.goal, "ok": self.ok}


def write(bench: str, results: Sequence[Result], folder: Path = FOLDER) -> Path:
    """Keep the results of a bench."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{bench}.json"
    path.write_text(json.dumps([result.to_json() for result in results], indent=2) + "\n")
    return path


def table(found: Sequence[tuple[str, Result]]) -> Table:
    """Show (bench, result) in rows."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("bench", "what"):
        shown.add_column(column)
    for column in ("measured", "goal"):
        shown.add_column(column, justify="right")
    shown.add_column("")
    last = ""
    for bench, result in found:
        if result.detail:
            continue
        style = "green" if result.ok else "red"
        goal = f"≤ {result.goal:g} {result.unit}" if result.goal is not None else ""
        word = ("ok" if result.ok else "MISSED") if result.goal is not None else ""
        shown.add_row(
            bench if bench != last else "",
            result.name,
            f"{result.value:g} {result.unit}".strip(),
            goal,
            f"[{style}]{word}[/]",
        )
        last = bench
    return shown


def quantile(values: Sequence[float], share: float) -> float:
    """Give the nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
