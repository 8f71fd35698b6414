"""Recordings for the backtest's tests: seeded answers and plain tallies, as lines of JSON."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sternway.backtest import Backtested, Line, backtest, choose_rules
from sternway.cli.backtesting import Recorded
from sternway.domain.guards import Canary, CanaryStep, Guard, JudgeSettings

SHORT = Guard(
    service="orders",
    strategy=Canary(steps=(CanaryStep(percent=10, min_requests=100),)),
    judge=JudgeSettings(latency_quantiles=()),
    withdraw_s=5.0,
)


def answers(
    seed: int,
    *,
    release: str = "orders-1",
    rate_per_s: float = 60.0,
    share: float = 0.1,
    stable: float = 0.002,
    candidate: float = 0.002,
    for_s: float = 60.0,
    slower: float = 1.0,
    keys: int = 0,
    again: int = 1,
) -> Iterator[dict[str, Any]]:
    """Independent answers; every bad one is repeated `again` times at once by the caller who got it."""
    rng = random.Random(seed)
    at_s = 0.0
    while True:
        at_s += rng.expovariate(rate_per_s)
        if at_s >= for_s:
            return
        ours = rng.random() < share
        bad = rng.random() < (candidate if ours else stable)
        told: dict[str, Any] = {
            "release": release,
            "t": round(at_s, 3),
            "role": "candidate" if ours else "stable",
            "status": 503 if bad else 200,
            "duration_ms": round(rng.lognormvariate(4.0, 0.5) * (slower if ours else 1.0), 2),
        }
        if keys:
            told["key"] = f"user-{rng.randrange(keys)}"
        yield from [told] * (again if bad else 1)


def steady(
    seconds: Iterable[int], *, bad: Callable[[int], int], total: int = 20, release: str = "orders-1", stable: int = 180
) -> Iterator[dict[str, Any]]:
    """Tallies of one each second: `bad(second)` of `total` candidate answers are errors, none of stable's."""
    for second in seconds:
        for role, of, errors in (("stable", stable, 0), ("candidate", total, bad(second))):
            if of:
                yield {
                    "release": release,
                    "t": second,
                    "role": role,
                    "criterion": "errors",
                    "total": of,
                    "bad": errors,
                }


def tallies(told: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Sum answers up by the second, as somebody would who keeps no single answer."""
    sums: dict[tuple[str, int, str], list[int]] = {}
    for one in told:
        counted = sums.setdefault((one["release"], int(one["t"]), one["role"]), [0, 0])
        counted[0] += 1
        counted[1] += one["status"] >= 500
    for (release, second, role), (total, bad) in sums.items():
        yield {"release": release, "t": second, "role": role, "criterion": "errors", "total": total, "bad": bad}


def lines(told: Iterable[dict[str, Any]]) -> Iterator[Line]:
    """Give what was told as lines of a file."""
    return (Line("history.jsonl", number, json.dumps(one).encode()) for number, one in enumerate(told, 1))


def replay(told: Iterable[dict[str, Any]], *, guard: Guard = SHORT, compare: str = "") -> tuple[Backtested, ...]:
    """Replay what was told."""
    return backtest(lines(told), guard, counting=Recorded, rules=choose_rules([compare]))


def ruled(told: Iterable[dict[str, Any]], rule: str) -> tuple[str, float | None, float]:
    """Say what a peer's rule did with the only release: verdict, when, and users hurt."""
    (found,) = replay(told, compare=rule)
    ((_, said),) = found.compare
    return said.verdict.value, said.decided_s, said.hurt
