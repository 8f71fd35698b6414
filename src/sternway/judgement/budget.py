"""One error budget: how the promised false-rollback rate is shared among everything that can condemn.

Called by `fold` and `words`. The shares depend on the settings alone, so they are fixed before any data.
"""

from __future__ import annotations

from dataclasses import dataclass

from sternway.domain.guards import JudgeSettings

KEYED, ROUNDS, ALONE, LATENCY = "keyed", "rounds", "alone", "latency"
OBJECTIVE, HISTORY, SHARED = "objective", "history", "shared"
MEASURED = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The evidence, to one, at which one criterion of each family condemns; and at which any suspects."""

    keyed: float
    rounds: float
    alone: float
    latency: float
    objective: float
    history: float
    shared: float
    measured: float
    suspicion: float


def budget(settings: JudgeSettings, *, history: bool = True) -> Budget:
    """Shares of the families in use, in percent before they are scaled to 100; inside a family, equal parts.

    history: stable's record is judged by too, because it does not keep traffic to the end.
    """
    keyed = settings.cluster_key is not None
    objectives = count_objectives(settings)
    measured = sum(metric.limits is None for metric in settings.metrics)
    weights = {
        KEYED: 45.0 if keyed else 0.0,
        ROUNDS: 10.0 if keyed else 55.0,
        ALONE: 5.0 if settings.alone else 0.0,
        LATENCY: 25.0 if settings.latency_quantiles else 0.0,
        OBJECTIVE: 10.0 if objectives else 0.0,
        HISTORY: 10.0 if history else 0.0,
        SHARED: 5.0,
        MEASURED: 25.0 if measured else 0.0,
    }
    members = {
        KEYED: 1,
        ROUNDS: 1,
        ALONE: max(1, len(settings.alone)) * (2 if keyed else 1),
        LATENCY: max(1, len(settings.latency_quantiles)),
        OBJECTIVE: max(1, objectives),
        HISTORY: 1 + len(settings.latency_quantiles),
        MEASURED: max(1, measured),
    }
    members[SHARED] = 1
    whole = sum(weights.values())

    def needed(family: str) -> float:
        # A family that is not in use gets no criterion either; the smallest share stands in for it.
        share = (weights[family] or 1.0) / whole / members[family]
        return 1.0 / (settings.false_rollback_rate * share)

    return Budget(
        keyed=needed(KEYED),
        rounds=needed(ROUNDS),
        alone=needed(ALONE),
        latency=needed(LATENCY),
        objective=needed(OBJECTIVE),
        history=needed(HISTORY),
        shared=needed(SHARED),
        measured=needed(MEASURED),
        suspicion=settings.suspicion,
    )


def count_objectives(settings: JudgeSettings) -> int:
    """How many absolute objectives a Guard states."""
    objectives = settings.objectives
    return len(objectives.latency_ms) + (objectives.availability_percent is not None)
