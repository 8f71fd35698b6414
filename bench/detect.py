"""From the first bad answer to the decision, and how much evidence a condemnation takes, at 10 % of 200 requests/s.

The releases are real ones of the whole product. The number of requests until condemnation is compared with the fewest
that any test could need at the same level (docs/judge.md), over many simulated releases too: thirty live ones say
little of a mean.
"""

from __future__ import annotations

import asyncio
import math
from statistics import mean
from typing import Any

from bench import manifests, simulated
from bench.platform import Platform, running
from bench.results import Result, quantile
from bench.visitors import visitors

RATE_PER_S = 200.0
SHARE = 0.10
STABLE, CANDIDATE = 0.001, 0.05
GOAL_S = 0.5
GOAL_RATIO = 1.5
SETTLE_S = 4.0
LANES = ("one", "two", "three")
STEP: list[dict[str, float]] = [{"percent": 100 * SHARE, "minRequests": 100_000}]


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Release versions that fail every request, and versions that fail one in twenty."""
    failing, five = asyncio.run(_run(*((1, 3) if quick else (5, 10))))
    detected = [told["detect_s"] for told in failing]
    results = [
        Result(
            name=f"everything fails: first bad answer to decision, median of {len(detected)}",
            value=round(quantile(detected, 0.5), 3),
            unit="s",
            goal=GOAL_S,
        ),
        Result(name="everything fails: first bad answer to decision, slowest", value=round(max(detected), 3), unit="s"),
    ]
    results += _live(five)
    return results + _simulated(1000 if quick else 5000)


def _live(told: list[dict[str, Any]]) -> list[Result]:
    errors = [_by_key(one) for one in told if one["outcome"] == "rolled back"]
    needed = mean(math.log(one["needed"]) for one in errors)
    used = mean(int(one["candidate_total"]) for one in errors)
    floor = simulated.bound(share=SHARE, stable=STABLE, candidate=CANDIDATE, log_needed=needed)
    rate = f"5 % against 0.1 %, {len(told)} live releases"
    return [
        Result(name=f"{rate}: not taken back", value=len(told) - len(errors), unit="releases", goal=0),
        Result(name=f"{rate}: candidate requests to condemn, mean", value=round(used, 1), unit="requests"),
        Result(
            name=f"{rate}: requests to condemn / information bound",
            value=round(used / floor, 2),
            unit="x",
            goal=GOAL_RATIO,
        ),
    ]


def _by_key(told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in told["criteria"] if c["name"] == "errors" and c["unit"] == "cluster")
    return found


def _simulated(count: int) -> list[Result]:
    def one(seed: int) -> tuple[int, float]:
        judgement = simulated.until_condemned(
            seed, rate_per_s=RATE_PER_S, share=SHARE, stable=STABLE, candidate=CANDIDATE
        )
        return simulated.candidate_requests(judgement)

    found = [one(seed) for seed in range(count)]
    used = mean(requests for requests, _ in found)
    floor = simulated.bound(share=SHARE, stable=STABLE, candidate=CANDIDATE, log_needed=found[0][1])
    rate = f"5 % against 0.1 %, {count} simulated releases"
    return [
        Result(name=f"{rate}: candidate requests to condemn, mean", value=round(used, 1), unit="requests"),
        Result(name=f"{rate}: information bound", value=round(floor, 1), unit="requests"),
        Result(
            name=f"{rate}: requests to condemn / information bound",
            value=round(used / floor, 2),
            unit="x",
            goal=GOAL_RATIO,
        ),
    ]


async def _run(failing: int, five: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    files = manifests.images(*LANES)
    for lane in LANES:
        files |= manifests.service(lane)
        files |= manifests.guard(lane, steps=STEP, key=True, shield=True, latency=False)
    async with running(files) as platform:
        await platform.ready()
        lanes = await asyncio.gather(*(_lane(platform, lane, failing, five) for lane in LANES))
    return [told for lane, _ in lanes for told in lane], [told for _, lane in lanes for told in lane]


async def _lane(
    platform: Platform, lane: str, failing: int, five: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    async with visitors(await platform.address(lane), RATE_PER_S):
        await asyncio.sleep(SETTLE_S)
        first = [await platform.release(lane, f"{number}-e1000") for number in range(1, failing + 1)]
        second = [await platform.release(lane, f"{number}-e50") for number in range(1, five + 1)]
    return first, second
