"""Sternway's own metrics, by name: which kind, and which labels. What rules and the dashboard are written with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMetric:
    """One metric as it is exported: a counter's name ends in `_total`, a histogram has `_bucket`, `_sum`, `_count`."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()

    def series(self, name: str) -> tuple[str, ...]:
        """Name the series that Prometheus keeps of it."""
        if self.kind == "histogram":
            return (f"{name}_bucket", f"{name}_sum", f"{name}_count")
        return (name,)


_BY_SERVICE = ("service",)
OWN = {
    "sternway_releases_total": OwnMetric(kind="counter", labels=("service", "outcome", "by")),
    "sternway_withdrawals_total": OwnMetric(kind="counter", labels=_BY_SERVICE),
    "sternway_time_to_detect_seconds": OwnMetric(kind="histogram", labels=_BY_SERVICE),
    "sternway_time_to_restore_seconds": OwnMetric(kind="histogram", labels=_BY_SERVICE),
    "sternway_time_to_revert_seconds": OwnMetric(kind="histogram", labels=_BY_SERVICE),
    "sternway_requests_hurt_total": OwnMetric(kind="counter", labels=_BY_SERVICE),
    "sternway_requests_rescued_total": OwnMetric(kind="counter", labels=_BY_SERVICE),
    "sternway_candidate_requests_total": OwnMetric(kind="counter", labels=_BY_SERVICE),
    "sternway_false_alarms_total": OwnMetric(kind="counter", labels=_BY_SERVICE),
    "sternway_blind_seconds_total": OwnMetric(kind="counter", labels=_BY_SERVICE),
    "sternway_blind": OwnMetric(kind="gauge", labels=_BY_SERVICE),
    "sternway_release_phase": OwnMetric(kind="gauge", labels=("service", "phase")),
    "sternway_candidate_weight_percent": OwnMetric(kind="gauge", labels=_BY_SERVICE),
    "sternway_trouble": OwnMetric(kind="gauge", labels=_BY_SERVICE),
    "sternway_guard_objective": OwnMetric(kind="gauge", labels=("service", "objective")),
    "sternway_judge_duration_seconds": OwnMetric(kind="histogram"),
    "sternway_act_duration_seconds": OwnMetric(kind="histogram"),
    "sternway_reconcile_duration_seconds": OwnMetric(kind="histogram"),
    "sternway_queue_depth": OwnMetric(kind="gauge"),
    "sternway_git_last_read_timestamp_seconds": OwnMetric(kind="gauge"),
    "sternway_build_info": OwnMetric(kind="gauge", labels=("version",)),
}
SERIES = frozenset(series for name, metric in OWN.items() for series in metric.series(name))
"""Every series of them."""
