"""The table: every rule on every shape, each number from a seed. `python -m bench arena [--quick]`.

What is promised comes first, with its goal; then the numbers of each cell, named `scenario; rule; measure`, which
`page` lays out in docs/arena.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from typing import Any

import numpy as np

from bench.arena import page, shapes
from bench.arena.fields import (
    ARGO,
    FLAGGER,
    KEY,
    NO_KEY,
    OURS,
    PROMISED,
    WITH_KEY,
    Make,
    at_weight,
    on_own_paths,
    timed,
)
from bench.arena.measures import at_share, interval, median, withdrawals_per_hour
from bench.arena.ours import Sternway, fixed
from bench.arena.play import Outcome, play
from bench.arena.shapes import MINUTE, Shape, healthy
from bench.arena.streams import World
from bench.arena.tuning import tune
from bench.results import Result
from bench.simulated import bound
from sternway.domain.guards import Canary, Guard
from sternway.judgement.budget import budget

HALF_S, HOUR_S, PATH_S = 30 * MINUTE, 60 * MINUTE, 75 * MINUTE
"""On their own paths all are done in 75 minutes: Kayenta promotes after an hour."""
FINE_S = 120.0
TRAFFIC = (2.0, 20.0, 200.0, 2000.0)
HURT_GOAL, RATIO_GOAL, BOUND_GOAL, WITHDRAWN_GOAL = 15.0, 0.05, 1.5, 2.0
FROM_PER_S, MUCH_PER_S = 20.0, 200.0
WARM = "Sternway, key, warm"
SURELY = 0.98
"""Limits of both sides: below each, one in a hundred."""
LARGE = ("0.1 -> 0.5 %", "0.1 -> 5 %", "0.2 -> 2 %", "total failure")
"""Steps of at least four times, from at most 0.5 %."""
WARM_UP = "warm-up x10, 20 s"
KEYLESS = ("0.1 -> 5 %", "0.2 -> 2 %", "total failure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One shape, and what came of it under each rule."""

    section: str
    scenario: str
    shape: Shape
    outcomes: Mapping[str, Outcome]

    def cells(self) -> Iterator[Result]:
        """Give its numbers."""
        for rule, found in self.outcomes.items():
            for measure, value, unit in _measures(self.shape, found):
                if np.isfinite(value):
                    name = f"{self.section}; {self.scenario}; {rule}; {measure}"
                    yield Result(name=name, value=round(value, 3), unit=unit)


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Play everything, on every core: each number follows from its own seed, in whatever order they are found."""
    sizes = Sizes(quick=quick)
    paths = [partial(_paths, stable=stable) for stable in ((0.001,) if quick else (0.001, 0.002, 0.01))]
    parts = [_healthy, _warm_ups, _shares, *paths, _clustered, _timed]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        bounds = pool.submit(_found, _bounds, sizes)
        cells: list[Cell] = [cell for found in pool.map(_found, parts, repeat(sizes)) for cell in found]
        results = [*_promises(cells), *bounds.result()]
    details = [row for cell in cells for row in cell.cells()]
    page.show(details)
    return results + details


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many releases a cell has."""

    quick: bool

    @property
    def healthy(self) -> int:
        """Where rare things are counted."""
        return 20 if self.quick else 200

    @property
    def faulty(self) -> int:
        """Where medians are taken."""
        return 10 if self.quick else 100

    @property
    def traffic(self) -> tuple[float, ...]:
        """Requests a second."""
        return (200.0,) if self.quick else TRAFFIC

    def some(self, named: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes: all, or the first two."""
        return dict(list(named.items())[: 2 if self.quick else None])


def seed_of(*words: object) -> int:
    """Give a cell its seed: from its name, the same on every machine."""
    return zlib.crc32("; ".join(map(str, words)).encode())


def _play(
    section: str,
    scenario: str,
    shape: Shape,
    rules: Mapping[str, Make],
    size: int,
    *,
    horizon_s: float,
    fine_s: float = 0.0,
) -> Cell:
    world = World(shape, seed=seed_of(section, scenario), size=size, horizon_s=horizon_s, fine_s=fine_s)
    outcomes = play(world, {name: make() for name, make in rules.items()})
    return Cell(section=section, scenario=scenario, shape=shape, outcomes=outcomes)


def _found(part: Callable[[Sizes], Iterator[Any]], sizes: Sizes) -> list[Any]:
    return list(part(sizes))


def _healthy(sizes: Sizes) -> Iterator[Cell]:
    rules, size = at_weight(10.0), sizes.healthy
    for name, shape in sizes.some(shapes.BASES).items():
        for rate in sizes.traffic:
            yield _play("healthy", f"{rate:g}/s, {name}", shape.at(rate), rules, size, horizon_s=HALF_S)
    for name, shape in sizes.some(shapes.COMMON).items():
        yield _play("common trouble", f"200/s, {name}", shape, rules, size, horizon_s=HOUR_S)
    for name, shape in sizes.some(shapes.CLUSTERED).items():
        for rate in (200.0,) if sizes.quick else (20.0, 200.0):
            yield _play("healthy, clustered", f"{rate:g}/s, {name}", shape.at(rate), rules, size, horizon_s=HALF_S)
    for name, shape in sizes.some(shapes.REPLICAS).items():
        yield _play("replicas", f"200/s, {name}", shape, rules, size, horizon_s=HALF_S)


def _warm_ups(sizes: Sizes) -> Iterator[Cell]:
    rules = on_own_paths({})
    for rate in sizes.traffic:
        for name, shape in sizes.some(shapes.WARM_UPS).items():
            if rate >= MUCH_PER_S or name == WARM_UP:
                yield _play("warm-up", f"{rate:g}/s, {name}", shape.at(rate), rules, sizes.healthy, horizon_s=HALF_S)


def _shares(sizes: Sizes) -> Iterator[Cell]:
    """The same faults at other fixed weights."""
    for percent in (10.0,) if sizes.quick else (1.0, 5.0, 10.0, 50.0):
        rules = at_weight(percent)
        for name in LARGE[:2] if sizes.quick else LARGE:
            scenario = f"{percent:g} %, {name}"
            shape = shapes.STEPS[name]
            yield _play("fixed weight", scenario, shape, rules, sizes.faulty, horizon_s=HALF_S, fine_s=FINE_S)


def _paths(sizes: Sizes, stable: float) -> Iterator[Cell]:
    """Everybody on the own path, from the first request to the promotion; the peers also at their best."""
    for rate in sizes.traffic:
        service = healthy(stable, rate_per_s=rate)
        best = tune(service, seed=seed_of("tuning", stable, rate), size=sizes.faulty)
        rules = on_own_paths(best)
        scenario = f"{rate:g}/s, {100 * stable:g} %"
        yield _play("own path, healthy", scenario, service, rules, sizes.faulty, horizon_s=PATH_S)
        for name, shape in shapes.STEPS.items():
            if shape.stable == stable:
                scenario, fine_s = f"{rate:g}/s, {name}", 0.0 if shape.leak_s else FINE_S
                yield _play("own path", scenario, shape.at(rate), rules, sizes.faulty, horizon_s=PATH_S, fine_s=fine_s)


def _clustered(sizes: Sizes) -> Iterator[Cell]:
    """A fault whose bad answers come in clusters, as stable's do."""
    rules = {name: make for name, make in on_own_paths({}).items() if name in (*OURS, FLAGGER)}
    for name, shape in sizes.some(shapes.CLUSTERED).items():
        fault = Shape(stable=shape.stable, candidate=0.02, cluster=shape.cluster)
        scenario = f"200/s, 0.2 -> 2 %, {name}"
        yield _play("own path, clustered", scenario, fault, rules, sizes.faulty, horizon_s=HALF_S)


def _timed(sizes: Sizes) -> Iterator[Cell]:
    for name, shape in (sizes.some(shapes.TIMED) | sizes.some(shapes.SLOWER)).items():
        section = "latency" if shape.harmful else "latency, healthy"
        size = sizes.faulty if shape.harmful else sizes.healthy
        yield _play(section, f"200/s, {name}", shape, timed(), size, horizon_s=HALF_S)


def _measures(shape: Shape, found: Outcome) -> Iterator[tuple[str, float, str]]:
    of = len(found.hurt)
    gone = found.condemned | found.asked
    if not shape.harmful:
        low, high = interval(int(gone.sum()), of)
        yield "taken back", 100.0 * gone.mean(), "%"
        yield "taken back, at least", 100.0 * low, "%"
        yield "taken back, at most", 100.0 * high, "%"
        yield "withdrawals", withdrawals_per_hour(found), "per hour"
        yield "promoted, median", median(found.shipped_s), "s"
        yield "not promoted", 100.0 * np.isnan(found.shipped_s).mean(), "%"
        return
    yield "missed", 100.0 * (1.0 - gone.mean()), "%"
    yield "asked", 100.0 * found.asked.mean(), "%"
    if shape.candidate > shape.stable:
        yield "users hurt", median(found.hurt), "requests"
        yield "users hurt, mean", float(found.hurt.mean()), "requests"
        yield "users hurt, p95", at_share(found.hurt, 0.95), "requests"
    yield "traffic back", median(found.back_s), "s"
    yield "condemned", median(found.condemned_s), "s"


def _promises(cells: list[Cell]) -> Iterator[Result]:
    for rule in OURS:
        yield from _false_rollbacks(cells, rule)
    clustered = [cell for cell in cells if cell.section == "healthy, clustered"]
    worst = max(withdrawals_per_hour(cell.outcomes[NO_KEY]) for cell in clustered)
    yield Result(
        name=f"{NO_KEY}: withdrawals of a healthy release in clustered traffic, worst shape",
        value=round(worst, 2),
        unit="per hour",
        goal=WITHDRAWN_GOAL,
    )
    healthy_ones = [cell for cell in cells if cell.section == "own path, healthy"]
    for rule in OURS:
        left = [np.isnan(cell.outcomes[rule].shipped_s) & ~cell.outcomes[rule].condemned for cell in healthy_ones]
        yield Result(
            name=f"{rule}: healthy releases neither promoted nor taken back, of {sum(map(len, left))}",
            value=int(sum(one.sum() for one in left)),
            unit="releases",
            goal=0,
        )
    for rule, steps in ((KEY, LARGE), (NO_KEY, KEYLESS)):
        worst = max(median(cell.outcomes[rule].hurt) for cell in _on_path(cells, steps, FROM_PER_S))
        yield Result(
            name=f"{rule}: users hurt on the default ramp, median, worst of {', '.join(steps)}",
            value=worst,
            unit="requests",
            goal=HURT_GOAL,
        )
    yield from _beside_peers(cells)


def _false_rollbacks(cells: list[Cell], rule: str) -> Iterator[Result]:
    """All that are no worse than stable for good. Where replicas differ, the candidate is."""
    for title, sections, ends in (
        ("healthy, independent errors", ("healthy", "own path, healthy"), ""),
        ("healthy, clustered errors", ("healthy, clustered",), ""),
        ("trouble common to both", ("common trouble",), ""),
        ("healthy after a warm-up of seconds", ("warm-up", "replicas"), " s"),
        ("healthy after a warm-up of requests", ("warm-up",), " requests"),
        ("healthy, slow by spells", ("latency, healthy",), ""),
    ):
        found = [
            cell.outcomes[rule]
            for cell in cells
            if cell.section in sections and cell.scenario.endswith(ends) and rule in cell.outcomes
        ]
        if not found:
            continue
        hits, of = _sum(found)
        most = interval(hits, of)[1]
        yield Result(
            name=f"{rule}: {title}: taken back, of {of} releases (at most {100 * most:.2g} %)",
            value=round(100.0 * hits / of, 3),
            unit="%",
            goal=100.0 * PROMISED,
        )
        surely = sum(interval(*_sum([one]), confidence=SURELY)[0] > PROMISED for one in found)
        yield Result(
            name=f"{rule}: {title}: shapes surely above the promise, of {len(found)}",
            value=surely,
            unit="shapes",
            goal=0,
        )


def _sum(found: list[Outcome]) -> tuple[int, int]:
    return sum(int((one.condemned | one.asked).sum()) for one in found), sum(len(one.hurt) for one in found)


def _on_path(cells: list[Cell], steps: tuple[str, ...], from_per_s: float = 0.0) -> list[Cell]:
    return [
        cell
        for cell in cells
        if cell.section == "own path"
        and cell.scenario.partition(", ")[2] in steps
        and cell.shape.rate_per_s >= from_per_s
    ]


def _beside_peers(cells: list[Cell]) -> Iterator[Result]:
    """What a bad release costs with Sternway, as a part of what it costs with others."""
    for peer in (FLAGGER, ARGO):
        parts = [
            median(cell.outcomes[KEY].hurt) / max(median(cell.outcomes[peer].hurt), 1.0)
            for cell in _on_path(cells, LARGE, MUCH_PER_S)
        ]
        yield Result(
            name=f"{KEY}: users hurt, median, as a part of {peer}'s documented, from 200/s on, worst",
            value=round(max(parts), 4),
            unit="x",
            goal=RATIO_GOAL,
        )
    paths = _on_path(cells, LARGE, FROM_PER_S)
    for rule in OURS:
        lost = [
            peer
            for cell in paths
            for peer, found in cell.outcomes.items()
            if peer.endswith("best") and found.hurt.mean() < cell.outcomes[rule].hurt.mean()
        ]
        yield Result(
            name=f"{rule}: more users hurt, mean, than with a peer's best setting, of {3 * len(paths)} cases from 20/s on",
            value=len(lost),
            unit="cases",
            goal=0 if rule == KEY else None,
        )


def _bounds(sizes: Sizes) -> Iterator[Result]:
    """Requests of the candidate until it is condemned by the key, beside the fewest that any test could need.

    Of a version that is warm, which is what the bound is about; and of a fresh one, whose first minute does not count.

    50 requests/s where few are needed: half a request of the candidate in a tick, so that ticks cost nothing.
    """
    needed = float(np.log(budget(WITH_KEY).keyed))
    warm = Guard(service="arena", judge=replace(WITH_KEY, warm_up_s=0.0), strategy=Canary(steps=fixed(10.0)))
    rules: dict[str, Make] = {WARM: lambda: Sternway(warm), KEY: at_weight(10.0)[KEY]}
    for name, rate, fine_s in (
        ("0.1 -> 0.5 %", 200.0, 0.0),
        ("1 -> 2 %", 200.0, 0.0),
        ("0.1 -> 5 %", 50.0, HALF_S),
        ("0.2 -> 2 %", 50.0, HALF_S),
    ):
        shape, size = shapes.STEPS[name].at(rate), 20 * sizes.faulty
        cell = _play("bound", name, shape, rules, size, horizon_s=HALF_S, fine_s=fine_s)
        least = bound(share=0.1, stable=shape.stable, candidate=shape.candidate, log_needed=needed)
        for rule, found in cell.outcomes.items():
            used = found.requests[found.condemned]
            yield Result(
                name=f"{name}, {rule}, {used.size} of {size} condemned: candidate requests / information bound",
                value=round(float(used.mean()) / least, 2),
                unit="x",
                goal=BOUND_GOAL if rule == WARM else None,
            )
