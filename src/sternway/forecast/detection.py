"""How soon a Guard finds faults of several sizes, from simulated releases. Called by `sternway check`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from sternway.domain.evidence import Counts
from sternway.domain.guards import ABTest, Canary, Guard, Then
from sternway.engine.step import REMEMBERED
from sternway.engine.world import TICK_S
from sternway.forecast.releases import REACT_S, Ended, Releases, Traffic
from sternway.stats.exact import Floats

FAULTS = (0.005, 0.01, 0.05, 1.0)
RUNS = 40
SEED = 1
HELD_S, RAMP_S = 3600.0, 2 * 3600.0
"""How long a release that stays in its first step is followed, and one that goes its way."""
MOST_MISSED = 0.05
"""A fault is called found when at least all but this share of the releases are taken away in time."""
USUAL_ERROR = 0.001
"""Stable's error rate where nothing has been seen of it."""
BEFORE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The traffic that a forecast is for. error: how often stable answers badly, 0..1; None when nobody has seen it."""

    rate_per_s: float
    error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How releases with one fault went: medians of those in which it happened at all, None where it never did.

    withdrawn, condemned: the share of the releases, 0..1, before promotion (in a step that is held: within an hour).
    late: the share that was promoted and taken away in the bake. hurt: bad answers beyond stable's own rate until the
    release was over; hurt_shielded: at most so many with the shield up, if all requests are safe ones.
    needs: the candidate's requests until the withdrawal in all but one of twenty releases, where so many were withdrawn.
    """

    withdrawn: float
    requests: float | None
    seconds: float | None
    condemned: float
    condemned_requests: float | None
    condemned_seconds: float | None
    hurt_withdrawn: float
    hurt: float
    hurt_shielded: float
    late: float = 0.0
    needs: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One size of fault. tolerated: it is within the Guard's margins, so nothing is to be found."""

    error: float
    tolerated: bool = False
    first_step: Found | None = None
    ramp: Found | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """How long nothing may be seen. looks_s: between two looks, when nothing calls. reacts_s: from a bad answer to no traffic.

    borne_s, then: how long blindness is borne, and what follows. away_s: a withdrawn candidate is not seen for so long.
    """

    looks_s: float
    reacts_s: float
    borne_s: float
    then: Then
    away_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a Guard is good for. assumed: nobody has seen stable's errors. unknown: why nothing can be computed."""

    service: str
    rate_per_s: float
    error: float
    assumed: bool
    faults: tuple[Fault, ...]
    blind: Blind
    unknown: str = ""


def forecast(guard: Guard, known: Known) -> Forecast:
    """Foresee how a Guard's releases go."""
    error = USUAL_ERROR if known.error is None else known.error
    unknown = _unknown(guard, known)
    return Forecast(
        service=guard.service,
        rate_per_s=known.rate_per_s,
        error=error,
        assumed=known.error is None,
        faults=() if unknown else simulated(replace(guard, service=""), known.rate_per_s, error),
        blind=Blind(
            looks_s=TICK_S,
            reacts_s=REACT_S,
            borne_s=guard.blind_s,
            then=guard.blind_then,
            away_s=guard.withdraw_s,
        ),
        unknown=unknown,
    )


def _unknown(guard: Guard, known: Known) -> str:
    if isinstance(guard.strategy, ABTest):
        return "how many requests belong to the group of an A/B test is not known beforehand"
    if known.rate_per_s <= 0.0:
        return "without requests nothing is ever found"
    return ""


@cache
def simulated(guard: Guard, rate_per_s: float, error: float) -> tuple[Fault, ...]:
    """Simulate every fault: in the first step, were it held, and on the way up."""
    margin = guard.judge.worse_than_percent / 100.0 * error + guard.judge.and_percent / 100.0
    sought = tuple(fault for fault in FAULTS if fault > error + margin)
    ways = (False, True) if isinstance(guard.strategy, Canary) else (False,)
    cases = tuple((fault, held) for fault in sought for held in ways)
    found = dict(zip(cases, _run(guard, rate_per_s, error, cases), strict=True))
    return tuple(
        Fault(
            error=fault,
            tolerated=fault not in sought,
            first_step=found.get((fault, True)),
            ramp=found.get((fault, False)),
        )
        for fault in FAULTS
    )


def on_the_way_up(guard: Guard, rate_per_s: float, error: float, fault: float) -> Found:
    """Simulate one fault of releases that go their way."""
    return _run(guard, rate_per_s, error, ((fault, False),))[0]


def _run(guard: Guard, rate_per_s: float, error: float, cases: tuple[tuple[float, bool], ...]) -> list[Found]:
    """Simulate some releases of every case: a fault, and whether they are held in the first step."""
    remembered = int(min(REMEMBERED, rate_per_s * BEFORE_S))
    before = Counts(stable_total=remembered, stable_bad=round(remembered * error))
    traffic = Traffic(rate_per_s=rate_per_s, stable_error=error, before=before)
    errors = np.repeat(np.array([fault for fault, _ in cases]), RUNS)
    held = np.repeat(np.array([stays for _, stays in cases], dtype=bool), RUNS)
    longest_s = np.where(held, HELD_S, RAMP_S)
    ended = Releases(guard, traffic, seed=SEED).run(errors, held=held, longest_s=longest_s)
    return [_found(ended, slice(at * RUNS, (at + 1) * RUNS)) for at in range(len(cases))]


def _found(ended: Ended, rows: slice) -> Found:
    withdrawn_s, condemned_s, promoted_s = ended.withdrawn_s[rows], ended.condemned_s[rows], ended.promoted_s[rows]
    ever = ~np.isnan(withdrawn_s)
    in_time = ever & ~(withdrawn_s > np.nan_to_num(promoted_s, nan=np.inf))
    requests = np.where(in_time, ended.withdrawn_requests[rows], np.inf)
    needs = float(np.quantile(requests, 1.0 - MOST_MISSED, method="higher"))
    return Found(
        withdrawn=float(in_time.mean()),
        requests=_median(ended.withdrawn_requests[rows]),
        seconds=_median(withdrawn_s),
        condemned=float((~np.isnan(condemned_s) & ~(condemned_s > np.nan_to_num(promoted_s, nan=np.inf))).mean()),
        condemned_requests=_median(ended.condemned_requests[rows]),
        condemned_seconds=_median(condemned_s),
        hurt_withdrawn=_median(ended.withdrawn_hurt[rows]) or 0.0,
        hurt=_median(ended.hurt[rows]) or 0.0,
        hurt_shielded=_median(ended.shielded[rows]) or 0.0,
        late=float((ever & ~in_time).mean()),
        needs=needs if np.isfinite(needs) else None,
    )


def _median(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
