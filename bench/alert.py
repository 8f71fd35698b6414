"""From an alert to the end of the candidate's traffic: a real Alertmanager, told of the alert as Prometheus would tell it.

Sternway learns of it by webhook, or by asking Alertmanager's API every five seconds. The candidate is healthy, so the alert
alone takes it back. What counts is what visitors saw: when the last request was sent that the candidate answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from bench import manifests
from bench.platform import Platform, running
from bench.results import Result, quantile
from bench.visitors import visitors

NAME = "shop"
RATE_PER_S = 200.0
STEP: list[dict[str, float]] = [{"percent": 50, "minRequests": 1_000_000}]
PROGRAMS = ("prometheus-alertmanager", "alertmanager")
GOAL_WEBHOOK_S, GOAL_ASKED_S = 1.0, 6.0
WITHIN_S = 60.0
_TOKEN = "measured"  # noqa: S105 - of a server that lives for the bench


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Raise an alert on each of some releases, told and asked for."""
    return asyncio.run(_run(3 if quick else 15))


async def _run(count: int) -> list[Result]:
    results = []
    for way, goal in (("webhook", GOAL_WEBHOOK_S), ("asked every 5 s", GOAL_ASKED_S)):
        took = await _measure(count, webhook=way == "webhook")
        what = f"alert to the last request that the candidate answered, {way}"
        results += [
            Result(name=f"{what}, median of {count}", value=round(quantile(took, 0.5), 2), unit="s", goal=goal),
            Result(name=f"{what}, slowest", value=round(max(took), 2), unit="s"),
        ]
    return results


async def _measure(count: int, *, webhook: bool) -> list[float]:
    with TemporaryDirectory(prefix="sternway-bench-") as name:
        folder, hook = Path(name), f"127.0.0.1:{_free_port()}"
        async with _alertmanager(folder, hook) as url:
            told: dict[str, Any] = {"alertmanager": url}
            if webhook:
                told = {"webhook": {"listen": hook, "tokenFile": str(folder / "token")}}
            async with running(_files(told)) as platform:
                await platform.ready()
                async with visitors(await platform.address(NAME), RATE_PER_S) as visit:
                    raised = [await _one(platform, url, f"{number}-e0") for number in range(1, count + 1)]
    return [max(seen.at_s for seen in visit.answers if seen.version == tag) - at_s for tag, at_s in raised]


def _files(told: dict[str, Any]) -> dict[str, str]:
    files = manifests.images(NAME) | manifests.service(NAME)
    files |= manifests.guard(NAME, steps=STEP, key=True, shield=False, latency=False)
    guard = json.loads(files[f"{NAME}-guard.yaml"])
    guard["spec"]["alerts"] = [{"match": {"alertname": "OrdersRefused"}, "onAlert": "rollback"}]
    return files | {f"{NAME}-guard.yaml": json.dumps(guard), "monitoring.yaml": json.dumps(told)}


async def _one(platform: Platform, url: str, tag: str) -> tuple[str, float]:
    """Release a version, raise an alert on it, and wait for its end; gives when Alertmanager was told."""
    release = asyncio.create_task(platform.release(NAME, tag))

    def exposed(found: dict[str, Any]) -> bool:
        one: dict[str, Any] = (found["services"][0]["release"] if found else None) or {}
        return one.get("phase") == "exposed" and one["to_version"].startswith(tag) and one["requests"] > 0

    await platform.until(exposed, WITHIN_S)
    now = datetime.now(UTC)
    labels = {"alertname": "OrdersRefused", "service": NAME, "version": tag}
    alert = {"labels": labels, "startsAt": now.isoformat(), "endsAt": (now + timedelta(minutes=5)).isoformat()}
    at_s = time.time()
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v2/alerts", json=[alert]) as answer:
        answer.raise_for_status()
    told = await release
    if told["outcome"] != "rolled back":
        msg = f"the release of {tag} was {told['outcome']}: {told['reason']}"
        raise RuntimeError(msg)
    return tag, at_s


@contextlib.asynccontextmanager
async def _alertmanager(folder: Path, hook: str) -> AsyncIterator[str]:
    """Run an Alertmanager that tells the webhook at once."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        msg = f"this bench needs Alertmanager: none of {', '.join(PROGRAMS)} is on the PATH"
        raise RuntimeError(msg)
    (folder / "token").write_text(_TOKEN)
    authorization = {"authorization": {"credentials": _TOKEN}}
    receiver = {"url": f"http://{hook}/v1/alerts", "send_resolved": True, "http_config": authorization}
    route = {"receiver": "sternway", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    config = {"route": route, "receivers": [{"name": "sternway", "webhook_configs": [receiver]}]}
    (folder / "alertmanager.yaml").write_text(json.dumps(config))
    address = f"127.0.0.1:{_free_port()}"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'alertmanager.yaml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
            stdout=log,
            stderr=log,
        )
    try:
        await _ready(f"http://{address}", process)
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(WITHIN_S), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    msg = f"Alertmanager ended with {process.returncode}"
    raise RuntimeError(msg)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
