"""READ THIS FIRST: the local platform's own Prometheus and Alertmanager, where there are no others. Made by bootstrap.

A task looks once a second, and sooner when replicas come and go, what shall run and what it shall be told: it writes what
differs and has the programs read it again. Nothing waits for it: while a program is away a release is blind, as with any other
Prometheus.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sternway.domain import monitoring
from sternway.domain.monitoring import Monitoring, Own, RuleFile, Scrape, Webhook
from sternway.domain.releases import Progress
from sternway.domain.traffic import Endpoint
from sternway.errors import Refused
from sternway.platforms.local import monitoring_config as config
from sternway.platforms.local.network import ADDRESS, Ports
from sternway.platforms.local.program import Program

LOOK_EVERY_S = 1.0
_NAMES = ("prometheus", "alertmanager")
_HINT = "install it (apt install {}), name the program in {}, or leave `start` out"
_ABSENT = "{} is not found on this machine"
_UNHEARD = "is not found on this machine, so nobody hears of the alerts of your rules\n  install it (apt install prometheus-alertmanager), or write `alertmanager: off`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The programs of this machine; None for what is not there."""

    prometheus: str | None
    alertmanager: str | None
    promtool: str | None


def find() -> Found:
    """Look for the programs: named by STERNWAY_PROMETHEUS and STERNWAY_ALERTMANAGER (empty: none), or on the PATH."""
    return Found(
        prometheus=_program("STERNWAY_PROMETHEUS", "prometheus"),
        alertmanager=_program("STERNWAY_ALERTMANAGER", "prometheus-alertmanager", "alertmanager"),
        promtool=shutil.which("promtool"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is asked at each look.

    told: what Git and the command line say of the monitoring systems. envoy, metrics: where Envoy's and Sternway's own
    figures are. trouble: told what a part cannot do, "" when it can.
    """

    told: Callable[[], Monitoring]
    scrapes: Callable[[], Sequence[Scrape]]
    rules: Callable[[], Sequence[RuleFile]]
    progress: Callable[[str], Awaitable[Progress]]
    envoy: Callable[[], str | None]
    metrics: Callable[[], str | None] = lambda: None
    trouble: Callable[[str, str], None] = lambda _about, _text: None


class OwnMonitoring:
    """See the module."""

    def __init__(self, *, folder: Path, around: Around) -> None:
        self._folder = folder
        self._around = around
        self._found = find()
        self._programs: dict[str, Program] = {}
        self._written: dict[str, str] = {}
        self._webhook: Webhook | None = None
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._event = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def insist(self, *, prometheus: bool, alertmanager: bool) -> None:
        """Raise Refused when a program that a person asks for is not there."""
        for wanted, name, found, package in (
            (prometheus, "Prometheus", self._found.prometheus, "prometheus"),
            (alertmanager, "Alertmanager", self._found.alertmanager, "prometheus-alertmanager"),
        ):
            if wanted and found is None:
                raise Refused(_ABSENT.format(name), hint=_HINT.format(package, f"STERNWAY_{name.upper()}"))

    def start(self) -> None:
        """Begin to look; returns at once."""
        self._looking = asyncio.create_task(self._look_on(), name="own monitoring")

    async def close(self, *, stop: bool) -> None:
        """Let go of the programs; `stop` ends them too, also those of an earlier Sternway that were not looked at yet."""
        if self._looking is None:
            return
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        self._looking = None
        await asyncio.gather(*(program.close(stop=stop) for program in self._programs.values()))
        if stop:
            await asyncio.gather(*(self._end_left(name) for name in _NAMES if name not in self._programs))

    def set_endpoints(self, workload_id: str, endpoints: Sequence[Endpoint]) -> None:
        """Take in which replicas of a workload take traffic."""
        if endpoints:
            self._endpoints[workload_id] = tuple(endpoints)
        else:
            self._endpoints.pop(workload_id, None)
        self._event.set()

    def with_own(self, told: Monitoring) -> Monitoring:
        """Add the programs of our own to what there is."""
        return replace(
            told,
            prometheus=told.prometheus or self._endpoint("prometheus"),
            alertmanager=told.alertmanager or self._endpoint("alertmanager"),
            webhook=told.webhook or (self._webhook if "alertmanager" in self._programs else None),
        )

    # Looking ----------------------------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        while True:
            try:
                await self._look()
            except OSError as exc:
                self._around.trouble("monitoring", f"{exc.filename} cannot be written: {exc.strerror}")
            except Exception:  # noqa: BLE001  a bug here must not end it for ever; it is shown in `status`
                self._around.trouble("monitoring", traceback.format_exc())
            else:
                self._around.trouble("monitoring", "")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._event.wait()
            self._event.clear()

    async def _look(self) -> None:
        told = self._around.told()
        prometheus = _wanted(told.prometheus, told.own_prometheus, self._found.prometheus)
        beside = told.own_alertmanager is Own.START or (prometheus is not None and told.own_alertmanager is Own.FOUND)
        alertmanager = self._found.alertmanager if beside and told.alertmanager is None else None
        await self._have("alertmanager", alertmanager)
        await self._have("prometheus", prometheus)
        if (running := self._programs.get("alertmanager")) is not None:
            hook = told.webhook or self._own_webhook()
            if self._write("alertmanager.yml", config.alertmanager_config(hook)):
                running.reload()
        if (running := self._programs.get("prometheus")) is not None:
            await self._tell_prometheus(running, told)
        for program in self._programs.values():
            program.start()
        self._say_troubles(told)

    async def _have(self, name: str, program: str | None) -> None:
        """Have a program or none. One that is new is started later, once it is configured."""
        running = self._programs.get(name)
        if program is None:
            if running is not None:
                del self._programs[name]
                await running.close(stop=True)
            await self._end_left(name)
        elif running is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._programs[name] = self._make(name, program)
            await self._programs[name].prepare()

    async def _end_left(self, name: str) -> None:
        if (self._folder / f"{name}.json").exists():
            await self._make(name, "").end_left()

    def _make(self, name: str, program: str) -> Program:
        command = config.prometheus_command if name == "prometheus" else config.alertmanager_command
        return Program(
            name,
            folder=self._folder,
            command=lambda port: command(program, self._folder, port),
            changed=self._event.set,
        )

    async def _tell_prometheus(self, prometheus: Program, told: Monitoring) -> None:
        scrapes = self._around.scrapes()
        places = {scrape.service: await self._around.progress(scrape.service) for scrape in scrapes}
        self._write("targets.json", config.targets(scrapes, places, self._endpoints))
        wanted = config.prometheus_config(
            targets=self._folder / "targets.json",
            rules=self._write_rules(self._around.rules()),
            envoy=self._around.envoy(),
            metrics=self._around.metrics(),
            alertmanager=told.alertmanager or self._endpoint("alertmanager"),
        )
        if self._write("prometheus.yml", wanted):
            prometheus.reload()

    def _write_rules(self, rules: Sequence[RuleFile]) -> list[Path]:
        """Write the rules of a commit into a folder of their own, so that Prometheus never reads half of two commits."""
        if not rules:
            return []
        digest = hashlib.sha256(json.dumps([(rule.path, rule.text) for rule in rules]).encode()).hexdigest()[:12]
        folder = self._folder / "rules" / digest
        if not folder.exists():
            draft = folder.with_name("new")
            shutil.rmtree(draft, ignore_errors=True)
            for rule in rules:
                path = draft / rule.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(rule.text, encoding="utf-8")
            others = sorted(folder.parent.iterdir(), key=lambda one: one.stat().st_mtime)
            for old in [one for one in others if one != draft][:-1]:  # the last one may still be read
                shutil.rmtree(old, ignore_errors=True)
            draft.rename(folder)
        return [folder / rule.path for rule in rules]

    def _write(self, name: str, value: object) -> bool:
        """Replace a file when it differs; whether it did."""
        path, text = self._folder / name, json.dumps(value, indent=1) + "\n"
        if self._written.get(name) == text:
            return False
        draft = path.with_name(f"{name}.new")
        draft.write_text(text)
        draft.replace(path)
        self._written[name] = text
        return True

    def _own_webhook(self) -> Webhook:
        """Choose where our Alertmanager reaches us, and the token by which it is known."""
        token = self._folder / "webhook-token"
        if not token.exists():
            draft = token.with_name("webhook-token.new")
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
            draft.replace(token)
        if self._webhook is None:
            self._webhook = Webhook(listen=f"{ADDRESS}:{Ports().take()}", token_file=str(token))
        return self._webhook

    def _say_troubles(self, told: Monitoring) -> None:
        stated = {"prometheus": told.own_prometheus, "alertmanager": told.own_alertmanager}
        for name, own in stated.items():
            program = self._programs.get(name)
            if program is not None:
                text = f"{program.trouble}\n  its log: {program.log}" if program.trouble else ""
            else:
                text = _ABSENT.format("it shall be started, and") if own is Own.START else ""
            self._around.trouble(name, text)
        heard = told.alertmanager or "alertmanager" in self._programs or told.own_alertmanager is not Own.FOUND
        if "prometheus" in self._programs and not heard and any("alert:" in rule.text for rule in self._around.rules()):
            self._around.trouble("alertmanager", _UNHEARD)

    def _endpoint(self, name: str) -> monitoring.Endpoint | None:
        program = self._programs.get(name)
        return monitoring.Endpoint(url=f"http://{ADDRESS}:{program.port}") if program and program.port else None


def _wanted(other: monitoring.Endpoint | None, own: Own, found: str | None) -> str | None:
    return found if other is None and own is not Own.OFF else None


def _program(variable: str, *names: str) -> str | None:
    named = os.environ.get(variable)
    candidates = names if named is None else (named,)
    return next((found for name in candidates if name and (found := shutil.which(name))), None)
