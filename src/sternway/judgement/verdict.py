"""What the evidence means: the verdict, its numbers, and one sentence for a person. Called by `fold`.

A criterion that reaches its share of the error budget condemns. One that reaches `suspicion` within this exposure
suspects, and suspicion stands until the next exposure begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sternway.domain.evidence import Compared, Counts, Evidence, Limited, Race
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Criterion, Judgement, Verdict
from sternway.domain.tallies import Unit
from sternway.judgement.bounds import SURE, excess_left
from sternway.judgement.budget import HISTORY, Budget
from sternway.judgement.columns import needed_by
from sternway.judgement.comparison import ERRORS
from sternway.judgement.crossover import crossover_evidence
from sternway.judgement.limits import blameless, history_needed, stable_breaches
from sternway.judgement.rounds import CANDIDATE, arms_in_force, race_evidence
from sternway.judgement.words import Case, common_trouble, describe, times
from sternway.stats.wealth import added

SHARED = "shared"
"""The criterion of harm done to something that both versions share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One criterion's evidence: what condemns, what suspects, and whether it may."""

    criterion: Criterion
    case: Case
    may_suspect: bool = True
    may_condemn: bool = True


def find_suspicion(spent: Budget, evidence: Evidence, charges: Sequence[Charge]) -> tuple[str, str]:
    """Find the criterion that suspects the candidate most, and its sentence; ("", "") when none does."""
    for race in _races(evidence):
        if race.won:
            return race.name, _race_sentence(evidence, race)
    if evidence.crossover.hit:
        return SHARED, f"{_shared_words(evidence)}; looking whether it recovers without it"
    suspecting = [one for one in charges if one.may_suspect and one.criterion.exposure_e_value >= spent.suspicion]
    if not suspecting:
        return "", ""
    charge = max(suspecting, key=lambda one: one.criterion.exposure_e_value)
    exposure = times(charge.criterion.exposure_e_value)
    evidence_words = f"evidence of this exposure {exposure} (withdraws at {times(spent.suspicion)})"
    return charge.criterion.name, f"{describe(charge.case)}; {evidence_words}"


def say(settings: JudgeSettings, spent: Budget, evidence: Evidence, charges: Sequence[Charge]) -> Judgement:
    """Judge the evidence as it stands."""
    rounds = [_rounds_criterion(spent, race) for race in _races(evidence)]
    shared = _shared_criterion(spent, evidence)
    criteria = (*rounds, *(charge.criterion for charge in charges), *([shared] if evidence.crossover.begun else []))
    trouble = _trouble(spent, evidence)
    found = (evidence.race.finished, evidence.race.first)
    condemning = [charge for charge in charges if charge.may_condemn and _reached(charge.criterion)]
    if condemning:
        worst = max(condemning, key=lambda one: one.criterion.e_value / one.criterion.needed)
        criterion = worst.criterion
        sentence = f"{describe(worst.case)}; evidence {times(criterion.e_value)} (needs {times(criterion.needed)})"
        verdict, name = Verdict.HARMFUL, criterion.name
    elif any(_reached(criterion) for criterion in rounds):
        race, criterion = next(both for both in zip(_races(evidence), rounds, strict=True) if _reached(both[1]))
        found = (race.finished, race.first)
        sentence = (
            f"{describe(_race_case(evidence, race))}; the candidate was first to look bad in {race.first} of"
            f" {race.finished} rounds against placebo arms; evidence {times(criterion.e_value)}"
            f" (needs {times(criterion.needed)})"
        )
        verdict, name = Verdict.HARMFUL, criterion.name
    elif _reached(shared):
        sentence = f"{_shared_words(evidence)}, and recovered without it; evidence {times(shared.e_value)}"
        verdict, name, sentence = Verdict.HARMFUL, SHARED, f"{sentence} (needs {times(shared.needed)})"
    elif evidence.suspected:
        verdict, name, sentence = Verdict.SUSPECT, evidence.suspected, evidence.suspicion
    elif added(evidence.bounded.wealth[-1]) >= SURE:
        verdict, name, sentence = Verdict.HEALTHY, "", _healthy(settings, evidence)
    else:
        verdict, name, sentence = Verdict.UNDECIDED, "", _undecided(settings, evidence, charges, rounds[0])
    return Judgement(
        verdict=verdict,
        sentence=sentence,
        criterion=name or None,
        criteria=criteria,
        rounds=found,
        common_trouble=trouble,
        excess_percent=100.0 * excess_left(settings, evidence.bounded),
    )


def list_charges(spent: Budget, evidence: Evidence, *, concurrent: bool) -> tuple[Charge, ...]:
    """List every criterion's evidence, as it stands."""
    return tuple(_charges(spent, evidence, concurrent=concurrent))


def _charges(spent: Budget, evidence: Evidence, *, concurrent: bool) -> Iterator[Charge]:
    for compared in evidence.compared:
        yield _charge_compared(spent, evidence, compared, needed_by(spent, compared), concurrent=concurrent)
    for limited in evidence.limited:
        if limited.basis == HISTORY and (concurrent or limited.exposure.candidate_total == 0):
            continue
        yield _charge_limited(spent, evidence, limited)


def _charge_compared(
    spent: Budget, evidence: Evidence, compared: Compared, needed: float, *, concurrent: bool
) -> Charge:
    return Charge(
        criterion=_criterion(
            compared.name,
            compared.unit,
            compared.release,
            added(compared.wealth),
            needed,
            exposure_e=added(compared.exposure_wealth),
            suspects_at=spent.suspicion,
        ),
        case=Case(
            name=compared.name,
            candidate=evidence.candidate,
            stable=evidence.stable,
            counts=compared.release,
            threshold=next((one for one in evidence.thresholds if one.criterion == compared.name), None),
            keyed=compared.unit == Unit.CLUSTER.value,
        ),
        may_suspect=concurrent,
    )


def _charge_limited(spent: Budget, evidence: Evidence, limited: Limited) -> Charge:
    history = limited.basis == HISTORY
    counts = limited.exposure
    if history:
        recorded = evidence.race.release if evidence.withdrawals else evidence.before + evidence.race.release
        for compared in evidence.compared:
            if compared.name == limited.name != ERRORS:
                recorded = compared.release
        counts = Counts(
            candidate_total=counts.candidate_total,
            candidate_bad=counts.candidate_bad,
            stable_total=recorded.stable_total,
            stable_bad=recorded.stable_bad,
        )
    needed = history_needed(spent) if history else spent.objective
    name = f"{limited.name}-history" if history else f"{limited.name}-objective"
    if limited.name.startswith("objective-"):
        name = limited.name
    blamed = not blameless(limited, spent)
    return Charge(
        criterion=_criterion(
            name,
            Unit.REQUEST.value,
            counts,
            added(limited.wealth),
            needed,
            exposure_e=added(limited.exposure_wealth),
            suspects_at=spent.suspicion,
        ),
        case=Case(
            name=limited.name,
            candidate=evidence.candidate,
            stable=evidence.stable,
            counts=counts,
            threshold=next((one for one in evidence.thresholds if one.criterion == limited.name), None),
            limit=None if history else limited.limit,
            history=history,
        ),
        may_suspect=blamed,
        may_condemn=blamed and evidence.withdrawals > 0,
    )


def _shared_criterion(spent: Budget, evidence: Evidence) -> Criterion:
    """Harm to something shared: its counts are beginnings of trouble, in all and during exposure."""
    seen = evidence.crossover
    counts = Counts(candidate_total=seen.begun, candidate_bad=seen.begun_on)
    evidence_now = crossover_evidence(seen)
    return _criterion(
        SHARED, "beginning", counts, evidence_now, spent.shared, exposure_e=1.0, suspects_at=spent.suspicion
    )


def _shared_words(evidence: Evidence) -> str:
    seen = evidence.crossover
    often = "once" if seen.begun == 1 else f"{seen.begun_on} of {seen.begun} times"
    return f"{evidence.stable} itself began to answer badly while {evidence.candidate} was exposed, {often}"


def _races(evidence: Evidence) -> tuple[Race, ...]:
    return (evidence.race, *evidence.others)


def _rounds_criterion(spent: Budget, race: Race) -> Criterion:
    return _criterion(
        race.name,
        Unit.REQUEST.value,
        race.release,
        race_evidence(race),
        spent.rounds if race.name == ERRORS else spent.alone,
        exposure_e=added(race.arms[0].wealth) if race.arms else 1.0,
        suspects_at=race.bar,
    )


def _criterion(
    name: str, unit: str, counts: Counts, e_value: float, needed: float, *, exposure_e: float, suspects_at: float
) -> Criterion:
    return Criterion(
        name=name,
        unit=unit,
        candidate_total=counts.candidate_total,
        candidate_bad=counts.candidate_bad,
        stable_total=counts.stable_total,
        stable_bad=counts.stable_bad,
        e_value=e_value,
        needed=needed,
        exposure_e_value=exposure_e,
        suspects_at=suspects_at,
    )


def _reached(criterion: Criterion) -> bool:
    return criterion.e_value >= criterion.needed


def _race_case(evidence: Evidence, race: Race) -> Case:
    return Case(name=race.name, candidate=evidence.candidate, stable=evidence.stable, counts=race.release)


def _race_sentence(evidence: Evidence, race: Race) -> str:
    lead = next(arm for arm in race.arms if arm.index == CANDIDATE)
    sentence = f"{describe(_race_case(evidence, race))}; evidence of this exposure {times(added(lead.wealth))}"
    arms = arms_in_force(race)
    if not arms:
        return (
            f"{sentence}; too little of stable's traffic is left for placebo arms, so this suspects, but cannot condemn"
        )
    return f"{sentence}; first of {arms + 1} equal arms, {race.first} of {race.finished} rounds so far"


def _healthy(settings: JudgeSettings, evidence: Evidence) -> str:
    return (
        f"{describe(_race_case(evidence, evidence.race))}; its error rate is below {settings.healthy_times:g} times stable's"
        f" and {settings.healthy_and_percent:g} points, sure at {times(SURE)}"
    )


def _undecided(settings: JudgeSettings, evidence: Evidence, charges: Sequence[Charge], rounds: Criterion) -> str:
    requests = evidence.race.release
    if not requests.candidate_total:
        return f"{evidence.candidate} has answered nothing yet"
    keyed = [charge for charge in charges if charge.case.keyed and charge.criterion.candidate_total]
    case = keyed[0].case if keyed else _race_case(evidence, evidence.race)
    strongest = max((charge.criterion for charge in charges), key=lambda one: one.e_value / one.needed, default=rounds)
    return (
        f"{describe(case)}; the strongest evidence, {strongest.name}, is {times(strongest.e_value)}"
        f" (needs {times(strongest.needed)}; {settings.suspicion:g} to 1 withdraws)"
    )


def _trouble(spent: Budget, evidence: Evidence) -> str | None:
    for limited in evidence.limited:
        seen = limited.exposure
        if stable_breaches(limited, spent) and seen.candidate_bad > limited.limit * seen.candidate_total:
            return common_trouble(evidence.stable, evidence.candidate, limited)
    if evidence.crossover.troubled:
        return f"{evidence.stable} answers badly itself, far more than it did before; nothing moves forward meanwhile"
    return None
