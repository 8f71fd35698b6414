"""The real engine as a rule, one release at a time: what `ours` is held to. Slow; used by the tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.arena.chance import Floats
from bench.arena.ours import BEGINS_S, RATE_S
from bench.arena.rules import PLACEBO_ARMS, Said, Seen, Setup
from sternway.domain.guards import Guard
from sternway.domain.mesh import MeshPolicy
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Observation, Phase, Progress, Wanted
from sternway.domain.tallies import Reading, Tally, Unit
from sternway.domain.traffic import TrafficPlan
from sternway.domain.versions import Service, Version, Workload
from sternway.engine import lifecycle
from sternway.engine.step import step

SERVICE = Service(name="arena", port=8080)
OLD, NEW = (
    Version(service="arena", workload=Workload(image=f"arena:{tag}", port=8080), policy=MeshPolicy(), commit=tag)
    for tag in ("1", "2")
)
AWAY = (Phase.ASKING, Phase.ROLLING_BACK, Phase.ROLLED_BACK)


class OneByOne:
    """`sternway.engine.step` for every release."""

    def __init__(self, guard: Guard) -> None:
        self._wanted = Wanted(service=SERVICE, version=NEW, replicas=3, guard=guard, commit="2")

    def start(self, setup: Setup) -> Floats:
        """Both versions are ready: every candidate is exposed by the first pass."""
        begun = Progress(service="arena", stable=OLD, good=(OLD,), rate_per_s=setup.rate_per_s)
        begun = lifecycle.begin(begun, self._wanted, BEGINS_S)
        self._at = [begun] * setup.size
        self._traffic: list[TrafficPlan | None] = [None] * setup.size
        self._rates = [setup.rate_per_s] * setup.size
        for row in range(setup.size):
            self._pass(row, BEGINS_S, Reading())
        return self._shares()

    def step(self, seen: Seen) -> Said:
        """One pass for each."""
        before = [self._phase(row) for row in range(len(self._at))]
        for row in range(len(self._at)):
            self._pass(row, BEGINS_S + seen.end_s, self._reading(row, seen))
        after = [self._phase(row) for row in range(len(self._at))]
        withdrawn = [now is Phase.WITHDRAWN is not then for then, now in zip(before, after, strict=True)]
        return Said(
            share=self._shares(),
            condemned=np.array([phase in AWAY[1:] for phase in after]),
            withdrawn=np.array(withdrawn),
            shipped=np.array([phase is Phase.PROMOTED for phase in after]),
            asked=np.array([phase is Phase.ASKING for phase in after]),
        )

    def _pass(self, row: int, now_s: float, reading: Reading) -> None:
        workloads = tuple(
            WorkloadState(workload_id=version.workload.id, image=version.workload.image, desired=3, ready=3)
            for version in (OLD, NEW)
        )
        seen = Observation(
            now_s=now_s, wanted=self._wanted, workloads=workloads, traffic=self._traffic[row], reading=reading
        )
        done = step(self._at[row], seen)
        self._at[row], self._traffic[row] = done.progress, done.decision.traffic or self._traffic[row]

    def _reading(self, row: int, seen: Seen) -> Reading:
        start_s, end_s = BEGINS_S + seen.start_s, BEGINS_S + seen.end_s
        errors, keyed = seen.errors[row].tolist(), seen.keyed[row].tolist()
        one = Tally(version="", criterion="errors", start_s=start_s, end_s=end_s, total=0, bad=0)
        tallies = [
            replace(one, version=version.id, total=counts[at], bad=counts[at + 1], unit=unit)
            for unit, counts in ((Unit.REQUEST, errors), (Unit.CLUSTER, keyed))
            for version, at in ((NEW, 0), (OLD, 2))
            if counts[at]
        ]
        tallies += [
            replace(one, version=OLD.id, total=total, bad=bad, arm=arm)
            for arm, (total, bad) in zip(range(PLACEBO_ARMS), seen.arms[row].tolist(), strict=True)
            if total
        ]
        lasts_s = seen.end_s - seen.start_s
        part = min(1.0, lasts_s / RATE_S)
        self._rates[row] = (1.0 - part) * self._rates[row] + part * (errors[0] + errors[2]) / lasts_s
        return Reading(tallies=tuple(tallies), rate_per_s=self._rates[row])

    def _phase(self, row: int) -> Phase:
        release = self._at[row].release
        assert release is not None
        return release.phase

    def _shares(self) -> Floats:
        return np.array([plan.split.percent(NEW.id) / 100.0 if plan else 0.0 for plan in self._traffic])
