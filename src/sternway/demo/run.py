"""`sternway demo`: a small shop behind a real Envoy, released by committing; bad releases are taken back, live."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from sternway.bootstrap import Settings, Sternway, alerts_can_be_seen
from sternway.cli import render
from sternway.cli.events import Event, events
from sternway.cli.session import Code, console
from sternway.control.status import PlatformStatus, ReleaseView, release_view
from sternway.demo.alerted import Lost, listening, measure, watch_orders
from sternway.demo.load import Load
from sternway.demo.origin import Origin
from sternway.demo.scenarios import SCENARIOS, Scenario
from sternway.domain.monitoring import Own
from sternway.domain.releases import Release
from sternway.errors import SternwayError
from sternway.web import watch

RATE_PER_S = 150.0
WARM_UP_S = 4.0
PATIENCE_S = 120.0
START_S = 60.0
LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a scenario ended; release is None when nothing was released in time."""

    scenario: Scenario
    release: ReleaseView | None
    lost: Lost | None = None

    @property
    def as_it_should(self) -> bool:
        """The outcome is the scenario's, and reached in its way."""
        if self.scenario.by_alert and self.lost is None:
            return False
        return self.release is not None and self.release.outcome == self.scenario.outcome


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every release ended as it should, 1 otherwise."""
    options = _parser().parse_args(words)
    chosen = [s for s in SCENARIOS if not options.scenario or s.name in options.scenario]
    try:
        return asyncio.run(Demo(chosen, fast=options.fast, rate_per_s=options.rate, output=options.output).run())
    except SternwayError as error:
        print(f"sternway demo: {error}", file=sys.stderr)  # noqa: T201  the demo is a program of its own
        return 1
    except KeyboardInterrupt:
        return Code.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(
        prog="sternway demo",
        description="A small shop behind a real Envoy, released by committing; bad releases are taken back, live.",
        epilog="examples: sternway demo --fast | sternway demo --scenario errors --output json",
    )
    parser.add_argument("--fast", action="store_true", help="release different services at the same time (under 90 s)")
    parser.add_argument(
        "--scenario", action="append", choices=names, metavar="NAME", help=f"only this one: {', '.join(names)}"
    )
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="requests per second (default: %(default)g)")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="json: one object, nothing else")
    return parser


class Demo:
    """One run."""

    def __init__(self, scenarios: Sequence[Scenario], *, fast: bool, rate_per_s: float, output: str) -> None:
        by_alert = [scenario for scenario in scenarios if scenario.by_alert]
        self._skipped = [] if alerts_can_be_seen() else by_alert
        self._scenarios = [scenario for scenario in scenarios if scenario not in self._skipped]
        self._with_alerts = any(scenario.by_alert for scenario in self._scenarios)
        self._fast = fast
        self._rate_per_s = rate_per_s
        self._json = output == "json"
        self._out = console(stderr=self._json)
        self._lines: list[Event] = []
        self._title = Text("starting the shop: web -> orders -> stock, behind a real Envoy", "bold")
        self._status: PlatformStatus | None = None
        self._load: Load | None = None
        self._all_ready = asyncio.Event()

    async def run(self) -> int:
        """Everything, from an empty folder to the table."""
        if not self._scenarios:
            self._report([])
            return 0
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="sternway-demo-"))
        origin = Origin(folder)
        await origin.create()
        own = None if self._with_alerts else Own.OFF
        if self._with_alerts:
            await watch_orders(origin)
        sternway = Sternway(Settings(source=origin.url, home=origin.clone, prometheus=own), say=lambda _: None)
        try:
            with self._live():
                ended = await self._story(sternway, origin)
        finally:
            await sternway.close(stop=True)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._report(ended)
        return 0 if len(ended) == len(self._scenarios) and all(one.as_it_should for one in ended) else 1

    async def _story(self, sternway: Sternway, origin: Origin) -> list[Ended]:
        await sternway.start()
        watching = asyncio.create_task(self._watch(sternway))
        try:
            async with asyncio.timeout(START_S):
                await self._all_ready.wait()
            self._load = Load(f"http://{sternway.router.address('web')}", rate_per_s=self._rate_per_s)
            loading = asyncio.create_task(self._load.run())
            self._say(f"{self._rate_per_s:g} requests per second come to the shop")
            await asyncio.sleep(WARM_UP_S)
            async with listening(sternway):
                ended = await self._releases(sternway, origin)
            self._load.stop()
            await loading
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return ended

    async def _releases(self, sternway: Sternway, origin: Origin) -> list[Ended]:
        """One after the other; `fast`: one after the other for each service, the services at the same time."""
        git = asyncio.Lock()
        if not self._fast:
            groups = together(self._scenarios)
            ended = [
                await asyncio.gather(*(self._release(sternway, origin, scenario, git) for scenario in group))
                for group in groups
            ]
            return [one for group in ended for one in group]
        services = dict.fromkeys(scenario.service for scenario in self._scenarios)

        async def lane(service: str) -> list[Ended]:
            mine = [scenario for scenario in self._scenarios if scenario.service == service]
            return [await self._release(sternway, origin, scenario, git) for scenario in mine]

        lanes = await asyncio.gather(*(lane(service) for service in services))
        by_name = {one.scenario.name: one for one_lane in lanes for one in one_lane}
        return [by_name[scenario.name] for scenario in self._scenarios]

    async def _release(self, sternway: Sternway, origin: Origin, scenario: Scenario, git: asyncio.Lock) -> Ended:
        self._say(f"{scenario.service}: {scenario.title} ({scenario.name})")
        before = (await sternway.reconciler.progress(scenario.service)).releases
        stable = (await sternway.reconciler.progress(scenario.service)).stable
        async with git:
            old = scenario.old.replace("{now}", stable.workload.tag if stable else "")
            await origin.change(scenario.file, old, scenario.new, scenario.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    progress = await sternway.reconciler.progress(scenario.service)
                    if progress.release and progress.releases > before and progress.release.phase.over:
                        return await self._ended(sternway, scenario, progress.release)
                    await asyncio.sleep(0.05)
        progress = await sternway.reconciler.progress(scenario.service)
        release = progress.release if progress.releases > before else None
        return Ended(scenario=scenario, release=release_view(release, sternway.clock.now()) if release else None)

    async def _ended(self, sternway: Sternway, scenario: Scenario, release: Release) -> Ended:
        shown = release_view(release, sternway.clock.now())
        answers = self._load.answers if self._load and scenario.by_alert else ()
        return Ended(
            scenario=scenario, release=shown, lost=await measure(sternway, shown, answers) if answers else None
        )

    async def _watch(self, sternway: Sternway) -> None:
        async for now in watch.watch(sternway, at_least_every_s=0.5):
            for happened in events(self._status, now):
                self._tell(happened)
            self._status = now
            if now.ready:
                self._all_ready.set()

    def _say(self, text: str) -> None:
        self._title = Text(text, "bold")
        if not self._out.is_terminal:
            self._out.print(self._title, soft_wrap=True)

    def _tell(self, happened: Event) -> None:
        self._lines = [*self._lines, happened][-LINES:]
        if not self._out.is_terminal:
            self._out.print(render.event(happened), soft_wrap=True)

    @contextlib.contextmanager
    def _live(self) -> Any:
        if not self._out.is_terminal:
            yield
            return
        with Live(get_renderable=self._picture, console=self._out, refresh_per_second=5, transient=True):
            yield

    def _picture(self) -> RenderableType:
        parts: list[RenderableType] = [self._title, Text("")]
        if self._status is not None:
            parts.append(render.status(self._status))
        parts += [Text(""), *(render.event(line) for line in self._lines)]
        if self._load is not None:
            parts.append(Text(f"\nvisitors: {self._load.answered:,} answered, {self._load.failed:,} failed", "dim"))
        return Group(*parts)

    def _report(self, ended: Sequence[Ended]) -> None:
        if self._json:
            found = {
                "releases": [_json(one) for one in ended],
                "skipped": [{"scenario": one.name, "why": _skipped(one)} for one in self._skipped],
                "visitors": self._visitors(),
            }
            print(json.dumps(found, indent=2))  # noqa: T201
            return
        if ended:
            self._out.print(table(ended))
            seen = self._visitors()
            self._out.print(
                f"{seen['answered']:,} requests of visitors were answered, {seen['failed']:,} of them badly "
                "(on a good day each of its three services fails one request in a thousand)."
            )
        for one in ended:
            if one.lost is not None and one.release is not None:
                self._out.print(
                    f"{one.release.name}: the alert fired {_seconds(one.lost.alert_s)} after the first lost order, and "
                    f"the version had no traffic any more after {_seconds(one.lost.back_s)}."
                )
        for scenario in self._skipped:
            self._out.print(Text(_skipped(scenario), "yellow"), soft_wrap=True)
        wrong = [one.scenario.name for one in ended if not one.as_it_should]
        self._out.print(
            Text(f"not as it should be: {', '.join(wrong)}", "red")
            if wrong
            else Text("everything ended as it should", "green")
        )

    def _visitors(self) -> dict[str, int]:
        load = self._load
        return {"answered": load.answered, "failed": load.failed} if load else {"answered": 0, "failed": 0}


def together(scenarios: Sequence[Scenario]) -> list[list[Scenario]]:
    """One after the other, but for those that may go on beside the one before."""
    groups: list[list[Scenario]] = []
    for scenario in scenarios:
        if scenario.beside and groups and scenario.service not in [one.service for one in groups[-1]]:
            groups[-1].append(scenario)
        else:
            groups.append([scenario])
    return groups


def _skipped(scenario: Scenario) -> str:
    programs = "prometheus and prometheus-alertmanager"
    return f"skipped: {scenario.title} ({scenario.name}): only an alert shows it, and {programs} are not both installed"


def table(ended: Sequence[Ended]) -> RenderableType:
    """Per release what was decided, why, who was hurt, and how long it took."""
    shown = render.Told(
        "release", "what was committed", "outcome", ">requests", ">hurt", ">detect", ">switch", "revert", last="why"
    )
    for one in ended:
        release = one.release
        style = "green" if one.as_it_should else "red"
        if release is None:
            cells = (one.scenario.service, one.scenario.title, Text("no release", style), "", "", "", "", "")
            shown.add(cells, one.scenario.service, Text("nothing was released in time", style))
            continue
        cells = (
            release.name,
            one.scenario.title,
            Text(release.outcome, style),
            f"{release.requests:,}",
            f"{release.hurt:,}",
            _seconds(release.detect_s),
            _seconds(release.switch_s),
            (release.revert_commit or "-")[:9],
        )
        shown.add(cells, release.name, Text(release.reason, "dim"))
    return shown


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _json(one: Ended) -> dict[str, Any]:
    release = one.release
    return {
        "scenario": one.scenario.name,
        "service": one.scenario.service,
        "version": release.to_version if release else None,
        "outcome": release.outcome if release else "no release",
        "expected": one.scenario.outcome,
        "reason": release.reason if release else "nothing was released in time",
        "requests": release.requests if release else 0,
        "hurt": release.hurt if release else 0,
        "detectSeconds": release.detect_s if release else None,
        "switchSeconds": release.switch_s if release else None,
        "revertCommit": release.revert_commit if release else None,
        "alertSeconds": one.lost.alert_s if one.lost else None,
        "backSeconds": one.lost.back_s if one.lost else None,
    }
