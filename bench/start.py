"""From the start of `sternway up` to the first answered request: the shop's three services on a fresh machine state."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from bench.platform import Platform, running
from bench.results import Result, quantile

GOAL_S = 5.0
PATIENCE_S = 60.0


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Start several times."""
    took = asyncio.run(_starts(2 if quick else 5))
    return [
        Result(name="start to first answer, median", value=round(quantile(took, 0.5), 2), unit="s", goal=GOAL_S),
        Result(name="start to first answer, slowest", value=round(max(took), 2), unit="s"),
    ]


async def _starts(count: int) -> list[float]:
    return [await _start() for _ in range(count)]


async def _start() -> float:
    async with running() as platform, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        async with asyncio.timeout(PATIENCE_S):
            while not await _answered(platform, session):  # noqa: ASYNC110 - another process tells nothing by itself
                await asyncio.sleep(0.02)
        return time.monotonic() - platform.began_s


async def _answered(platform: Platform, session: aiohttp.ClientSession) -> bool:
    """Ask web, which asks orders, which asks stock."""
    address = (await platform.service("web")).get("address")
    if not address:
        return False
    try:
        async with session.get(f"http://{address}/orders/7") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
