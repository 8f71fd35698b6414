"""What a bad release costs users, through the whole product: from the commit to the rollback, seen at the client.

Hurt is a failed answer of the candidate, or a failure that carries no version. A failed answer of stable is its own
(one in a thousand). Guards have the default steps: 5 requests/s first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import manifests
from bench.platform import Platform, running
from bench.results import Result, quantile
from bench.visitors import Visit, visitors

GOAL = 15
SETTLE_S = 11.0
FAULTS = {"everything fails": 1000, "5 % against 0.1 %": 50}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A service under a rate of requests, and how it is guarded."""

    name: str
    rate_per_s: float
    key: bool = True
    shield: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """One bad release: the case, the fault, the version, and what Sternway says of it."""

    case: Case
    fault: str
    tag: str
    told: dict[str, Any]


# Cases of one wave run beside each other, so that the bench stays short.
WAVES = (
    (
        Case(name="bare-20", rate_per_s=20),
        Case(name="bare-200", rate_per_s=200),
        Case(name="shield-20", rate_per_s=20, shield=True),
        Case(name="shield-200", rate_per_s=200, shield=True),
        Case(name="keyless-200", rate_per_s=200, key=False),
    ),
    (Case(name="bare-1000", rate_per_s=1000),),
    (Case(name="shield-1000", rate_per_s=1000, shield=True),),
)


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Release the faults to every case."""
    return asyncio.run(_run(1 if quick else 5))


async def _run(times: int) -> list[Result]:
    cases = [case for wave in WAVES for case in wave]
    files = manifests.images(*(case.name for case in cases))
    for case in cases:
        files |= manifests.service(case.name) | manifests.guard(case.name, key=case.key, shield=case.shield)
    rows: list[Result] = []
    outcomes: list[str] = []
    async with running(files) as platform:
        await platform.ready()
        for wave in WAVES:
            ended = await asyncio.gather(*(_case(platform, case, times) for case in wave))
            for case, (released, visit) in zip(wave, ended, strict=True):
                rows += [row for fault in FAULTS for row in _rows(case, fault, released, visit)]
                outcomes += [one.told["outcome"] for one in released]
    missed = sum(outcome != "rolled back" for outcome in outcomes)
    rows.sort(key=lambda row: ("no key" in row.name, "shield" in row.name))
    return [
        *rows,
        Result(name=f"bad releases not taken back, of {len(outcomes)}", value=missed, unit="releases", goal=0),
    ]


async def _case(platform: Platform, case: Case, times: int) -> tuple[list[Released], Visit]:
    released: list[Released] = []
    async with visitors(await platform.address(case.name), case.rate_per_s) as visit:
        await asyncio.sleep(SETTLE_S)
        for number in range(times):
            for fault, permille in FAULTS.items():
                tag = f"{number + 1}-e{permille}"
                told = await platform.release(case.name, tag)
                released.append(Released(case=case, fault=fault, tag=tag, told=told))
    return released, visit


def _rows(case: Case, fault: str, released: Sequence[Released], visit: Visit) -> list[Result]:
    mine = [one for one in released if one.fault == fault]
    how = f"{case.rate_per_s:g}/s, {fault}{', shield' if case.shield else ''}{'' if case.key else ', no key'}"
    everyone = [_hurt(visit, one, safe_only=False) for one in mine]
    goal = GOAL if case.key else None
    worst = Result(name=f"{how}: requests hurt, worst of {len(mine)}", value=max(everyone), unit="requests", goal=goal)
    if case.shield:
        safe = max(_hurt(visit, one, safe_only=True) for one in mine)
        return [
            Result(name=f"{how}: safe requests hurt, worst of {len(mine)}", value=safe, unit="requests", goal=0),
            worst,
        ]
    took = quantile([one.told["ended_s"] - one.told["started_s"] for one in mine], 0.5)
    return [
        Result(
            name=f"{how}: requests hurt, median of {len(mine)}",
            value=quantile(everyone, 0.5),
            unit="requests",
            goal=goal,
        ),
        worst,
        Result(name=f"{how}: release to rollback, median", value=round(took, 1), unit="s"),
    ]


def _hurt(visit: Visit, one: Released, *, safe_only: bool) -> int:
    """Count failed answers of the candidate, and failures of nobody while it was released."""
    began_s, ended_s = one.told["started_s"] - 1.0, one.told["ended_s"] + 1.0
    return sum(
        answer.failed
        and (answer.method == "GET" or not safe_only)
        and (answer.version == one.tag or (not answer.version and began_s < answer.at_s < ended_s))
        for answer in visit.answers
    )
