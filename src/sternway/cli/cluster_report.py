"""`kubectl sternway report`: how well releases went, as far as the Releases of a cluster tell. Pure; used by `cli.kubectl`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sternway.cli.reporting import rendered as rendered_report
from sternway.cli.words import day_and_clock, number
from sternway.control import dora
from sternway.operator.accounts import Accounts, Gone

HOLDER = "the cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReport:
    """A report, and what it does not know. exec_line: the command line that reports from the journal, which knows it."""

    report: dora.Report
    left_out: tuple[str, ...]
    gone: tuple[Gone, ...]
    exec_line: str


def report(found: Accounts, *, now_s: float, since_s: float, exec_line: str) -> ClusterReport:
    """Look at the releases of a time. Those that are gone matter where what stands there begins later."""
    from_s = now_s - since_s
    return ClusterReport(
        report=dora.report(found.releases, from_s=from_s, to_s=now_s),
        left_out=found.left_out,
        gone=tuple(one for one in found.gone if one.first_s > from_s),
        exec_line=exec_line,
    )


def as_json(found: ClusterReport) -> dict[str, Any]:
    """Give it as `sternway report` does, with what it does not know beside it."""
    more = {"left_out": found.left_out, "gone": [asdict(one) for one in found.gone], "journal": found.exec_line}
    return {**asdict(found.report), **more}


def rendered(found: ClusterReport) -> RenderableType:
    """Render it, and what it does not know."""
    lines = [Text(line, "yellow") for line in _unknown(found)]
    return Group(rendered_report(found.report, HOLDER), Text(), *lines)


def _unknown(found: ClusterReport) -> list[str]:
    lines = [
        f"{one.service}: {number(one.releases, 'earlier Release')} gone; those that stand begin {day_and_clock(one.first_s)}."
        for one in found.gone
    ]
    if found.left_out:
        were = "was" if len(found.left_out) == 1 else "were"
        lines.append(f"Left out, as they {were} written before Releases held figures: {', '.join(found.left_out)}.")
    return lines
