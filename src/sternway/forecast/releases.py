"""READ THIS FIRST: many releases of one Guard side by side, from the first exposure to the end of the bake.

The judge is the production one (`judgement.columns`), the shares are the engine's (`engine.exposure`), and the moves
between exposures are those of `engine.advance`, for arrays. A release is looked at when the candidate answers badly, and
in between about as often as matters: blocks of evidence with an equal split multiply to the same whatever their number.
`tests/forecast` holds this against the engine itself. Only errors are simulated, each for a caller of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from sternway.domain.evidence import Counts
from sternway.domain.guards import Canary, CanaryStep, Guard, Until
from sternway.engine.advance import MANY_WITHDRAWALS
from sternway.engine.exposure import percent_of_second_look, percent_of_steps, second_look_requests
from sternway.engine.lifecycle import waits_for_certainty
from sternway.judgement import begin, columns
from sternway.judgement.asking import arms_beside, has_history
from sternway.judgement.blocks import Bools
from sternway.judgement.bounds import excesses_left
from sternway.judgement.budget import budget
from sternway.judgement.columns import Batch, Columns
from sternway.judgement.comparison import ERRORS
from sternway.judgement.rounds import PLACEBO_ARMS, RaceColumns
from sternway.stats.exact import Floats, Ints

REACT_S = 0.1
"""From a bad answer to the last one before the traffic is away: measured, see docs/performance.md (`detect`)."""
SHORTEST_S, LONGEST_S = 1.0, 10.0
"""How long nobody looks while the candidate answers well: a tenth of the time in the step, within these bounds."""
_START_S = 1_000_000.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the service gets, and how its stable version does. before: stable's answers before the release."""

    rate_per_s: float
    stable_error: float
    before: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How R releases ended, each array [R]; NaN where something never happened. Times count from the first exposure.

    withdrawn_*: at the first withdrawal (a condemnation without one counts). hurt: bad answers beyond stable's own rate
    until the end; shielded: those of them that the shield's budget would not cover, if all requests were safe.
    """

    withdrawn_s: Floats
    withdrawn_requests: Floats
    withdrawn_hurt: Floats
    withdrawn_shielded: Floats
    condemned_s: Floats
    condemned_requests: Floats
    promoted_s: Floats
    hurt: Floats
    shielded: Floats


@dataclass(slots=True, kw_only=True)
class _Rows:
    """The releases under way. `row`: which one it is; the rest as in `domain.releases.Release`."""

    row: Ints
    error: Floats
    held: Bools
    now_s: Floats
    step_s: Floats
    index: Ints
    step_requests: Floats
    percent: Floats
    second_look: Bools
    baking: Bools
    was_at_all: Bools
    withdrawals: Ints
    requests: Floats
    bad: Floats
    unrescued: Floats
    evidence: Columns


class Releases:
    """A Guard's releases under some traffic."""

    def __init__(self, guard: Guard, traffic: Traffic, *, seed: int) -> None:
        self._guard = guard
        self._traffic = traffic
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._evidence = begin(
            guard.judge,
            stable="stable",
            candidate="candidate",
            stable_ms=(),
            before=traffic.before,
            control=guard.keeps_control,
        )
        self._spent = budget(guard.judge, history=has_history(self._evidence))
        self._canary = isinstance(guard.strategy, Canary)
        self._steps: tuple[CanaryStep, ...] = guard.strategy.steps if isinstance(guard.strategy, Canary) else ()
        self._control = guard.bake_control_percent if self._canary else 0.0
        self._keyed = guard.judge.cluster_key is not None

    def run(self, error: Floats, *, held: Bools, longest_s: Floats) -> Ended:
        """Follow releases whose candidates have these error rates; those that are held never leave the first step."""
        rows, ended = self._start(error, held), _nobody_yet(error.size)
        while rows.row.size:
            self._look(rows)
            over = self._decide(rows, ended) | (rows.now_s - _START_S > longest_s[rows.row])
            if over.any():
                at = rows.row[over]
                ended.hurt[at] = _beyond(rows.bad, rows, self._traffic)[over]
                ended.shielded[at] = _beyond(rows.unrescued, rows, self._traffic)[over]
                rows = _kept(rows, np.nonzero(~over)[0])
        return ended

    def _start(self, error: Floats, held: Bools) -> _Rows:
        size = error.size
        zeros = np.zeros(size)
        return _Rows(
            row=np.arange(size),
            error=error,
            held=held,
            now_s=np.full(size, _START_S),
            step_s=np.full(size, _START_S),
            index=np.zeros(size, dtype=np.int64),
            step_requests=zeros.copy(),
            percent=zeros.copy(),
            second_look=np.zeros(size, dtype=bool),
            baking=np.full(size, not self._canary),
            was_at_all=np.full(size, not self._canary),
            withdrawals=np.zeros(size, dtype=np.int64),
            requests=zeros.copy(),
            bad=zeros.copy(),
            unrescued=zeros.copy(),
            evidence=columns.pack([self._evidence] * size),
        )

    def _look(self, rows: _Rows) -> None:
        """Let requests come until the candidate answers badly, or until somebody looks anyway; then judge."""
        self._weigh(rows)
        rate = self._traffic.rate_per_s
        ours, theirs = rate * rows.percent / 100.0, rate * (1.0 - rows.percent / 100.0)
        spent_s = rows.now_s - rows.step_s
        # Late in a bake answers are many: there a look each second does, and what is found may be found a second late.
        late = rows.baking & (spent_s > LONGEST_S)
        waits = np.where(late, SHORTEST_S, np.clip(spent_s / 10.0, SHORTEST_S, LONGEST_S))
        first_bad_s = self._random.exponential(1.0 / np.maximum(ours * rows.error, 1e-12))
        passed_s = np.where(late, waits, np.minimum(waits, first_bad_s))
        one = (first_bad_s <= waits).astype(np.int64)
        bad = np.where(late, self._random.poisson(ours * rows.error * passed_s), one)
        answered = self._random.poisson(ours * (1.0 - rows.error) * passed_s) + bad
        start_s = rows.now_s
        rows.now_s = start_s + passed_s
        batch = self._count(rows, answered, bad, theirs * passed_s, start_s)
        concurrent = self._concurrent(rows)
        rows.evidence = columns.fold(
            self._guard.judge, self._spent, rows.evidence, batch, now_s=rows.now_s, concurrent=concurrent
        )
        rows.step_requests = rows.step_requests + answered
        self._suffer(rows, answered, bad)

    def _count(self, rows: _Rows, answered: Ints, bad: Ints, theirs: Floats, start_s: Floats) -> Batch:
        """Count as a signal source would: stable's answers, those in placebo arms among them, and every unit."""
        p, random = self._traffic.stable_error, self._random
        cut = np.array([arms_beside(percent) for percent in rows.percent.tolist()]).reshape(-1, 2)
        cut[columns.covered(rows.evidence)] = 0.0
        kinds = len(rows.evidence.race.names)
        share = np.where(np.arange(PLACEBO_ARMS) < cut[:, :1], cut[:, 1:], 0.0)
        share = np.concatenate((share, np.maximum(0.0, 1.0 - share.sum(axis=1, keepdims=True))), axis=1)
        expected = theirs[:, None] * share
        bads = random.poisson(expected * p)
        totals = random.poisson(expected * (1.0 - p)) + bads
        errors = np.stack((answered, bad, totals.sum(axis=1), bads.sum(axis=1)), axis=1).astype(np.int64)
        kind, none = rows.evidence.kind, np.zeros_like(errors)
        arms = np.stack((totals[:, :-1], bads[:, :-1]), axis=2).astype(np.int64)
        compared = [errors if one.name == ERRORS else none for one in kind.compared]
        limited = [errors if one.name == ERRORS else none for one in kind.limited]
        size = rows.row.size
        return Batch(
            start_s=start_s,
            answered=answered > 0,
            errors=_first_of(errors, kinds),
            compared=np.stack(compared, axis=1) if compared else np.zeros((size, 0, 4), dtype=np.int64),
            limited=np.stack(limited, axis=1) if limited else np.zeros((size, 0, 4), dtype=np.int64),
            arms=_first_of(arms, kinds),
        )

    def _decide(self, rows: _Rows, ended: Ended) -> Bools:
        """Judge, and move each release on; says which are over."""
        standing = columns.stand(self._spent, rows.evidence, concurrent=self._concurrent(rows))
        harmful = standing.harmful
        suspected = standing.suspected & ~harmful
        self._take_away(rows, ended, harmful | suspected)
        ended.condemned_s[rows.row[harmful]] = rows.now_s[harmful] - _START_S
        ended.condemned_requests[rows.row[harmful]] = rows.requests[harmful]
        tired = self._withdraw(rows, suspected)
        baked = rows.baking & ~suspected & ~harmful & (rows.now_s - rows.step_s >= self._guard.bake_s)
        self._go_on(rows, ended, ~harmful & ~suspected & ~rows.baking)
        return harmful | tired | baked

    def _take_away(self, rows: _Rows, ended: Ended, which: Bools) -> None:
        """Until the proxies have followed, the candidate goes on answering for a moment."""
        if not which.any():
            return
        late = np.where(which, self._traffic.rate_per_s * rows.percent / 100.0 * REACT_S, 0.0)
        self._suffer(rows, late, late * rows.error)
        first = which & np.isnan(ended.withdrawn_s[rows.row])
        at = rows.row[first]
        ended.withdrawn_s[at] = rows.now_s[first] - _START_S
        ended.withdrawn_requests[at] = rows.requests[first]
        ended.withdrawn_hurt[at] = _beyond(rows.bad, rows, self._traffic)[first]
        ended.withdrawn_shielded[at] = _beyond(rows.unrescued, rows, self._traffic)[first]

    def _withdraw(self, rows: _Rows, suspected: Bools) -> Bools:
        """Wait, and expose again; after many times a person is asked, and nothing happens by itself any more."""
        if not suspected.any():
            return suspected
        rows.withdrawals = rows.withdrawals + suspected
        at_all = rows.baking | (rows.second_look & rows.was_at_all)
        if waits_for_certainty(self._guard.strategy):
            at_all = np.zeros_like(at_all)
            rows.index = np.where(suspected, 0, rows.index)
        rows.was_at_all = np.where(suspected, at_all, rows.was_at_all)
        small = at_all | (not self._keyed)
        rows.second_look = np.where(suspected, small, rows.second_look)
        rows.baking = rows.baking & ~suspected
        again_s = np.fmax(rows.now_s + self._guard.withdraw_s, self._warm_s(rows))
        rows.now_s = np.where(suspected, again_s, rows.now_s)
        rows.evidence = columns.expose(columns.suspect(rows.evidence, suspected), suspected)
        self._enter(rows, suspected)
        tired: Bools = suspected & (rows.withdrawals % MANY_WITHDRAWALS == 0)
        return tired

    def _go_on(self, rows: _Rows, ended: Ended, free: Bools) -> None:
        """Pass the step, or the second look, when enough was answered and enough is sure."""
        passed_s = rows.now_s - rows.step_s
        free = free & ~(rows.now_s < self._warm_s(rows))
        enough = np.array([second_look_requests(count) for count in rows.withdrawals.tolist()])
        looked = rows.second_look & (rows.step_requests >= enough)
        passed = np.zeros(free.shape, dtype=bool)
        left = excesses_left(self._guard.judge, rows.evidence.bounded)
        for at, step in enumerate(self._steps):
            here = (rows.index == at) & ~rows.second_look & ~rows.held
            sure = passed_s >= step.within_s
            if step.until is None:
                sure[:] = True
            elif step.until is Until.HEALTHY:
                sure |= left <= self._guard.judge.healthy_and_percent / 100.0
            else:
                sure |= left < 1.0
            passed |= here & sure & (rows.step_requests >= step.min_requests) & (passed_s >= step.hold_s)
        passed, looked = passed & free, looked & free
        last = passed & (rows.index == len(self._steps) - 1)
        first = last & np.isnan(ended.promoted_s[rows.row])
        ended.promoted_s[rows.row[first]] = rows.now_s[first] - _START_S
        rows.baking = rows.baking | last | (looked & rows.was_at_all)
        rows.index = rows.index + (passed & ~last)
        rows.second_look = rows.second_look & ~looked
        self._enter(rows, passed | looked)

    def _warm_s(self, rows: _Rows) -> Floats:
        warm_s: Floats = rows.evidence.fresh_s + self._guard.judge.warm_up_s
        return warm_s

    def _enter(self, rows: _Rows, which: Bools) -> None:
        rows.step_s = np.where(which, rows.now_s, rows.step_s)
        rows.step_requests = np.where(which, 0.0, rows.step_requests)

    def _weigh(self, rows: _Rows) -> None:
        """Give every release the share that the engine would."""
        rate = self._traffic.rate_per_s
        known: dict[tuple[int, bool, bool, float, float], float] = {}
        percents = []
        left = excesses_left(self._guard.judge, rows.evidence.bounded).tolist()
        flags = (rows.second_look.tolist(), rows.baking.tolist())
        for key in zip(rows.index.tolist(), *flags, rows.percent.tolist(), left, strict=True):
            if key not in known:
                index, second_look, baking, now_percent, excess = key
                if baking:
                    known[key] = 100.0 - self._control
                elif second_look:
                    known[key] = percent_of_second_look(rate, now_percent)
                else:
                    known[key] = percent_of_steps(
                        self._steps[: index + 1], rate, now_percent, excess, most=self._guard.capped_at_percent
                    )
            percents.append(known[key])
        rows.percent = np.array(percents)

    def _concurrent(self, rows: _Rows) -> Bools:
        return np.ones(rows.row.shape, dtype=bool) if self._guard.keeps_control else ~rows.baking

    def _suffer(self, rows: _Rows, answered: Any, bad: Any) -> None:
        """Count the candidate's answers, and the bad ones that the shield's budget would not cover."""
        asks = rows.percent * rows.error
        covered = np.minimum(1.0, self._guard.shield.budget_percent / np.maximum(asks, 1e-9))
        rows.requests = rows.requests + answered
        rows.bad = rows.bad + bad
        rows.unrescued = rows.unrescued + bad * (1.0 - (covered if self._guard.shield.enabled else 0.0))


def _nobody_yet(size: int) -> Ended:
    return Ended(**{field.name: np.full(size, np.nan) for field in fields(Ended)})


def _beyond(bad: Floats, rows: _Rows, traffic: Traffic) -> Floats:
    """Leave out what stable would have answered badly as well."""
    own = 1.0 - np.minimum(1.0, traffic.stable_error / np.maximum(rows.error, 1e-12))
    return bad * own


def _kept(rows: _Rows, at: Ints) -> _Rows:
    """Keep some of the releases."""
    changes = {field.name: getattr(rows, field.name)[at] for field in fields(_Rows) if field.name != "evidence"}
    return _Rows(**changes, evidence=_taken(rows.evidence, at))


def _first_of(counts: Ints, kinds: int) -> Ints:
    """[R, …] -> [R, kinds, …] Count as all errors, and none of a kind that counts alone."""
    found = np.zeros((counts.shape[0], kinds, *counts.shape[1:]), dtype=np.int64)
    found[:, 0] = counts
    return found


_SHARED = frozenset({"kind", "names", "slow", "historic", "limit"})
"""Columns that belong to the criteria, not to the releases."""


def _taken(value: _T, at: Ints) -> _T:
    """Take some releases; the races of each stand side by side."""
    changes: dict[str, Any] = {}
    for field in fields(value):  # type: ignore[arg-type]  # a dataclass of arrays
        part = getattr(value, field.name)
        if isinstance(part, RaceColumns):
            each = len(part.names)
            changes[field.name] = _taken(part, (at[:, None] * each + np.arange(each)).ravel())
        elif field.name not in _SHARED:
            changes[field.name] = _taken(part, at) if is_dataclass(part) else part[at]
    return replace(value, **changes)  # type: ignore[type-var]
