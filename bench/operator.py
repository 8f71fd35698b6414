"""`sternway operator` with 1,000 Guards, at rest and with 100 releases at once, beside a server that answers as Kubernetes does.

The server, its controllers and a Prometheus run in a process of their own (`bench.cluster`), the operator in another; both
talk HTTP. What the operator asks is counted at the server. `python -m bench.operator --guards 100 --releases 10`: other sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench.results import Result, quantile
from sternway.cluster import ClusterSternway, Settings
from sternway.kubernetes.access import Access
from sternway.kubernetes.client import Client
from sternway.kubernetes.credentials import Fixed
from sternway.kubernetes.rate import Rate
from sternway.operator.memory import settle
from sternway.operator.views import Twin

GOAL_PASS_S, GOAL_CPU_PERCENT, GOAL_MB, GOAL_REQUESTS_PER_S = 1.0, 100.0, 500.0, 20.0
GOAL_TO_SPLIT_MS, GOAL_WRITES = 100.0, 1
ROUTES = ("virtualservices", "destinationrules")
ALONE = 20
"""So many releases turn bad one after the other, each while all the others are well."""
PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is. for_s: how long each state is measured."""

    guards: int = 1000
    releases: int = 100
    namespaces: int = 1
    for_s: float = 60.0
    profile: str = ""


FULL = Size()


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Measure in processes of their own."""
    return asyncio.run(_run(Size(guards=200, releases=20, for_s=20.0) if quick else FULL))


async def _run(size: Size) -> list[Result]:
    command = [sys.executable, "-m", "bench.operator", "--measure"]
    for name in ("guards", "releases", "namespaces", "for_s", "profile"):
        command += [f"--{name.replace('_', '-')}", str(getattr(size, name))]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        message = f"the operator's process ended with {process.returncode}"
        raise RuntimeError(message)
    return [Result(**one) for one in json.loads(said)]


class Measured(ClusterSternway):
    """Notes how long passes take, whatever they wait for."""

    def __init__(self, settings: Settings, api: Client) -> None:
        super().__init__(settings, api, urgent=api.urgent())
        self.passes: list[tuple[str, float, float]] = []
        """(service, began, took)."""

    async def _pass(self, service: str) -> float | None:
        began_s, began = time.time(), time.perf_counter()
        try:
            return await super()._pass(service)
        finally:
            self.passes.append((service, began_s, time.perf_counter() - began))


@dataclass
class Bench:
    """A cluster and what is measured of the operator in this process."""

    size: Size
    address: str
    state: Path
    session: aiohttp.ClientSession
    results: list[Result] = field(default_factory=list)

    def note(self, name: str, value: float, unit: str, goal: float | None = None) -> None:
        """Keep a number. A goal is for the full size: a smaller one can miss it, and cannot reach it."""
        full = self.size.guards >= FULL.guards and self.size.releases >= FULL.releases
        goal = goal if full or (goal is not None and value > goal) else None
        self.results.append(Result(name=name, value=round(value, 3 if value < 10 else 1), unit=unit, goal=goal))
        print(f"{name}: {self.results[-1].value:g} {unit}", file=sys.stderr, flush=True)

    async def log(self, since: int = 0) -> list[tuple[float, str, str, str, str]]:
        """What the server was asked."""
        async with self.session.get(f"{self.address}/bench/log", params={"since": since}) as found:
            return [tuple(one) for one in await found.json()]

    async def release(self, count: int, tag: str, *, first: int = 0) -> None:
        """Change the image of so many services, from the first on."""
        told: dict[str, str | int] = {"first": first, "count": count, "tag": tag}
        async with self.session.post(f"{self.address}/bench/release", params=told) as done:
            done.raise_for_status()

    @asynccontextmanager
    async def operated(self, rate: Rate) -> AsyncIterator[Measured]:
        """Run the operator on this cluster until the end of the block."""
        access = Access(server=self.address, credentials=Fixed())
        async with Client(access, rate=rate) as api:
            sternway = Measured(Settings(state=self.state, prometheus=self.address), api)
            try:
                yield sternway
            finally:
                await sternway.close()

    async def measure(self) -> None:
        """All of it, one after the other."""
        began = time.perf_counter()
        async with self.operated(Rate(per_s=1000.0, burst=1000)) as sternway:  # the way there is not measured
            await sternway.start()
            await sternway.lead()
            await until(lambda: self._adopted(sternway), sternway, every_s=5.0)
            await self._quiet()
        print(f"adopted after {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
        async with self.operated(Rate()) as sternway:
            profile = cProfile.Profile()
            if self.size.profile:
                profile.enable()
            ran, waited = _scheduled()
            await self._start(sternway)
            await self._rest()
            await self._work(sternway)
            await self._harm_alone(sternway)
            await self._harm_at_once(sternway)
            ran, waited = (now - before for now, before in zip(_scheduled(), (ran, waited), strict=True))
            self.note("ready to run, but waiting for a core", 100 * waited / max(1, ran + waited), "% of that time")
            if self.size.profile:
                profile.disable()
                pstats.Stats(profile).dump_stats(self.size.profile)

    async def _adopted(self, sternway: Measured) -> bool:
        found = [await sternway._twin(service) is Twin.SERVES for service in sternway.desired.services()]  # noqa: SLF001
        print(f"{sum(found)} of {len(found)} adopted", file=sys.stderr, flush=True)
        return len(found) == self.size.guards and all(found)

    async def _quiet(self) -> None:
        """Wait until the server is asked next to nothing."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                before = len(await self.log())
                await asyncio.sleep(5.0)
                asked = [one for one in await self.log(before) if one[1] != "watch"]
                if len(asked) < 5:
                    return

    async def _start(self, sternway: Measured) -> None:
        began, used, guards = time.perf_counter(), time.process_time(), f"{self.size.guards:,} Guards"
        await sternway.start()
        settle()
        self.note(f"{guards}: start until the cluster is known", time.perf_counter() - began, "s")
        await sternway.lead()
        await until(lambda: _done(len({name for name, _, _ in sternway.passes}) == self.size.guards), sternway)
        self.note(f"{guards}: start until each was looked at", time.perf_counter() - began, "s")
        self.note(f"{guards}: processor time of that", time.process_time() - used, "s")
        settle()  # as shipped, a minute after the start

    async def _rest(self) -> None:
        await self._quiet()
        before = len(await self.log())
        used = await _percent(self.size.for_s)
        asked, rest = await self.log(before), f"{self.size.guards:,} Guards at rest"
        self.note(f"{rest}: processor", used, "% of a core", GOAL_CPU_PERCENT)
        self.note(f"{rest}: resident memory", psutil.Process().memory_info().rss / 1e6, "MB", GOAL_MB)
        self.note(f"{rest}: requests to the API", len(asked) / self.size.for_s, "requests/s", GOAL_REQUESTS_PER_S)

    async def _work(self, sternway: Measured) -> None:
        since, count = len(sternway.passes), self.size.releases
        began = time.perf_counter()
        await self.release(count, "2")
        await until(lambda: _done(sum(map(exposed, progress(sternway))) >= count), sternway)
        self.note(f"{count} releases: images changed until all are exposed", time.perf_counter() - began, "s")
        self._passes(f"{count} releases begin", sternway.passes[since:])
        await asyncio.sleep(5.0)
        since, before = len(sternway.passes), len(await self.log())
        used = await _percent(self.size.for_s)
        passes = max(1, len(sternway.passes) - since)
        asked = len(await self.log(before)) / self.size.for_s
        self._passes(f"{count} releases under way", sternway.passes[since:])
        self.note(f"{count} releases under way: processor", used, "% of a core", GOAL_CPU_PERCENT)
        each_ms = 10 * used * self.size.for_s / passes
        self.note(f"{count} releases under way: processor time for each pass, all in all", each_ms, "ms")
        self.note(f"{count} releases under way: requests to the API", asked, "requests/s")
        memory = psutil.Process().memory_info().rss / 1e6
        self.note(f"{count} releases under way: resident memory", memory, "MB", GOAL_MB)

    def _passes(self, when: str, passes: list[tuple[str, float, float]]) -> None:
        took = [took_s for _, _, took_s in passes]
        for name, share, goal in (("median", 0.5, None), ("p99", 0.99, GOAL_PASS_S), ("longest", 1.0, None)):
            self.note(f"{when}: a pass, {name} of {len(took):,}", quantile(took, share), "s", goal)

    async def _harm_alone(self, sternway: Measured) -> None:
        """One bad version after the other, of which half of the answers are errors, beside the releases under way."""
        before, first = len(await self.log()), self.size.releases
        for number in range(ALONE):
            await self.release(1, "bad", first=first + number)
            await until(lambda want=number + 1: _done(len(harmed(sternway)) >= want), sternway, every_s=0.1)
        await asyncio.sleep(3.0)
        await self._to_split("one bad release", harmed(sternway), before)

    async def _harm_at_once(self, sternway: Measured) -> None:
        """The releases under way, each replaced by such a version: all at once."""
        since, before, count = len(sternway.passes), len(await self.log()), self.size.releases
        known = {found.service for found in harmed(sternway)}
        await self.release(count, "bad")
        await until(lambda: _done(len(harmed(sternway)) >= len(known) + count), sternway)
        await asyncio.sleep(3.0)
        self._passes(f"{count} bad releases at once", sternway.passes[since:])
        fresh = [found for found in harmed(sternway) if found.service not in known]
        await self._to_split(f"{count} bad releases at once", fresh, before)

    async def _to_split(self, when: str, bad: list[Any], before: int) -> None:
        """Note how long it took from harm that was read to the write of the route. before: in the server's log."""
        written = [one for one in await self.log(before) if one[1] in ("patch", "post", "put") and one[2] in ROUTES]
        took, writes = [], []
        for found in bad:
            namespace, name = found.service.partition(".")[2], found.service.partition(".")[0]
            judged_s = found.release.detected_s
            mine = [at_s for at_s, _, _, place, _ in written if place == f"{namespace}/{name}" and at_s >= judged_s]
            if mine:
                took.append((mine[0] - judged_s) * 1e3)
                writes.append(sum(at_s < mine[0] + 1.0 for at_s in mine))
        read = f"{when}: harm read until the split is at the server"
        for name, share, goal in (("median", 0.5, None), ("p99", 0.99, GOAL_TO_SPLIT_MS), ("longest", 1.0, None)):
            self.note(f"{read}, {name} of {len(took)}", quantile(took, share), "ms", goal)
        self.note(f"{when}: writes of routes to take traffic back, most", max(writes), "writes", GOAL_WRITES)


def progress(sternway: Measured) -> list[Any]:
    """Where each service stands."""
    return list(sternway.reconciler._progress.values())  # noqa: SLF001


def exposed(found: Any) -> bool:
    """Whether a candidate takes traffic."""
    return found.release is not None and found.release.phase.value == "exposed"


def harmed(sternway: Measured) -> list[Any]:
    """The services that a bad version was taken away from."""
    return [found for found in progress(sternway) if found.release is not None and _was_caught(found.release)]


def _was_caught(release: Any) -> bool:
    return release.candidate.workload.image.endswith(":bad") and release.detected_s is not None


async def until(holds: Callable[[], Any], sternway: Measured, *, every_s: float = 0.5) -> None:
    """Wait, and say what stands in the way when it takes too long."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await holds():  # noqa: ASYNC110 - another process tells nothing by itself
                await asyncio.sleep(every_s)
    except TimeoutError:
        troubles = dict(list(sternway.troubles().items())[:3])
        message = f"it never came to that: {troubles}"
        raise RuntimeError(message) from None


async def _done(value: bool) -> bool:  # noqa: FBT001
    return value


async def _percent(for_s: float) -> float:
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(for_s)
    return 100 * (time.process_time() - used) / (time.perf_counter() - began)


def _scheduled() -> tuple[int, int]:
    """How long this process has run and has waited for a core, in ns; without Linux nobody knows."""
    found = Path("/proc/self/schedstat")
    ran, waited = map(int, found.read_text().split()[:2]) if found.exists() else (0, 0)
    return ran, waited


@asynccontextmanager
async def cluster(size: Size) -> AsyncIterator[str]:
    """Run the cluster's process. Gives its address."""
    sizes = ["--guards", str(size.guards), "--namespaces", str(size.namespaces)]
    process: Process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.cluster", *sizes, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _measure(size: Size) -> list[Result]:
    async with cluster(size) as address, aiohttp.ClientSession() as session:
        with tempfile.TemporaryDirectory(prefix="sternway-bench-") as folder:
            bench = Bench(size=size, address=address, state=Path(folder), session=session)
            await bench.measure()
    return bench.results


def main() -> None:
    """Measure with the sizes that are told."""
    parser = argparse.ArgumentParser(prog="bench.operator", description="Measure the operator.")
    parser.add_argument("--guards", type=int, default=1000)
    parser.add_argument("--releases", type=int, default=100)
    parser.add_argument("--namespaces", type=int, default=1)
    parser.add_argument("--for-s", type=float, default=60.0, help="how long each state is measured")
    parser.add_argument("--profile", default="", help="write a profile (cProfile) to this file")
    parser.add_argument("--measure", action="store_true", help="in this very process; prints results as JSON")
    told = vars(parser.parse_args())
    here = told.pop("measure")
    size = Size(**told)
    results = asyncio.run(_measure(size) if here else _run(size))
    if here:
        print(json.dumps([{"name": r.name, "value": r.value, "unit": r.unit, "goal": r.goal} for r in results]))


if __name__ == "__main__":
    main()
