"""What the contract tests share: an adapter or its fake, and what a test needs to speak to both in one way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sternway.domain.mesh import MeshPolicy
from sternway.domain.traffic import TrafficPlan
from sternway.domain.versions import Version, Workload
from sternway.ports import History, Platform, TrafficRouter


@dataclass
class Routed:
    """A router, and how to have the proxies refuse a plan."""

    router: TrafficRouter
    refusing: Callable[[TrafficPlan], TrafficPlan]


@dataclass
class Running:
    """A platform, workloads that do well or cannot run on it, and how to let time pass."""

    platform: Platform
    good: Callable[[str], Workload]
    broken: Callable[[str], Workload]
    wait: Callable[[], None]
    woken: list[str] = field(default_factory=list)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let time pass until something is so; at most a minute."""
        for _ in range(3000):
            if await condition():
                return
            self.wait()
            await asyncio.sleep(0.02)
        pytest.fail(f"waited until {what}")


@dataclass
class Kept:
    """A history, how somebody commits to it, and how it goes away and comes back."""

    history: History
    commit: Callable[[dict[str, str]], str]
    away: Callable[[], None]
    back: Callable[[], None]


def version(tag: str, service: str = "orders") -> Version:
    """Make a version."""
    workload = Workload(image=f"{service}:{tag}", port=8080, service=service)
    return Version(service=service, workload=workload, policy=MeshPolicy())
