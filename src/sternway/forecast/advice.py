"""What a Guard would miss before promotion, and which field to change: each proposal is simulated before it is made.

Called by `sternway check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, log10

from sternway.domain.guards import BlueGreen, Canary, CanaryStep, Guard, adaptive_steps
from sternway.domain.tallies import ClusterKey
from sternway.forecast.detection import MOST_MISSED, RUNS, Fault, Forecast, Found, on_the_way_up

ENOUGH = 1.0 - MOST_MISSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A fault that is missed too often. field, value: what to change; empty where nothing that was tried is enough.

    before, after: the share of the releases that were taken away in time (or condemned), as it is and changed.
    """

    fault: float
    missed: str
    field: str
    value: str
    before: float
    after: float


def advise(guard: Guard, made: Forecast) -> tuple[Advice, ...]:
    """Say what is missed, and what to change."""
    found: list[Advice] = []
    for fault in made.faults:
        if fault.ramp is None:
            continue
        if fault.ramp.withdrawn < ENOUGH:
            found.append(_better(guard, made, fault, fault.ramp))
        elif fault.ramp.condemned < ENOUGH and guard.judge.cluster_key is None:
            changed = replace(guard, judge=replace(guard.judge, cluster_key=ClusterKey(header="x-user")))
            after = on_the_way_up(changed, made.rate_per_s, made.error, fault.error).condemned
            if after > fault.ramp.condemned:
                words = "withdrawn, but not condemned before promotion"
                found.append(
                    _advice(fault, words, "spec.judge.clusterKey", "a header or cookie", (fault.ramp.condemned, after))
                )
    return tuple(found)


def _better(guard: Guard, made: Forecast, fault: Fault, now: Found) -> Advice:
    """Try proposals, the mildest first, and give the first that is enough, else the best of them."""
    best = _advice(fault, "not withdrawn before promotion", "", "", (now.withdrawn, now.withdrawn))
    for field, value, changed in _proposals(guard, fault):
        after = on_the_way_up(changed, made.rate_per_s, made.error, fault.error).withdrawn
        if after > best.after:
            best = replace(best, field=field, value=value, after=after)
        if after >= ENOUGH:
            break
    return best


def _proposals(guard: Guard, fault: Fault) -> Iterator[tuple[str, str, Guard]]:
    strategy = guard.strategy
    if isinstance(strategy, BlueGreen):
        yield "spec.bake.for", f"{4 * guard.bake_s:.0f}s", replace(guard, bake_s=4 * guard.bake_s)
        return
    if not isinstance(strategy, Canary):
        return
    within_s = strategy.steps[0].within_s
    if strategy.steps == adaptive_steps(users_hurt=strategy.steps[1].users_hurt or 0.0, within_s=within_s):
        for times in (2, 4):
            steps = tuple(replace(step, within_s=times * within_s) for step in strategy.steps)
            yield "spec.strategy.adaptive.within", f"{times * within_s:.0f}s", _with(guard, steps)
        return
    needs = fault.first_step.needs if fault.first_step else None
    if needs is None:
        return
    count = _round_up(needs)
    first = replace(strategy.steps[0], min_requests=max(count, strategy.steps[0].min_requests))
    path = "spec.strategy.canary.steps[0].minRequests"
    yield path, str(first.min_requests), _with(guard, (first, *strategy.steps[1:]))


def _with(guard: Guard, steps: tuple[CanaryStep, ...]) -> Guard:
    return replace(guard, strategy=Canary(steps=steps))


def _round_up(value: float) -> int:
    """Two digits are enough of a simulation."""
    unit: int = 10 ** max(0, int(log10(max(value, 1.0))) - 1)
    return ceil(value / unit) * unit


def _advice(fault: Fault, missed: str, field: str, value: str, shares: tuple[float, float]) -> Advice:
    before, after = shares
    return Advice(fault=fault.error, missed=missed, field=field, value=value, before=before, after=after)


def words(advice: Advice) -> str:
    """Say it in a sentence."""
    size = "total failure" if advice.fault >= 1.0 else f"{100 * advice.fault:g} % errors"
    head = f"{size}: {advice.missed} in {_times(1.0 - advice.before)} of {RUNS} simulated releases"
    if not advice.field:
        return f"{head}; no change of a single field that was tried finds more: it takes more requests"
    return f"{head}; with {advice.field}: {advice.value}, in {_times(1.0 - advice.after)}"


def _times(share: float) -> str:
    return f"{round(share * RUNS)}"
