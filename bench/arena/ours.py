"""The judge of Sternway as a rule: the production arithmetic over R releases, and the engine's moves. Used by `bench`.

The evidence is `sternway.judgement.columns`, the very code that production runs. The engine's moves (steps, second
looks, bake) are written again for arrays, as short as they can be; tests hold them to the engine's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.arena.chance import Bools, Floats, Ints
from bench.arena.durations import QUANTILES, above, quantile_ms
from bench.arena.rules import CANDIDATE_TOTAL, Said, Seen, Setup
from sternway.domain.guards import CAPPED_WITHOUT_KEY_PERCENT, Canary, CanaryStep, Guard, Until
from sternway.domain.tallies import Unit
from sternway.engine.advance import MANY_WITHDRAWALS
from sternway.engine.exposure import (
    LEARN_MOST_PERCENT,
    LEARN_PER_S,
    LEARN_PERCENT,
    MOST_DOUBLINGS,
    REACT_S,
    SECOND_LOOK,
    SLACK,
    SMALLEST_PERCENT,
)
from sternway.engine.lifecycle import waits_for_certainty
from sternway.judgement import begin, columns
from sternway.judgement.asking import has_history
from sternway.judgement.bounds import excesses_left
from sternway.judgement.budget import budget
from sternway.judgement.comparison import ERRORS

STABLE, CANDIDATE = "stable", "candidate"
BEGINS_S = 1_000_000.0
EXPOSED, WITHDRAWN, BAKING, OVER = range(4)
RATE_S = 5.0
"""Over how many seconds the rate of requests is known."""


def fixed(percent: float) -> tuple[CanaryStep, ...]:
    """One step that never ends."""
    return (CanaryStep(percent=percent, min_requests=10**12),)


class Judged:
    """The evidence of R releases, and what it says."""

    def __init__(self, guard: Guard, size: int) -> None:
        settings = self._settings = guard.judge
        assert not settings.alone, "the arena has errors of one kind"
        timed = bool(settings.latency_quantiles)
        stable_ms = tuple((share, quantile_ms(share)) for share in QUANTILES) if timed else ()
        evidence = begin(settings, stable=STABLE, candidate=CANDIDATE, stable_ms=stable_ms, control=guard.keeps_control)
        self._budget = budget(settings, history=has_history(evidence))
        self._columns = columns.pack([evidence] * size)
        self._all = np.ones(size, dtype=bool)
        self._thresholds = {one.criterion: one for one in evidence.thresholds}

    def fold(self, seen: Seen) -> tuple[Bools, Bools]:
        """Take a tick in; who is harmful, and who is suspected."""
        size, kind = len(seen.share), self._columns.kind
        batch = columns.Batch(
            start_s=np.full(size, BEGINS_S + seen.start_s),
            answered=seen.errors[:, CANDIDATE_TOTAL] > 0,
            errors=seen.errors[:, None],
            compared=self._counts([(one.name, one.unit == Unit.CLUSTER.value) for one in kind.compared], seen),
            limited=self._counts([(one.name, False) for one in kind.limited], seen),
            arms=seen.arms[:, None],
        )
        now_s = np.full(size, BEGINS_S + seen.end_s)
        self._columns = columns.fold(
            self._settings, self._budget, self._columns, batch, now_s=now_s, concurrent=self._all
        )
        standing = columns.stand(self._budget, self._columns, concurrent=self._all)
        self._columns = columns.suspect(self._columns, standing.suspected)
        return standing.harmful, standing.suspected

    def expose(self, which: Bools) -> None:
        """Begin another exposure."""
        self._columns = columns.expose(self._columns, which)

    def warm(self, now_s: float) -> Bools:
        """[R] Who is warm; a suspected candidate gets no traffic before."""
        return ~(BEGINS_S + now_s - self._columns.fresh_s < self._settings.warm_up_s)

    def excess(self) -> Floats:
        """[R] How much higher than stable's the candidate's error rate could still be, 0..1."""
        return excesses_left(self._settings, self._columns.bounded)

    def _counts(self, wanted: list[tuple[str, bool]], seen: Seen) -> Ints:
        """[R, criteria, 4] in the order of the criteria."""
        found = []
        for name, keyed in wanted:
            if name == ERRORS:
                found.append(seen.keyed if keyed else seen.errors)
                continue
            threshold, counts = self._thresholds[name], seen.errors.copy()
            assert seen.slower is not None
            counts[:, 1] = seen.slower[:, 0, above(threshold.candidate_ms)]
            counts[:, 3] = seen.slower[:, 1, above(threshold.stable_ms)]
            found.append(counts)
        return np.stack(found, axis=1) if found else np.zeros((len(seen.share), 0, 4), dtype=np.int64)


@dataclass(slots=True)
class _Where:
    """Where R releases stand, each [R]; as `domain.releases.Release` says of one."""

    phase: Ints
    index: Ints
    percent: Floats
    step_s: Floats
    requests: Ints
    second: Bools
    from_bake: Bools
    withdrawals: Ints
    baked_s: Floats


class Sternway:
    """Sternway under a Guard. Automatic: nobody answers questions."""

    def __init__(self, guard: Guard) -> None:
        assert isinstance(guard.strategy, Canary)
        self._guard, self._steps = guard, guard.strategy.steps

    def start(self, setup: Setup) -> Floats:
        """Expose every candidate for the first time."""
        size = setup.size
        self.judged = Judged(self._guard, size)
        zero = np.zeros(size, dtype=np.int64)
        self._at = _Where(
            phase=zero.copy(),
            index=zero.copy(),
            percent=np.zeros(size),
            step_s=np.zeros(size),
            requests=zero.copy(),
            second=np.zeros(size, dtype=bool),
            from_bake=np.zeros(size, dtype=bool),
            withdrawals=zero.copy(),
            baked_s=np.zeros(size),
        )
        self._rate_per_s = np.full(size, setup.rate_per_s)
        self._condemned = np.zeros(size, dtype=bool)
        self._shipped = np.zeros(size, dtype=bool)
        self._weigh()
        return self._at.percent / 100.0

    def step(self, seen: Seen) -> Said:
        """As `engine.step`: judge, then move."""
        at, now_s = self._at, seen.end_s
        tick_s = now_s - seen.start_s
        part = min(1.0, tick_s / RATE_S)
        answered = seen.errors[:, 0] + seen.errors[:, 2]
        self._rate_per_s = (1.0 - part) * self._rate_per_s + part * answered / tick_s
        at.requests += seen.errors[:, CANDIDATE_TOTAL]
        harmful, suspected = self.judged.fold(seen)
        live = at.phase != OVER
        self._condemned |= live & harmful
        at.phase = np.where(self._condemned, OVER, at.phase)
        again = (at.phase == WITHDRAWN) & (now_s - at.step_s >= self._guard.withdraw_s - 1e-6)
        again &= self.judged.warm(now_s)
        asked = again & (at.withdrawals % MANY_WITHDRAWALS == 0)
        again &= ~asked
        suspected = suspected & ((at.phase == EXPOSED) | (at.phase == BAKING))
        onward = (at.phase == EXPOSED) & ~suspected & self._passed(now_s) & self.judged.warm(now_s)
        bakes = (at.phase == BAKING) & ~suspected
        self._withdraw(suspected, now_s)
        if again.any():
            self._look_again(again, now_s)
        self._go_on(onward, now_s)
        at.baked_s = np.where(bakes, at.baked_s + tick_s, at.baked_s)
        self._shipped |= bakes & (at.baked_s >= self._guard.bake_s - 1e-6)
        at.phase = np.where(asked | self._shipped, OVER, at.phase)
        self._weigh()
        return Said(
            share=np.where(self._shipped, 1.0, at.percent / 100.0),
            condemned=self._condemned,
            withdrawn=suspected,
            shipped=self._shipped,
            asked=asked,
        )

    def _withdraw(self, which: Bools, now_s: float) -> None:
        at = self._at
        at.from_bake = np.where(which, (at.phase == BAKING) | (at.second & at.from_bake), at.from_bake)
        at.phase = np.where(which, WITHDRAWN, at.phase)
        at.withdrawals = at.withdrawals + which
        at.step_s = np.where(which, now_s, at.step_s)

    def _look_again(self, which: Bools, now_s: float) -> None:
        at = self._at
        self.judged.expose(which)
        keyless = self._guard.judge.cluster_key is None
        if waits_for_certainty(self._guard.strategy):
            at.index, at.from_bake = np.where(which, 0, at.index), at.from_bake & ~which
        at.second = np.where(which, keyless | at.from_bake, at.second)
        self._enter(which, EXPOSED, now_s)

    def _go_on(self, which: Bools, now_s: float) -> None:
        """A step, or a second look, is passed."""
        at = self._at
        same = which & at.second & ~at.from_bake
        last = at.index + 1 >= len(self._steps)
        bakes = which & ~same & (last | (at.second & at.from_bake))
        on = which & ~same & ~bakes
        at.index = at.index + on
        at.second = at.second & ~(same | bakes)
        at.baked_s = np.where(bakes, 0.0, at.baked_s)
        self._enter(same | on, EXPOSED, now_s)
        self._enter(bakes, BAKING, now_s)

    def _enter(self, which: Bools, phase: int, now_s: float) -> None:
        at = self._at
        at.phase = np.where(which, phase, at.phase)
        at.step_s = np.where(which, now_s, at.step_s)
        at.requests = np.where(which, 0, at.requests)

    def _passed(self, now_s: float) -> Bools:
        at, settings = self._at, self._guard.judge
        left = self.judged.excess()
        needed = SECOND_LOOK.min_requests << np.clip(at.withdrawals - 1, 0, MOST_DOUBLINGS)
        passed = at.second & (at.requests >= needed)
        for index, step in enumerate(self._steps):
            here = ~at.second & (at.index == index) & (at.requests >= step.min_requests)
            here &= now_s - at.step_s >= step.hold_s
            if step.until is not None:
                sure = left <= settings.healthy_and_percent / 100.0 if step.until is Until.HEALTHY else left < 1.0
                here &= sure | (now_s - at.step_s >= step.within_s)
            passed |= here
        return passed

    def _weigh(self) -> None:
        """As `engine.exposure.percent_of_step`."""
        at = self._at
        excess = self.judged.excess()
        most = self._guard.capped_at_percent
        percent = np.zeros(len(at.phase))
        for index, step in enumerate(self._steps):
            percent = np.where(at.index >= index, np.maximum(percent, self._percent(step, excess, most)), percent)
        percent = np.where(at.second, self._percent(SECOND_LOOK, excess, CAPPED_WITHOUT_KEY_PERCENT), percent)
        percent = np.where(at.phase == BAKING, 100.0 - self._guard.bake_control_percent, percent)
        at.percent = np.where((at.phase == EXPOSED) | (at.phase == BAKING), percent, 0.0)

    def _percent(self, step: CanaryStep, excess: Floats, most: float) -> Floats:
        now, rate = self._at.percent, np.maximum(self._rate_per_s, 1e-9)
        if step.percent is not None:
            return np.full(now.shape, step.percent)
        if step.users_hurt is not None:
            wanted = np.clip(100.0 * LEARN_PER_S / rate, LEARN_PERCENT, LEARN_MOST_PERCENT)
            wanted = np.minimum(wanted, 100.0 * step.users_hurt / (rate * excess * REACT_S))
        else:
            assert step.requests_per_second is not None
            wanted = np.minimum(most, 100.0 * step.requests_per_second / rate)
        close = (now > 0.0) & (np.abs(wanted - now) <= SLACK * now)
        fine = np.maximum(np.round(wanted, 4), SMALLEST_PERCENT)
        return np.where(close, now, np.where(wanted >= 1.0, np.round(wanted, 2), fine))
