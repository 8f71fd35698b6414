"""What Sternway itself costs: processor time and memory of the `sternway up` process alone.

Under load: twenty services run, and one of them answers 1,000 requests/s while a release of it is under way, first with
a cluster key and then without one (nine placebo arms). Envoy's share is measured in the same seconds, so that their
ratio does not depend on the machine. Idle: the sample shop's three services, probed and unvisited.
"""

from __future__ import annotations

import asyncio

from bench import manifests
from bench.platform import Platform, cpu_percent, running
from bench.results import Result
from bench.visitors import visitors

RATE_PER_S = 1000.0
GOAL_CPU_PERCENT = 50.0
GOAL_IDLE_PERCENT = 2.0
GOAL_MB = 200.0
SERVICES = 20
WARM_UP_S = 8.0
STEP: list[dict[str, float]] = [{"percent": 10, "minRequests": 10_000_000}]


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Measure busy, then idle."""
    return asyncio.run(_busy(10.0 if quick else 30.0)) + asyncio.run(_idle(10.0 if quick else 30.0))


async def _busy(for_s: float) -> list[Result]:
    names = ["keyed", "keyless", *(f"quiet-{number:02}" for number in range(1, SERVICES - 1))]
    files = manifests.images(*names)
    for name in names:
        files |= manifests.service(name, replicas=2 if name.startswith("key") else 1)
    for name in ("keyed", "keyless"):
        files |= manifests.guard(name, steps=STEP, key=name == "keyed", shield=True)
    results: list[Result] = []
    async with running(files) as platform:
        await platform.ready()
        for name in ("keyed", "keyless"):
            results += await _under_load(platform, name, for_s)
        megabytes = platform.process.memory_info().rss / 1e6
    return [
        *results,
        Result(name=f"resident memory, {SERVICES} services", value=round(megabytes, 1), unit="MB", goal=GOAL_MB),
    ]


async def _under_load(platform: Platform, name: str, for_s: float) -> list[Result]:
    def exposed(status: dict[str, object]) -> bool:
        services = status.get("services", [])
        assert isinstance(services, list)
        release = next((one["release"] for one in services if one["service"] == name), None)
        return bool(release and release["percent"] > 0)

    async with visitors(await platform.address(name), RATE_PER_S) as visit:
        await asyncio.sleep(3.0)
        await platform.commit(name, "1-e1")
        await platform.until(exposed, 60.0)
        await asyncio.sleep(WARM_UP_S)
        proxy = next(child for child in platform.process.children() if "envoy" in child.name())
        ours, envoys = await cpu_percent(platform.process, proxy, for_s=for_s)
        if not exposed(await platform.status()):
            msg = f"the release of {name} ended while it was measured"
            raise RuntimeError(msg)
    begin_s, end_s = visit.answers[0].at_s, visit.answers[-1].at_s
    rate = len(visit.answers) / (end_s - begin_s)
    how = f"{RATE_PER_S:g}/s, release under way, {'cluster key' if name == 'keyed' else 'no key'}"
    return [
        Result(name=f"{how}: Sternway", value=round(ours, 1), unit="% of a core", goal=GOAL_CPU_PERCENT),
        Result(name=f"{how}: Envoy, same time", value=round(envoys, 1), unit="% of a core"),
        Result(name=f"{how}: Sternway / Envoy", value=round(ours / envoys, 2), unit="x"),
        Result(name=f"{how}: requests answered", value=round(rate), unit="requests/s"),
    ]


async def _idle(for_s: float) -> list[Result]:
    async with running() as platform:
        await platform.ready()
        await asyncio.sleep(2 * WARM_UP_S)
        (idle,) = await cpu_percent(platform.process, for_s=for_s)
        memory = platform.process.memory_info().rss / 1e6
    return [
        Result(name="idle, the shop: Sternway", value=round(idle, 2), unit="% of a core", goal=GOAL_IDLE_PERCENT),
        Result(name="resident memory, the shop", value=round(memory, 1), unit="MB", goal=GOAL_MB),
    ]
