"""What the judge asks for, and how its evidence begins. Called by the engine through `sternway.judgement`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from sternway.domain.evidence import Compared, Counts, Evidence, Limited
from sternway.domain.guards import JudgeSettings
from sternway.domain.tallies import LatencyThreshold, Question, Unit
from sternway.judgement import columns
from sternway.judgement.bounds import new_bounds
from sternway.judgement.budget import HISTORY
from sternway.judgement.comparison import ERRORS, new_comparison
from sternway.judgement.crossover import new_crossover
from sternway.judgement.limits import new_history, new_objective
from sternway.judgement.metrics import begin_again
from sternway.judgement.rounds import PLACEBO_ARMS, new_race

# Below a millisecond, a difference between two processes says more about the machine than about a version.
MIN_SLOWER_MS = 1.0


def begin(
    settings: JudgeSettings,
    *,
    stable: str,
    candidate: str,
    stable_ms: tuple[tuple[float, float], ...],
    before: Counts = Counts(),  # noqa: B008 - frozen
    control: bool = False,
) -> Evidence:
    """Return the evidence at the start of a release; latency thresholds are fixed from stable's quantiles where known.

    before: how stable answered lately, before the release. control: stable keeps some traffic beside the candidate to
    the end, so that nothing need be judged by its history.
    """
    objectives = settings.objectives
    limited = [] if control else [new_history(ERRORS)]
    if objectives.availability_percent is not None:
        limited.append(new_objective(ERRORS, 1.0 - objectives.availability_percent / 100.0))
    limited += [new_objective(objective_name(quantile), 1.0 - quantile) for quantile, _ in objectives.latency_ms]
    keyed = settings.cluster_key is not None
    alone = [one.kind.criterion for one in settings.alone]
    evidence = Evidence(
        stable=stable,
        candidate=candidate,
        thresholds=tuple(
            LatencyThreshold(criterion=objective_name(quantile), stable_ms=limit_ms, candidate_ms=limit_ms)
            for quantile, limit_ms in objectives.latency_ms
        ),
        compared=tuple(new_comparison(name, Unit.CLUSTER) for name in (ERRORS, *alone)) if keyed else (),
        race=new_race(settings),
        others=tuple(new_race(settings, name) for name in alone),
        bounded=new_bounds(),
        crossover=new_crossover(),
        before=before,
        limited=tuple(limited),
    )
    return with_thresholds(settings, evidence, stable_ms)


def with_thresholds(
    settings: JudgeSettings, evidence: Evidence, stable_ms: tuple[tuple[float, float], ...]
) -> Evidence:
    """Fix the thresholds that were not known yet. Once fixed, a threshold stays for the release."""
    fixed = {threshold.criterion for threshold in evidence.thresholds}
    new: list[LatencyThreshold] = []
    for quantile in settings.latency_quantiles:
        name = slow_name(quantile)
        value_ms = _at(stable_ms, quantile)
        if name in fixed or value_ms is None or value_ms <= 0.0:
            continue
        slower_ms = max(value_ms * settings.latency_worse_than_percent / 100.0, MIN_SLOWER_MS)
        new.append(LatencyThreshold(criterion=name, stable_ms=value_ms, candidate_ms=value_ms + slower_ms))
    if not new:
        return evidence
    compared: list[Compared] = [new_comparison(threshold.criterion, Unit.REQUEST) for threshold in new]
    limited: list[Limited] = []
    if has_history(evidence):
        limited += [new_history(threshold.criterion) for threshold in new]
    return replace(
        evidence,
        thresholds=(*evidence.thresholds, *new),
        compared=(*evidence.compared, *compared),
        limited=(*evidence.limited, *limited),
    )


def has_history(evidence: Evidence) -> bool:
    """Whether stable's record is among what is judged by."""
    return any(limited.basis == HISTORY for limited in evidence.limited)


def thresholds_missing(settings: JudgeSettings, evidence: Evidence) -> bool:
    """Whether a later reading may still fix a threshold."""
    fixed = {threshold.criterion for threshold in evidence.thresholds}
    return any(slow_name(quantile) not in fixed for quantile in settings.latency_quantiles)


def question(settings: JudgeSettings, evidence: Evidence, *, candidate_percent: float) -> Question:
    """Say what to count next. Placebo arms are as large as the candidate, so there are fewer of them the larger it is.

    Up to 10 % of the traffic nine arms fit beside it, at 25 % three, at 50 % one, above that none. None are asked
    for either while most requests carry a cluster key, because errors are then judged by the key. At 0 % nine of the
    largest size are cut in advance: a question holds from the next reading on, and the first second of an exposure
    must find them there. (Arms larger than the candidate are first the more easily, which only spares it.)
    """
    arms, share = (0, 0.0) if covered_by_key(evidence) else arms_beside(candidate_percent)
    return Question(
        stable=evidence.stable,
        candidate=evidence.candidate,
        cluster_key=settings.cluster_key,
        latency=evidence.thresholds,
        alone=tuple(one.kind for one in settings.alone),
        arms=arms,
        arm_share=share,
    )


def arms_beside(candidate_percent: float) -> tuple[int, float]:
    """How many placebo arms fit beside the candidate, and the share of stable's traffic that each holds."""
    if candidate_percent > 50.0:
        return 0, 0.0
    percent = candidate_percent if candidate_percent > 0.0 else 100.0 / (PLACEBO_ARMS + 1)
    arms = min(PLACEBO_ARMS, int((100.0 - percent) / percent + 1e-9))
    return arms, min(percent / (100.0 - percent), 1.0 / arms)


def covered_by_key(evidence: Evidence) -> bool:
    """Whether at least half of the requests so far carried a cluster key."""
    return columns.has_key(evidence) and bool(columns.covered(columns.pack([evidence]))[0])


def begin_exposure(evidence: Evidence) -> Evidence:
    """Give the candidate traffic again: suspicion starts afresh, and so does the placebo round.

    Evidence that condemns goes on where it was, so a truly bad version is condemned by what it shows next.
    """
    after = columns.expose(columns.pack([evidence]), np.array([True]))
    measured = begin_again(evidence.measured)
    return replace(columns.unpack(after, evidence, 0), suspected="", suspicion="", measured=measured)


def slow_name(quantile: float) -> str:
    """Name the criterion "slower than stable's quantile": `latency-p99`."""
    return f"latency-p{quantile * 100.0:g}"


def objective_name(quantile: float) -> str:
    """Name the criterion of an absolute latency objective: `objective-p99`."""
    return f"objective-p{quantile * 100.0:g}"


def _at(stable_ms: tuple[tuple[float, float], ...], quantile: float) -> float | None:
    """Stable's quantile, straight between its neighbours where it was not measured itself."""
    known = sorted(stable_ms)
    for (low, low_ms), (high, high_ms) in pairwise(known):
        if low - 1e-9 <= quantile <= high + 1e-9:
            part = (quantile - low) / (high - low)
            return low_ms + part * (high_ms - low_ms)
    return next((value_ms for known_quantile, value_ms in known if abs(known_quantile - quantile) < 1e-9), None)
