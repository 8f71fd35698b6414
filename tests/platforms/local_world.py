"""A local platform on real processes, and what a test needs to watch it."""

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from sternway.clock import SystemClock
from sternway.domain.images import ImageCommand, Images
from sternway.domain.platform import ReplicaState, WorkloadRun, WorkloadState
from sternway.domain.traffic import Endpoint
from sternway.domain.versions import Probe, SecretKey, Workload
from sternway.errors import HistoryUnavailable
from sternway.platforms.local import LocalPlatform

APP = str(Path(__file__).with_name("app.py"))
READY = Probe(http_path="/ready", period_s=0.2)


@dataclass(kw_only=True)
class World:
    """The platform and everything that it told."""

    state_dir: Path
    flags: Path
    images: Images = field(default_factory=Images)
    secrets: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    published: list[tuple[float, str, tuple[Endpoint, ...]]] = field(default_factory=list)
    woken: list[tuple[float, str]] = field(default_factory=list)
    platforms: list[LocalPlatform] = field(default_factory=list)

    def platform(self, *, drain_s: float = 0.1) -> LocalPlatform:
        """Make a platform on this world's folder."""
        platform = LocalPlatform(
            state_dir=self.state_dir,
            clock=SystemClock(),
            images=lambda: self.images,
            publish=lambda workload_id, endpoints: self.published.append((time.time(), workload_id, endpoints)),
            wake=lambda service: self.woken.append((time.time(), service)),
            environment=self.environment,
            secret=self.secret,
            drain_s=drain_s,
        )
        self.platforms.append(platform)
        return platform

    def environment(self, service: str) -> Mapping[str, str]:
        """Give what the mesh would add."""
        return {"http_proxy": f"http://127.0.0.1:1/{service}", **self.extra}

    async def secret(self, commit: str, key: SecretKey) -> str:
        """Look a value up by key alone."""
        if key.key not in self.secrets:
            raise HistoryUnavailable(f"{commit} cannot be read")
        return self.secrets[key.key]

    def app(self, *options: str, **workload: object) -> Workload:
        """Describe a workload that runs app.py with these options; its image is mapped."""
        command = (sys.executable, "-S", APP, "{port}", "--flags", str(self.flags))
        self.images = Images(commands=(ImageCommand(image="app", command=command),))
        facts: dict = {"image": "app:1.0.0", "args": options, "port": 8080, "readiness": READY, "grace_s": 5.0}
        return Workload(**(facts | workload))

    def endpoints(self, workload: Workload) -> tuple[Endpoint, ...]:
        """Give what discovery says now."""
        return next((found for _, name, found in reversed(self.published) if name == workload.id), ())

    def ports(self, workload: Workload) -> list[int]:
        """Give the published ports."""
        return [endpoint.port for endpoint in self.endpoints(workload)]

    async def ready(self, workload: Workload, count: int) -> tuple[Endpoint, ...]:
        """Wait until discovery holds so many endpoints."""
        await until(lambda: len(self.endpoints(workload)) == count, f"{count} endpoints")
        return self.endpoints(workload)


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s for {what}")
        await asyncio.sleep(0.005)


async def state_of(platform: LocalPlatform, service: str, workload: Workload) -> WorkloadState:
    """Describe one workload."""
    return next(state for state in await platform.describe(service) if state.workload_id == workload.id)


async def replica_of(platform: LocalPlatform, service: str, workload: Workload) -> ReplicaState:
    """Describe the only replica of a workload."""
    (replica,) = (await state_of(platform, service, workload)).replicas
    return replica


async def failure_of(platform: LocalPlatform, service: str, workload: Workload, timeout_s: float = 60.0) -> str:
    """Wait for a failure and return its sentence."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        failure = (await state_of(platform, service, workload)).failure
        if failure:
            return failure
        await asyncio.sleep(0.01)
    pytest.fail("no failure was reported")


def run(workload: Workload, replicas: int = 1) -> WorkloadRun:
    """Ask for replicas of a workload."""
    return WorkloadRun(workload=workload, replicas=replicas, commit="c0ffee")


async def get(port: int, path: str = "/") -> dict:
    """GET from a replica, as JSON."""

    def ask() -> dict:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return json.load(answer)

    return await asyncio.to_thread(ask)


def alive(pid: int | None) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
