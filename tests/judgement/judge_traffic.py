"""Simulated traffic for the judge's tests: seeded, in plain Python, cut into readings at any batching."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.tallies import ClusterKey, Question, Reading, Tally, Unit
from sternway.judgement import begin, begin_exposure, judge, question

STABLE, CANDIDATE = "1.0.0-aaaaaa", "1.1.0-bbbbbb"
KEYED = JudgeSettings(cluster_key=ClusterKey(header="x-user"), latency_quantiles=())
KEYLESS = JudgeSettings(latency_quantiles=())
QUANTILES = ((0.5, 60.0), (0.9, 130.0), (0.99, 290.0))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. arm: the placebo arm that a request of stable falls into, if any."""

    at_s: float
    candidate: bool
    bad: bool = False
    arm: int | None = None
    ms: float | None = None
    keyed: bool = False


def start(settings: JudgeSettings, stable_ms: tuple[tuple[float, float], ...] = ()) -> Evidence:
    """Begin the evidence of a release from STABLE to CANDIDATE."""
    return begin(settings, stable=STABLE, candidate=CANDIDATE, stable_ms=stable_ms)


def tally(*, candidate: bool, total: int, bad: int, at_s: float, **more: object) -> Tally:
    """Make a tally of one second of errors, unless `more` says otherwise."""
    values: dict = {"criterion": "errors", "start_s": at_s - 1.0, "end_s": at_s, **more}
    return Tally(version=CANDIDATE if candidate else STABLE, total=total, bad=bad, **values)


def reading(answers: Iterable[Answer], asked: Question, *, start_s: float, end_s: float) -> Reading:
    """Count answers as a signal source would."""
    sums: dict[tuple, list[int]] = {}

    def add(answer: Answer, criterion: str, unit: Unit, arm: int | None, *, bad: bool) -> None:
        numbers = sums.setdefault((answer.candidate, criterion, unit, arm), [0, 0])
        numbers[0] += 1
        numbers[1] += bad

    for answer in answers:
        add(answer, "errors", Unit.REQUEST, None, bad=answer.bad)
        if answer.keyed:
            add(answer, "errors", Unit.CLUSTER, None, bad=answer.bad)
        if answer.arm is not None:
            add(answer, "errors", Unit.REQUEST, answer.arm, bad=answer.bad)
        if answer.ms is not None:
            for threshold in asked.latency:
                limit_ms = threshold.candidate_ms if answer.candidate else threshold.stable_ms
                add(answer, threshold.criterion, Unit.REQUEST, None, bad=answer.ms > limit_ms)
    return Reading(
        tallies=tuple(
            Tally(
                version=CANDIDATE if candidate else STABLE,
                criterion=criterion,
                unit=unit,
                arm=arm,
                total=total,
                bad=bad,
                start_s=start_s,
                end_s=end_s,
            )
            for (candidate, criterion, unit, arm), (total, bad) in sums.items()
        )
    )


def batches(answers: Iterable[Answer], every_s: float, *, wakes: bool = False) -> Iterator[tuple[float, list[Answer]]]:
    """Cut answers into readings: one every `every_s` seconds, and with `wakes` at once after a bad candidate answer."""
    batch: list[Answer] = []
    end_s: float | None = None
    for answer in answers:
        end_s = answer.at_s + every_s if end_s is None else end_s
        while answer.at_s >= end_s:
            yield end_s, batch
            batch, end_s = [], end_s + every_s
        batch.append(answer)
        if wakes and answer.candidate and answer.bad:
            yield answer.at_s, batch
            batch = []
    if end_s is not None:
        yield end_s, batch


def bernoulli(
    rng: random.Random, *, rate_per_s: float, share: float, stable: float, candidate: float, keyed: bool, arms: int = 0
) -> Iterator[Answer]:
    """Independent requests without end, errors at one rate for each version."""
    at_s = 1_000_000.0
    arm_share = share / (1.0 - share)
    while True:
        at_s += rng.expovariate(rate_per_s)
        ours = rng.random() < share
        arm = None
        if not ours and arms:
            index = int(rng.random() / arm_share)
            arm = index if index < arms else None
        bad = rng.random() < (candidate if ours else stable)
        yield Answer(at_s=at_s, candidate=ours, bad=bad, arm=arm, keyed=keyed)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a simulated release ended, and what it cost."""

    verdict: Verdict
    judgement: Judgement
    evidence: Evidence
    requests: int
    bad: int
    seconds: float
    withdrawals: int


def follow(
    settings: JudgeSettings,
    answers: Iterator[Answer],
    *,
    share: float,
    for_s: float,
    until: frozenset[Verdict] = frozenset({Verdict.HARMFUL}),
    every_s: float = 1.0,
    wakes: bool = True,
    withdraw_s: float = 30.0,
    stable_ms: tuple[tuple[float, float], ...] = (),
    shift: Callable[[Answer], Answer] | None = None,
) -> Ended:
    """Follow a release as the engine does: judge, withdraw on suspicion, expose again, until a verdict or the end."""
    evidence = start(settings, stable_ms)
    asked = question(settings, evidence, candidate_percent=share * 100.0)
    requests = bad = withdrawals = 0
    away_until = begun_s = last_s = None
    for now_s, batch in batches(answers, every_s, wakes=wakes):
        begun_s = now_s if begun_s is None else begun_s
        if away_until is not None:
            if now_s >= away_until:
                evidence, away_until = begin_exposure(evidence), None
            batch = [one for one in batch if not one.candidate]  # noqa: PLW2901 - away: nobody answers for it
        if shift:
            batch = [shift(one) for one in batch]  # noqa: PLW2901 - the same batch, seen otherwise
        requests += sum(one.candidate for one in batch)
        bad += sum(one.candidate and one.bad for one in batch)
        seen = reading(batch, asked, start_s=last_s or begun_s, end_s=now_s)
        last_s = now_s
        evidence, judgement = judge(settings, evidence, seen, now_s=now_s)
        if judgement.verdict in until or now_s - begun_s >= for_s:
            return Ended(judgement.verdict, judgement, evidence, requests, bad, now_s - begun_s, withdrawals)
        if judgement.verdict is Verdict.SUSPECT and away_until is None:
            withdrawals, away_until = withdrawals + 1, now_s + withdraw_s
    raise AssertionError("traffic ended before the release did")


def binomial_limit(runs: int, chance: float, *, sure: float = 1e-4) -> int:
    """Return the smallest count that a binomial variable exceeds with a probability below `sure`."""
    term = (1.0 - chance) ** runs
    total, count = term, 0
    while total < 1.0 - sure:
        term *= (runs - count) / (count + 1) * chance / (1.0 - chance)
        count += 1
        total += term
    return count


def information_bound(share: float, stable: float, candidate: float, *, log_needed: float, margins: bool) -> float:
    """Return the fewest candidate requests that any valid test needs on average (statistics of the judge's docs)."""
    tolerance, floor = (1.1, 1e-4) if margins else (1.0, 0.0)

    def divergence(p: float, q: float) -> float:
        bad = p * math.log(p / q) if p > 0 else 0.0
        return bad + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0)

    cheapest, rate = math.inf, 1e-5
    while rate < 0.9:
        worst = min(tolerance * rate + floor, 1.0 - 1e-12)
        cheapest = min(cheapest, share * divergence(candidate, worst) + (1 - share) * divergence(stable, rate))
        rate *= 1.01
    return share * log_needed / cheapest
