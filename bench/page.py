"""Puts the results that are kept into docs/performance.md, so that the page cannot say anything else. Used by `bench`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.results import FOLDER

PAGE = FOLDER.parent.parent / "docs" / "performance.md"
BEGIN = "<!-- results: written by `python -m bench` -->\n"
END = "<!-- end of results -->\n"


def render(benches: Iterable[str], folder: Path = FOLDER) -> str:
    """Write the tables of all benches that have results."""
    parts = []
    for bench in benches:
        path = folder / f"{bench}.json"
        if path.exists():
            rows = "".join(_row(result) for result in json.loads(path.read_text()) if "; " not in result["name"])
            parts.append(f"### {bench}\n\n| what | measured | goal | |\n|---|---:|---:|---|\n{rows}\n")
    return "".join(parts)


def update(benches: Iterable[str], page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Replace what stands between the marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + "\n" + render(benches, folder) + END + after)


def _row(result: dict[str, Any]) -> str:
    goal = "" if result["goal"] is None else f"≤ {result['goal']:g}"
    word = "" if result["goal"] is None else ("ok" if result["ok"] else "**missed**")
    return f"| {result['name']} | {result['value']:g} {result['unit']} | {goal} | {word} |\n"
