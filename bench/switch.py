"""From a decision to the last request on the bad version, through the real router and the real Envoy, under load.

The decision is the moment before `EnvoyRouter.apply` is called. The last request is the last that arrives at a replica
of the bad version, by the replica's own note of the monotonic clock. Access log and routing share this process's event
loop, as in the product; visitors and replicas have processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.manifests import SERVICE
from bench.results import Result, quantile
from bench.visitors import Visit, visitors
from sternway.clock import SystemClock
from sternway.domain.mesh import MeshPolicy
from sternway.domain.tallies import Question
from sternway.domain.traffic import Endpoint, ShieldPlan, Split, TrafficPlan
from sternway.domain.versions import Service, Version, Workload
from sternway.signals.envoy_access_log import EnvoyAccessLog
from sternway.signals.naming import OwnNames
from sternway.traffic.envoy import EnvoyRouter

RATE_PER_S = 500.0
BAD_PERCENT = 50.0
EXPOSED_S = 0.12
AWAY_S = 0.15


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Switch again and again between half of the traffic and none."""
    decided, acknowledged, visit = asyncio.run(_switches(20 if quick else 200))
    arrived = sorted(a.arrived_s for a in visit.answers if a.version == "bad-e0" and a.arrived_s is not None)
    last = [_last_ms(arrived, at_s) for at_s in decided]
    failed = sum(answer.failed for answer in visit.answers)
    sent = len(visit.answers)
    return [
        Result(name="decision to last bad request, median", value=round(quantile(last, 0.5), 2), unit="ms", goal=20),
        Result(name="decision to last bad request, p99", value=round(quantile(last, 0.99), 2), unit="ms", goal=100),
        Result(name=f"failed requests of {sent} in {len(last)} switches", value=failed, unit="requests", goal=0),
        Result(name="requests that arrived at the bad version", value=len(arrived), unit="requests"),
        Result(
            name="decision to Envoy's acknowledgement, median", value=round(quantile(acknowledged, 0.5), 2), unit="ms"
        ),
    ]


def _last_ms(arrived: list[float], decided_s: float) -> float:
    """Milliseconds until the last arrival before the next exposure; 0 when none came after the decision."""
    return max((1000.0 * (at - decided_s) for at in arrived if decided_s < at < decided_s + AWAY_S), default=0.0)


async def _switches(count: int) -> tuple[list[float], list[float], Visit]:
    stable, bad = _version("good-e0"), _version("bad-e0")
    exposed = _plan(stable, bad, BAD_PERCENT)
    away = _plan(stable, bad, 0.0)
    decided, acknowledged = [], []
    async with _mesh() as (router, signals), _replica(stable) as one, _replica(bad) as other:
        router.set_endpoints(stable.workload.id, [one])
        router.set_endpoints(bad.workload.id, [other])
        await router.apply(away)
        signals.ask("bench", Question(stable=stable.id, candidate=bad.id))
        async with visitors(router.address("bench") or "", RATE_PER_S) as visit:
            await asyncio.sleep(3.0)
            for _ in range(count):
                await router.apply(exposed)
                await asyncio.sleep(EXPOSED_S)
                decided.append(time.monotonic())
                await router.apply(away)
                acknowledged.append(1000.0 * (time.monotonic() - decided[-1]))
                await asyncio.sleep(AWAY_S)
    return decided, acknowledged, visit


@contextlib.asynccontextmanager
async def _mesh() -> AsyncIterator[tuple[EnvoyRouter, EnvoyAccessLog]]:
    with TemporaryDirectory(prefix="swb") as name:
        signals = EnvoyAccessLog(SystemClock(), OwnNames(lambda _: ""), lambda _: None)
        router = EnvoyRouter(state_dir=Path(name) / "s", run_dir=Path(name) / "r", servicers=(signals.register,))
        await router.start()
        try:
            yield router, signals
        finally:
            await router.close(stop=True)


@contextlib.asynccontextmanager
async def _replica(version: Version) -> AsyncIterator[Endpoint]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVICE), "--port", str(port), "--version", version.workload.tag
    )
    try:
        await _listens(port)
        yield Endpoint(address="127.0.0.1", port=port, replica=version.workload.tag)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def _version(tag: str) -> Version:
    return Version(service="bench", workload=Workload(image=f"bench/bench:{tag}", port=8080), policy=MeshPolicy())


def _plan(stable: Version, bad: Version, percent: float) -> TrafficPlan:
    """As the product writes it: with a shield."""
    return TrafficPlan(
        service=Service(name="bench", port=80),
        versions=(stable, bad),
        split=Split.between(stable.id, bad.id, percent) if percent else Split.all_to(stable.id),
        shield=ShieldPlan(version=bad.id, by=stable.id),
    )
