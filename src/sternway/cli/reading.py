"""Commands that only read: status, history, release show, services, logs, replay. Called by `cli.app`."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sternway.cli import render
from sternway.cli.events import events
from sternway.cli.session import Code, Output, ask, console, show, show_json
from sternway.cli.words import day_and_clock
from sternway.control.status import CatalogueView, PlatformStatus, ReleaseView
from sternway.domain.trails import Trail
from sternway.errors import Refused
from sternway.paths import find
from sternway.ports import Entry
from sternway.web.client import Client
from sternway.web.faults import NotRunning
from sternway.web.release_page import ReleasePage
from sternway.web.wire import from_json, to_json

if TYPE_CHECKING:
    from sternway.bootstrap import Kept

T = TypeVar("T")


def status(folder: Path, service: str | None, *, watch: bool, output: Output) -> None:
    """Show the status, once or for as long as somebody looks."""
    try:
        if watch:
            ask(folder, lambda client: _watch(client, service, output))
            return
        text = ask(folder, lambda client: client.get("status", service=service))
    except NotRunning as away:
        raise _last_seen(folder, away) from None
    if output is Output.JSON:
        show_json(text)
    else:
        show(render.status(from_json(PlatformStatus, text)))


def history(folder: Path, service: str, *, output: Output) -> None:
    """List releases."""
    try:
        text = ask(folder, lambda client: client.get("services", service, "history"))
    except NotRunning as away:
        text = from_the_journal(folder, away, lambda kept: _kept_history(kept, service))
    if output is Output.JSON:
        show_json(text)
    else:
        show(render.history(from_json(tuple[ReleaseView, ...], text)))


def release(folder: Path, name: str, *, plot: str | None, output: Output) -> None:
    """Tell a release's story; with `plot`, draw its evidence over time."""
    try:
        text = ask(folder, lambda client: client.get("releases", name))
    except NotRunning as away:
        text = from_the_journal(folder, away, lambda kept: _kept_page(kept, name))
    found = None if plot is None else _trail(folder, name)
    if output is Output.JSON:
        told = json.loads(text)
        show_json(text if found is None else json.dumps({**told, "trail": json.loads(to_json(found))}))
    else:
        show(render.release_page(from_json(ReleasePage, text)))
    if found is None or plot is None:
        return
    from sternway.cli import plotting  # noqa: PLC0415  see the package

    if plot != plotting.TERMINAL:
        plotting.plot(found, plot)
    elif output is Output.TEXT:
        show("\nEvidence over time")
        plotting.plot(found, plot)


def _trail(folder: Path, name: str) -> Trail:
    from sternway.control.trail import trail  # noqa: PLC0415  needs the whole engine

    return trail(name, _entries(folder, name))


def services(folder: Path, *, output: Output) -> None:
    """Show the catalogue."""
    text = ask(folder, lambda client: client.get("services"))
    if output is Output.JSON:
        show_json(text)
    else:
        show(render.catalogue(from_json(CatalogueView, text)))


def logs(folder: Path, service: str, *, replica: str | None, lines: int, follow: bool, output: Output) -> None:
    """Print what replicas wrote; plain text, so that it can be searched and piped."""

    async def follow_it(client: Client) -> None:
        async for text in client.lines(
            "logs", service, replica=replica, lines=lines, follow="true" if follow else None
        ):
            if output is Output.JSON:
                sys.stdout.write(text)
            else:
                found = json.loads(text)
                sys.stdout.write(f"{found['replica']} | {found['line']}\n")
            if follow:
                sys.stdout.flush()

    try:
        ask(folder, follow_it)
    except NotRunning as away:
        paths = find(folder)
        kept = None if paths is None else paths.state / "logs" / service
        if kept is None or not kept.is_dir():
            raise
        raise NotRunning(away.message, hint=f"{away.hint}; what its replicas wrote stands in {kept}") from None


def replay(folder: Path, name: str, *, output: Output) -> Code:
    """Recompute a release here, from the journal alone."""
    from sternway.control.replay import replay as recompute  # noqa: PLC0415  needs the whole engine

    found = recompute(name, _entries(folder, name))
    if output is Output.JSON:
        show_json(json.dumps({**json.loads(to_json(found)), "matches": found.matches}))
    else:
        show(render.replayed(found))
    return Code.OK if found.matches else Code.PROBLEM


def _entries(folder: Path, name: str) -> list[Entry]:
    """Everything that the journal holds of a release, from the platform or from the journal itself."""

    async def entries(client: Client) -> list[Entry]:
        return [from_json(Entry, line) async for line in client.lines("releases", name, "journal")]

    try:
        found = ask(folder, entries)
    except NotRunning as away:
        found = list(_read_journal(folder, away, lambda kept: kept.journal.entries(release=name)))
    if not found:
        raise Refused(
            f"the journal holds no release {name}", hint="`sternway history SERVICE` lists a service's releases"
        )
    return found


def _last_seen(folder: Path, away: NotRunning) -> NotRunning:
    """Say since when nobody writes the journal."""

    async def latest(kept: Kept) -> list[float]:
        entries = [await kept.journal.latest(service) for service in await kept.journal.services()]
        return [entry.at_s for entry in entries if entry is not None]

    times = _read_journal(folder, away, latest)
    if not times:
        return away
    return NotRunning(
        f"the platform is not running; the last entry of its journal is from {day_and_clock(max(times))}",
        hint="`sternway up DIR` starts it; `sternway history SERVICE` and `sternway release show NAME` read its journal",
    )


async def _kept_history(kept: Kept, service: str) -> object:
    from sternway.web import gather  # noqa: PLC0415  needs the whole engine

    gather.one_of(service, await kept.journal.services())
    return await gather.history(kept, service)


async def _kept_page(kept: Kept, name: str) -> object:
    from sternway.web import gather  # noqa: PLC0415  needs the whole engine

    return await gather.page(kept, name)


def from_the_journal(folder: Path, away: NotRunning, read: Callable[[Kept], Awaitable[object]]) -> str:
    """Answer from the journal as the platform would, and say so."""
    text = to_json(_read_journal(folder, away, read)).decode()
    console(stderr=True).print("no platform answers; this is what its journal says", soft_wrap=True)
    return text


def _read_journal(folder: Path, away: NotRunning, read: Callable[[Kept], Awaitable[T]]) -> T:
    """Read the journal itself, where no platform is running. Raises NotRunning where there never was one."""
    import asyncio  # noqa: PLC0415  see the package

    from sternway.bootstrap import from_journal  # noqa: PLC0415  the whole platform

    paths = find(folder)
    if paths is None or not paths.database.exists():
        raise away
    return asyncio.run(from_journal(paths, read))


async def _watch(client: Client, service: str | None, output: Output) -> None:
    """Show the table live on a terminal; elsewhere the table once, then a line for each thing that happens."""
    stream = client.lines("watch", service=service)
    out = console()
    if output is Output.JSON:
        async for line in stream:
            sys.stdout.write(line)
            sys.stdout.flush()
    elif out.is_terminal:
        from rich.live import Live  # noqa: PLC0415  only here

        with Live(console=out, auto_refresh=False, screen=False) as live:
            async for line in stream:
                live.update(render.status(from_json(PlatformStatus, line)), refresh=True)
    else:
        before: PlatformStatus | None = None
        async for line in stream:
            now = from_json(PlatformStatus, line)
            if before is None:
                out.print(render.status(now))
            else:
                for happened in events(before, now):
                    out.print(render.event(happened), soft_wrap=True)
            before = now
            sys.stdout.flush()
