"""Real monitoring for the end-to-end tests: Prometheus and Alertmanager, and who tells Prometheus what to scrape."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from whole_world import Platform

from free_ports import free_port
from sternway.domain.releases import Phase

SCRAPE = "500ms"


class Program:
    """A monitoring program: started, killed, started again on the same port."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.tls: ssl.SSLContext | None = None
        self.more: tuple[str, ...] = ()
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def arguments(self) -> list[str]:
        """What it is started with."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        program = shutil.which(self._name)
        assert program, f"{self._name} is needed: scripts/setup.sh dev installs it"
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [program, *self.arguments(), *self.more], stdout=log, stderr=log, cwd=self.folder
        )
        log.close()
        deadline = time.monotonic() + 60
        while self.get("/-/ready") is None:
            said = (self.folder / "log").read_text(errors="replace")
            assert self._process.poll() is None, f"{self._name} ended: {said}"
            assert time.monotonic() < deadline, f"{self._name} is not ready: {said}"
            time.sleep(0.05)

    def demand_certificates(self, made: Path) -> None:
        """From its start on speak TLS alone, and to nobody but who shows a certificate of the authority in this folder."""
        server = {"cert_file": str(made / "server.pem"), "key_file": str(made / "server.key")}
        both = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": str(made / "ca.pem")}
        (self.folder / "web.yaml").write_text(yaml.safe_dump({"tls_server_config": server | both}))
        self.more = (f"--web.config.file={self.folder / 'web.yaml'}",)
        self.url = self.url.replace("http://", "https://")
        self.tls = ssl.create_default_context(cafile=made / "ca.pem")
        self.tls.load_cert_chain(made / "client.pem", made / "client.key")

    def kill(self) -> None:
        """Kill it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, path: str) -> bytes | None:
        """GET a path; None when there is no good answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30, context=self.tls) as answer:
                return bytes(answer.read())
        except OSError:
            return None

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, str]:
        """POST JSON; gives the status and the text."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


class Prometheus(Program):
    """A Prometheus that scrapes what its file of targets names."""

    def __init__(self, folder: Path, *, rules: dict[str, Any] | None = None, alertmanager: str | None = None) -> None:
        super().__init__("prometheus", folder, free_port())
        self.targets: set[str] = set()
        self.labels: dict[str, str] = {}
        config: dict[str, Any] = {
            "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
            "scrape_configs": [
                {"job_name": "services", "file_sd_configs": [{"files": [str(folder / "targets.json")]}]}
            ],
        }
        if rules:
            (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
            config["rule_files"] = [str(folder / "rules.yaml")]
        if alertmanager:
            config["alerting"] = {
                "alertmanagers": [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]
            }
        self.scrape(set())
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))

    def arguments(self) -> list[str]:
        """See Program."""
        return [
            f"--config.file={self.folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def forget(self) -> None:
        """Lose everything that was measured."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def scrape(self, targets: set[str]) -> None:
        """From now on scrape these."""
        self.targets = targets
        draft = self.folder / "targets.new"
        draft.write_text(json.dumps([{"targets": sorted(targets), "labels": self.labels}]))
        draft.replace(self.folder / "targets.json")

    def value(self, query: str) -> float | None:
        """Ask for one value."""
        answer = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        found = json.loads(answer)["data"]["result"] if answer else []
        return float(found[0]["value"][1]) if found else None


class Alertmanager(Program):
    """An Alertmanager that tells a webhook of everything at once."""

    def __init__(self, folder: Path, *, webhook: str = "", token: str = "") -> None:
        super().__init__("prometheus-alertmanager", folder, free_port())
        hook: dict[str, Any] = {"url": webhook, "send_resolved": True}
        hook["http_config"] = {"authorization": {"credentials": token}}
        config = {
            "route": {
                "receiver": "sternway",
                "group_by": ["..."],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "sternway", **({"webhook_configs": [hook]} if webhook else {})}],
        }
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))

    def arguments(self) -> list[str]:
        """See Program."""
        return [
            f"--config.file={self.folder / 'alertmanager.yaml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=debug",
        ]

    def silence(self, **labels: str) -> None:
        """Silence every alert that has these labels."""
        matchers = [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()]
        now = datetime.now(UTC)
        ends = now + timedelta(hours=1)
        body = {
            "matchers": matchers,
            "startsAt": now.isoformat(),
            "endsAt": ends.isoformat(),
            "createdBy": "ada",
            "comment": "known",
        }
        status, said = self.post("/api/v2/silences", body)
        assert status == 200, said

    def alerts(self) -> list[dict[str, Any]]:
        """What it knows of."""
        return list(json.loads(self.get("/api/v2/alerts") or b"[]"))


class Faulty:
    """Stands before a monitoring system and plays its troubles: `fault` is None, a status, or `slow`.

    ahead_s: how much its clock is ahead of ours; what is asked and answered of Prometheus is moved by that.
    """

    def __init__(self, behind: str, *, ahead_s: float = 0.0) -> None:
        self.fault: int | str | None = None
        self.ahead_s = ahead_s
        self.asked = 0
        self.url = ""
        self._behind = behind
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        port = free_port()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.fault == "slow":
            await asyncio.sleep(60)
        if isinstance(self.fault, int):
            return web.json_response({"status": "error", "error": "made to fail"}, status=self.fault)
        body: Any = await request.read()
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        if self.ahead_s and request.path == "/api/v1/query":
            return await self._skewed(await request.post())
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self._behind + request.path_qs, data=body, headers=headers) as answer,
        ):
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    async def _skewed(self, form: Mapping[str, Any]) -> web.Response:
        """Ask as of our time, and date the answer by the other clock."""
        asked = {"query": str(form["query"])}
        if "time" in form:
            asked["time"] = str(float(form["time"]) - self.ahead_s)
        url = self._behind + "/api/v1/query"
        async with aiohttp.ClientSession() as session, session.post(url, data=asked) as answer:
            found = await answer.json()
        data = found["data"]
        if data["resultType"] == "scalar":
            data["result"] = [data["result"][0] + self.ahead_s, str(float(data["result"][1]) + self.ahead_s)]
        else:
            for series in data["result"]:
                for sample in [series["value"]] if "value" in series else series["values"]:
                    sample[0] += self.ahead_s
        return web.json_response(found)


@contextlib.asynccontextmanager
async def scraping(prometheus: Prometheus, platform: Platform, *services: str) -> AsyncIterator[None]:
    """Tell Prometheus of the replicas that there are, as service discovery would."""

    async def follow() -> None:
        while True:
            states = [state for name in services for state in await platform.sternway.platform.describe(name)]
            found = {f"127.0.0.1:{one.port}" for state in states for one in state.replicas if one.port}
            if found != prometheus.targets:
                prometheus.scrape(found)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def exposed_and_measured(platform: Platform, service: str, more: int = 0) -> None:
    """Wait until the candidate has traffic and its ratio has been counted, `more` orders beyond what it has now."""
    await platform.reaches(service, Phase.EXPOSED)
    first = (await platform.last(service)).evidence.measured.ratios
    enough = (first[0].release.candidate_total if first else 0) + max(1, more)

    async def counted() -> bool:
        ratios = (await platform.last(service)).evidence.measured.ratios
        return bool(ratios) and ratios[0].release.candidate_total >= enough

    await platform.until(counted, "the candidate's orders are counted")


async def blind(platform: Platform, service: str, why: str) -> None:
    """Wait until the release is blind for that reason."""

    async def there() -> bool:
        release = await platform.last(service)
        return release is not None and release.blind_since_s is not None and why in release.blind_to

    await platform.until(there, f"{service} is blind: {why}")


async def sighted(platform: Platform, service: str) -> None:
    """Wait until the release sees again."""

    async def there() -> bool:
        return (await platform.last(service)).blind_since_s is None

    await platform.until(there, f"{service} sees again")
