"""Views as things that rich can print. Used by the commands and by the demo; takes views, asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sternway.cli.events import Event, phase
from sternway.cli.story import answers, tell
from sternway.cli.words import clock, day_and_clock, duration, maybe, odds, percent, share, since, size
from sternway.control.gating import WAITED_FOR
from sternway.control.status import (
    CallView,
    CatalogueView,
    PlatformStatus,
    ReleaseView,
    ReplicaView,
    ServiceEntry,
    ServiceStatus,
    Trouble,
    VersionView,
)
from sternway.web.release_page import ReleasePage

if TYPE_CHECKING:
    from sternway.control.replay import Replayed

STYLES = {"good": "green", "bad": "red", "warn": "yellow", "plain": ""}
PHASE_STYLES = {
    "rolling-back": "red",
    "rolled-back": "red",
    "withdrawn": "yellow",
    "asking": "yellow",
    "promoted": "green",
    "superseded": "dim",
}
ROOM_FOR_SENTENCES = 140
"""From this many columns on, a table has room for a column of sentences."""
VERDICT_STYLES = {"suspect": "yellow", "harmful": "red", "healthy": "green"}
GATE_STYLES = {"passed": "green", "failed": "red", "running": "cyan"}


class SplitBar:
    """How traffic is shared: stable's part plain, the candidate's in colour. ASCII where nothing else can be shown."""

    def __init__(self, candidate_percent: float, *, width: int = 16) -> None:
        self._percent = candidate_percent
        self._width = width

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(10, self._width + len(" 100 %"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(4, min(self._width, options.max_width - len(" 100 %")))
        # A candidate with any traffic shows at least one cell, and one with less than all leaves one.
        cells = max(round(self._percent / 100 * width), 1) if self._percent > 0 else 0
        cells = min(cells, width - 1) if self._percent < 100 else width
        stable, candidate = ("-", "#") if options.ascii_only else ("─", "█")
        bar = Text(candidate * cells, "cyan") + Text(stable * (width - cells), "dim")
        yield bar.append(f" {percent(self._percent)}" if self._percent else "", "")


class Told:
    """A table whose rows each end in a sentence: in a last column where there is room for it, else below the table.

    roomy: columns that are left out where there is not.
    """

    def __init__(self, *columns: str, last: str, roomy: frozenset[str] = frozenset()) -> None:
        self._columns = columns
        self._last = last
        self._roomy = roomy
        self._rows: list[tuple[tuple[RenderableType, ...], str, Text]] = []

    def add(self, cells: Iterable[RenderableType], name: str, sentence: Text) -> None:
        """Add a row; `name` is what the sentence is about."""
        self._rows.append((tuple(cells), name, sentence))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= ROOM_FOR_SENTENCES
        shown = [wide or column not in self._roomy for column in self._columns]
        table = _table(*compress(self._columns, shown), *([self._last] if wide else []))
        for cells, _, sentence in self._rows:
            table.add_row(*compress(cells, shown), *([sentence] if wide else []))
        yield table
        for _, name, sentence in self._rows if not wide else ():
            if sentence.plain:
                yield Text.assemble((f"{name}: ", "bold"), sentence)


class Narrowing:
    """A table that leaves columns out where a terminal is narrow, the first of `dispensable` first."""

    def __init__(self, *columns: str, dispensable: Sequence[str]) -> None:
        self._columns = columns
        self._dispensable = dispensable
        self._rows: list[tuple[RenderableType, ...]] = []

    def add(self, cells: tuple[RenderableType, ...]) -> None:
        """Add a row."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unbounded = options.update(max_width=10_000)
        for left_out in range(len(self._dispensable) + 1):
            table = self._without(self._dispensable[:left_out])
            if Measurement.get(console, unbounded, table).maximum <= options.max_width:
                break
        yield table

    def _without(self, left_out: Sequence[str]) -> Table:
        shown = [column not in left_out for column in self._columns]
        table = _table(*compress(self._columns, shown))
        for cells in self._rows:
            table.add_row(*compress(cells, shown))
        return table


def status(view: PlatformStatus) -> RenderableType:
    """Render every service in a table, then what is wrong or worth knowing."""
    if not view.services:
        return Group(Text("no services yet"), *_below(view))
    systems = [Text(", ".join(f"{one.name} {one.url}" for one in view.monitoring), "dim")] if view.monitoring else []
    table = Told("service", "stable", "candidate", "phase", "split", ">requests", ">hurt", last="judgement")
    for service in view.services:
        release = service.release
        table.add(
            _status_row(service), service.service, _judgement(release) if release else Text(service.reason, "dim")
        )
    return Group(table, *_below(view), *systems)


def _status_row(service: ServiceStatus) -> Iterator[RenderableType]:
    release = service.release
    shown = release if release is not None and release.to_version != service.stable else None
    candidate = shown.to_version if shown else ""
    share_now = next((v.percent for v in service.versions if v.id == candidate and v.role != "fallback"), 0.0)
    yield Text(service.service, "bold")
    yield _stable(service)
    yield Text(candidate, "dim" if shown and shown.outcome != "under way" else "")
    yield _phase(release) if release else Text("at rest", "dim")
    yield _split(service, shown, share_now)
    yield f"{release.requests:,}" if release else ""
    yield Text(f"{release.hurt:,}", "red" if release.hurt else "") if release else ""


def _split(service: ServiceStatus, candidate: ReleaseView | None, share_now: float) -> RenderableType:
    if not service.address:
        return Text("no address", "dim")
    if (
        candidate is not None
        and candidate.phase == "exposed"
        and not share_now
        and candidate.strategy.startswith("A/B")
    ):
        return Text("a chosen group", "cyan")
    return SplitBar(share_now)


def _stable(service: ServiceStatus) -> Text:
    found = next((v for v in service.versions if v.role == "stable"), None)
    text = Text(service.stable or "-")
    if found is not None and not service.ready:
        text.append(f" ({found.ready}/{found.desired} ready)", "yellow")
    return text


def _phase(release: ReleaseView) -> Text:
    return Text(phase(release), PHASE_STYLES.get(release.phase, "cyan"))


def _judgement(release: ReleaseView) -> Text:
    if release.outcome != "under way" or not release.judgement:
        return Text(release.reason, "dim")
    return Text(release.judgement, VERDICT_STYLES.get(release.verdict or "", ""))


def _waits(service: ServiceStatus) -> Iterator[str]:
    """Why what is asked for is not released, or does not go on."""
    if service.note:
        yield service.note
    if service.release is not None and service.release.waits:
        yield f"{service.release.name} waits: {service.release.waits}"


def _at_gates(release: ReleaseView | None, now_s: float) -> Iterator[str]:
    """The gates that a release waits for, and those that hold it."""
    for gate in release.gates if release is not None and release.outcome == "under way" else ():
        if gate.state in WAITED_FOR:
            lasts = f" for {duration(now_s - gate.since_s)}" if gate.since_s is not None else ""
            yield f"gate {gate.name} ({gate.point}) {gate.state}{lasts}{f': {gate.message}' if gate.message else ''}"


def _below(view: PlatformStatus) -> Iterator[Text]:
    if not view.connected:
        yield Text("the proxy is not connected; what it had stays in force", "yellow")
    for problem in view.problems:
        yield Text(f"commit {view.commit[:9]} is not in force: {problem}", "red")
    for service in view.services:
        for version in service.versions:
            if version.failure:
                yield Text(f"{service.service}: {version.id} cannot run: {version.failure}", "red")
        yield from (Text(f"{service.service}: {text}", "yellow") for text in _waits(service))
        if service.preview:
            yield Text(f"{service.service}: the candidate answers at http://{service.preview}")
        if service.release is not None and service.release.phase == "asking":
            yield Text(f"{service.service}: a person is asked; {answers(service.release)}", "yellow")
        yield from (Text(f"{service.service}: {text}", "yellow") for text in _at_gates(service.release, view.at_s))
        if service.release is not None and service.release.common_trouble:
            yield Text(f"{service.service}: {service.release.common_trouble}", "yellow")
        yield from _troubles(service.troubles)
    yield from _troubles(view.troubles)


def _troubles(troubles: Iterable[Trouble]) -> Iterator[Text]:
    for trouble in troubles:
        text = Text(f"{trouble.about}: {trouble.message}", "red")
        yield text.append(f"\n  {trouble.hint}", "not red") if trouble.hint else text


def event(happened: Event) -> Text:
    """Render a line of what happened."""
    text = Text(f"{clock(happened.at_s)}  ", "dim")
    text.append(f"{happened.about}: ", "bold")
    return text.append(happened.text, STYLES[happened.kind])


def plain(text: str) -> Text:
    """Render a text that is a line of its own."""
    return Text(text, "bold")


def history(views: Sequence[ReleaseView]) -> RenderableType:
    """Render a service's releases."""
    if not views:
        return Text("no release yet: a commit that changes what the service runs begins one")
    table = Told(
        *("release", "began", "from", "to", "outcome", ">requests", ">hurt", ">detect", ">switch", "revert"),
        last="why",
        roomy=frozenset({"began", "from", ">switch"}),
    )
    for view in views:
        outcome = phase(view) if view.outcome == "under way" else view.outcome
        cells = (
            Text(view.name, "bold"),
            day_and_clock(view.started_s),
            view.from_version,
            view.to_version,
            Text(outcome, PHASE_STYLES.get(view.phase, "cyan")),
            f"{view.requests:,}",
            f"{view.hurt:,}",
            maybe(view.detect_s),
            maybe(view.switch_s) if view.outcome == "rolled back" else "",
            (view.revert_commit or view.revert_branch or "")[:9],
        )
        table.add(cells, view.name, Text(view.reason, "dim"))
    return table


def release_page(page: ReleasePage) -> RenderableType:
    """Render the story of a release, its evidence, and its timeline."""
    release = page.release
    title = Text(f"{release.name}: ", "bold").append(phase(release), PHASE_STYLES.get(release.phase, "cyan"))
    story = Table.grid(padding=(0, 2))
    story.add_column(style="bold", no_wrap=True)
    story.add_column(ratio=1)
    for heading, words in tell(page):
        story.add_row(heading, Text(words))
    parts: list[RenderableType] = [title, Text(), story]
    if release.gates:
        parts += [Text(), Text("Gates", "bold"), _gates(release)]
    if release.criteria:
        parts += [Text(), Text("Evidence", "bold"), evidence(release)]
    parts += [Text(), Text("Timeline", "bold"), _timeline(page)]
    return Group(*parts)


def _gates(release: ReleaseView) -> Table:
    table = _table("gate", "runs", "state", "since", "why")
    for gate in release.gates:
        state = Text(gate.state, GATE_STYLES.get(gate.state, ""))
        since_when = clock(gate.since_s) if gate.since_s is not None else ""
        table.add_row(gate.name, gate.point, state, since_when, gate.message)
    return table


def evidence(release: ReleaseView) -> RenderableType:
    """Render what the judgement rests on, a row for each criterion."""
    table = _table("criterion", "counted by", ">candidate bad", ">stable bad", ">evidence", ">condemns at")
    for criterion in release.criteria:
        table.add_row(
            criterion.name,
            criterion.unit,
            share(criterion.candidate_bad, criterion.candidate_total),
            share(criterion.stable_bad, criterion.stable_total),
            odds(criterion.e_value),
            odds(criterion.needed),
        )
    rounds, first = release.rounds
    if not rounds:
        return table
    words = f"Exposures: {rounds} finished; the candidate was the first of all arms to look bad in {first} of them."
    return Group(table, Text(words))


def _timeline(page: ReleasePage) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True, justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for moment in page.timeline:
        times = f" ({moment.times} times)" if moment.times > 1 else ""
        style = {"failed": "red", "seen": "yellow", "decision": "bold"}.get(moment.kind, "")
        text = Text(f"{moment.text}{times}", style)
        table.add_row(clock(moment.at_s), since(page.release.started_s, moment.at_s), moment.kind, text)
    return table


def catalogue(view: CatalogueView) -> RenderableType:
    """Render services, replicas, and who calls whom."""
    services = Narrowing(
        *("service", "address", "versions", "replica", "at", "health"),
        *(">restarts", ">cpu", ">memory", ">req/s", ">p99"),
        dispensable=("at", ">memory", ">cpu", ">restarts", ">p99", ">req/s"),
    )
    for entry in view.services:
        for cells in _entry_rows(entry):
            services.add(cells)
    if not view.calls:
        return Group(services, Text("no calls seen yet", "dim"))
    calls = _table("caller", "callee", ">req/s", ">bad", ">p50", ">p99")
    for call in view.calls:
        calls.add_row(*_call_cells(call))
    return Group(services, Text(), calls)


def _entry_rows(entry: ServiceEntry) -> Iterator[tuple[RenderableType, ...]]:
    """Give a version's replicas beside it, then those of no version that is known any more."""
    known = {version.id for version in entry.versions}
    head: tuple[RenderableType, ...] = (Text(entry.service, "bold"), entry.address or "-")
    for version in entry.versions:
        words = f"{version.id} {version.role} {percent(version.percent)} {version.ready}/{version.desired}"
        own = [replica for replica in entry.replicas if replica.version == version.id]
        rows = [_replica_cells(replica) for replica in own] or [_no_replica(shared=_shares(version, entry))]
        for cells in rows:
            yield (*head, words, *cells)
            head, words = ("", ""), ""
    others = [_replica_cells(replica) for replica in entry.replicas if replica.version not in known]
    if not others and not entry.versions:
        others = [_no_replica(shared=False)]
    for cells in others:
        yield (*head, "", *cells)
        head = ("", "")


def _shares(version: VersionView, entry: ServiceEntry) -> bool:
    """Whether it runs on another version's replicas: of the same image, and differing in mesh policy alone."""
    return bool(entry.replicas) and any(v.image == version.image and v.id != version.id for v in entry.versions)


def _no_replica(*, shared: bool) -> tuple[RenderableType, ...]:
    return (Text("shared", "dim") if shared else Text("no replica", "yellow"), *[""] * 7)


def _replica_cells(replica: ReplicaView) -> tuple[RenderableType, ...]:
    return (
        replica.name,
        replica.address or "",
        Text(replica.phase, "green" if replica.phase == "ready" else "yellow"),
        str(replica.restarts),
        "" if replica.cpu_percent is None else f"{replica.cpu_percent:.0f} %",
        size(replica.memory_bytes),
        f"{replica.rate_per_s:.1f}",
        _ms(replica.p99_ms),
    )


def _call_cells(call: CallView) -> tuple[RenderableType, ...]:
    bad = share(call.bad, call.requests) if call.requests else ""
    caller = call.caller or "(outside)"
    return caller, call.callee, f"{call.rate_per_s:.1f}", bad, _ms(call.p50_ms), _ms(call.p99_ms)


def _ms(value: float | None) -> str:
    return "" if value is None else duration(value / 1000)


def replayed(found: Replayed) -> RenderableType:
    """Render what a replay found."""
    if found.matches:
        whole = f"{found.release}: all {found.passes:,} passes recomputed, every decision as recorded"
        if found.gaps:
            whole += f"; at {found.gaps} places passes are missing, as `sternway release show {found.release}` tells"
        return Text(whole, "yellow" if found.gaps else "green")
    head = f"{found.release}: {len(found.mismatches)} of {found.passes:,} passes came out differently"
    table = _table(">line", "at", "differs in", "recorded", "recomputed")
    for mismatch in found.mismatches:
        at, names = clock(mismatch.at_s), ", ".join(mismatch.fields)
        table.add_row(str(mismatch.seq), at, names, mismatch.recorded, mismatch.recomputed)
    return Group(Text(head, "red"), table)


def _table(*columns: str) -> Table:
    """Make a plain table; `>name` is a column of numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim", pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table
