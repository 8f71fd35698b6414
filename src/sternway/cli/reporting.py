"""`sternway report`: how well releases went. Called by `cli.app`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sternway.cli.reading import from_the_journal
from sternway.cli.render import Narrowing
from sternway.cli.session import Output, ask, show, show_json, understood
from sternway.cli.words import day_and_clock, duration, maybe, percent, share
from sternway.control.dora import Delivery, Report
from sternway.manifests.models.base import parse_duration
from sternway.web.faults import NotRunning
from sternway.web.wire import from_json

if TYPE_CHECKING:
    from sternway.bootstrap import Kept


def report(folder: Path, since: str, service: str | None, *, output: Output) -> None:
    """Print the report, made by the platform, or from the journal of one that does not run."""
    since_s = round(understood("--since", parse_duration, since))
    try:
        text = ask(folder, lambda client: client.get("report", since=since_s, service=service))
    except NotRunning as away:
        text = from_the_journal(folder, away, lambda kept: _kept(kept, since_s, service))
    if output is Output.JSON:
        show_json(text)
    else:
        show(rendered(from_json(Report, text)))


def rendered(found: Report, holder: str = "the journal") -> RenderableType:
    """Render the keys of every service in a table, and below it how they are computed. holder: who knows the releases."""
    if found.total is None:
        return Text(_nothing(found, holder))
    table = Narrowing(
        *("service", ">promoted", ">a day", ">lead time", ">changes failed", ">restore", ">detect"),
        *(">hurt", ">false alarms", ">blind"),
        dispensable=(">blind", ">false alarms", ">a day", ">hurt"),
    )
    for one in found.services:
        table.add(_row(one, one.service))
    if len(found.services) > 1:
        table.add(_row(found.total, "all services"))
    how = Table.grid(padding=(0, 2))
    how.add_column(style="bold", no_wrap=True)
    how.add_column(ratio=1)
    for figure, words in found.how:
        how.add_row(figure, words)
    return Group(Text(f"Releases that ended since {day_and_clock(found.from_s)}", "bold"), Text(), table, Text(), how)


def _row(one: Delivery, name: str) -> tuple[RenderableType, ...]:
    failed = one.failure_rate_percent
    return (
        Text(name, "bold"),
        f"{one.promoted:,}",
        f"{one.promoted_per_day:.2g}",
        maybe(one.lead_s),
        "" if failed is None else f"{one.failed:,} of {one.changes:,} ({percent(failed)})",
        maybe(one.restore_s),
        maybe(one.detect_s),
        share(one.hurt, one.requests),
        f"{one.false_alarms:,}",
        duration(one.blind_s) if one.blind_s else "none",
    )


def _nothing(found: Report, holder: str) -> str:
    if not found.known:
        return f"{holder} holds no release yet: a commit that changes what a service runs begins one"
    return f"no release has ended since {day_and_clock(found.from_s)}; `--since` looks further back"


async def _kept(kept: Kept, since_s: float, service: str | None) -> object:
    from sternway.web import gather  # noqa: PLC0415  needs the whole engine
    from sternway.web.figures import Figures  # noqa: PLC0415  the same

    if service is not None:
        gather.one_of(service, await kept.journal.services())
    return await gather.report(kept, Figures(kept), since_s=since_s, service=service)
