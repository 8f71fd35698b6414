"""The judge's main path: a reading becomes evidence, the evidence a verdict. Called by the engine at every pass."""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.evidence import Compared, Counts, Evidence, Limited, Race
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement
from sternway.domain.tallies import Reading
from sternway.judgement.asking import covered_by_key, thresholds_missing, with_thresholds
from sternway.judgement.budget import HISTORY, Budget, budget
from sternway.judgement.comparison import ERRORS, compare
from sternway.judgement.counting import NOTHING, Counted, count
from sternway.judgement.limits import hold_to
from sternway.judgement.rounds import run
from sternway.judgement.verdict import find_suspicion, list_charges, say


def judge(
    settings: JudgeSettings, evidence: Evidence, reading: Reading, *, now_s: float, concurrent: bool = True
) -> tuple[Evidence, Judgement]:
    """Fold a reading into the evidence, and say what the evidence means now.

    concurrent False: stable has no traffic beside the candidate, so that only absolute objectives and stable's
    recorded history are left to judge by.
    """
    spent = budget(settings)
    evidence = _fold(settings, spent, evidence, count(evidence, reading, now_s=now_s), now_s, concurrent=concurrent)
    if reading.stable_ms and thresholds_missing(settings, evidence):
        evidence = with_thresholds(settings, evidence, reading.stable_ms)
    charges = list_charges(spent, evidence, concurrent=concurrent)
    if not evidence.suspected:
        name, sentence = find_suspicion(spent, evidence, charges)
        if name:
            evidence = replace(evidence, suspected=name, suspicion=sentence)
    return evidence, say(settings, spent, evidence, charges)


def _fold(
    settings: JudgeSettings, spent: Budget, evidence: Evidence, counted: Counted, now_s: float, *, concurrent: bool
) -> Evidence:
    fresh_s = evidence.candidate_since_s
    if fresh_s is None and counted.candidate_answered:
        fresh_s = counted.start_s

    def one(compared: Compared) -> Compared:
        counts = counted.of(compared.name, compared.unit)
        if not concurrent:
            return compared if counts is NOTHING else replace(compared, release=compared.release + counts)
        return compare(settings, compared, counts, start_s=counted.start_s, now_s=now_s, fresh_s=fresh_s)

    def limit(limited: Limited) -> Limited:
        if limited.basis == HISTORY and concurrent:
            return limited
        counts = counted.of(limited.name)
        return hold_to(
            settings,
            spent,
            limited,
            counts,
            history=_history(evidence, limited.name),
            start_s=counted.start_s,
            now_s=now_s,
            fresh_s=fresh_s,
        )

    return replace(
        evidence,
        now_s=now_s,
        candidate_since_s=fresh_s,
        compared=tuple(one(compared) for compared in evidence.compared),
        race=_race(settings, evidence, counted, now_s, concurrent=concurrent),
        limited=tuple(limit(limited) for limited in evidence.limited),
    )


def _race(settings: JudgeSettings, evidence: Evidence, counted: Counted, now_s: float, *, concurrent: bool) -> Race:
    counts = counted.of(ERRORS)
    if not concurrent or covered_by_key(evidence):
        return evidence.race if counts is NOTHING else replace(evidence.race, release=evidence.race.release + counts)
    return run(settings, evidence.race, counts, counted.arms, start_s=counted.start_s, now_s=now_s)


def _history(evidence: Evidence, name: str) -> Counts:
    """Stable's record: of the release alone once something was suspected, as only that can show common trouble."""
    if name == ERRORS:
        return evidence.race.release if evidence.withdrawals else evidence.before + evidence.race.release
    return next((compared.release for compared in evidence.compared if compared.name == name), NOTHING)
