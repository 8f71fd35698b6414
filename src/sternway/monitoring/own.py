"""Alerts on Sternway itself, from its own metrics. Called by `rules`.

Their names begin with `Sternway`: by `domain.notices.about_us` none of them counts for a release. Those that Sternway sends
itself tell more and sooner; these hold while it cannot, and where it does not reach Alertmanager.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAlert:
    """One alert. hold: for how long it must be true."""

    name: str
    expr: str
    hold: str
    severity: str
    summary: str
    description: str

    def to_json(self) -> Json:
        """Give it as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.hold,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description},
        }


_SERVICE = "{{ $labels.service }}"
_BACK = 'sternway_releases_total{outcome="rolled-back"}'
# increase() does not see a series begin, and the first rollback begins one. A database that is as new as that knows no
# past, so nothing counts as begun before Sternway has been scraped for as long.
_NEW_ROLLBACK = (
    f"sum by (service) (increase({_BACK}[15m])) > 0"
    f" or sum by (service) ({_BACK} unless {_BACK} offset 15m) > 0 and on () count(sternway_build_info offset 15m)"
)


def _in_phase(phases: str) -> str:
    return f'max by (service, phase) (sternway_release_phase{{phase=~"{phases}"}}) == 1'


OWN_ALERTS = (
    OwnAlert(
        name="SternwayTookBack",
        expr=_NEW_ROLLBACK,
        hold="0s",
        severity="ticket",
        summary=f"A release of {_SERVICE} was taken back",
        description=f"`sternway history {_SERVICE}` names it, `sternway release show` says why.",
    ),
    OwnAlert(
        name="SternwayRollbackUnfinished",
        expr=_in_phase("rolling-back"),
        hold="10m",
        severity="page",
        summary=f"A rollback of {_SERVICE} has not ended for 10 minutes",
        description="Traffic went back first; the workload or Git has not followed. `sternway status` says what is in the way.",
    ),
    OwnAlert(
        name="SternwayAsks",
        expr=_in_phase("asking"),
        hold="10m",
        severity="page",
        summary=f"The release of {_SERVICE} has asked for a person for 10 minutes",
        description=f"`sternway status {_SERVICE}` says what it asks; then `resume`, `promote` or `rollback`.",
    ),
    OwnAlert(
        name="SternwayHeldLong",
        expr=_in_phase("starting|mirroring|exposed|preview|withdrawn|baking"),
        hold="6h",
        severity="ticket",
        summary=f"The release of {_SERVICE} has been {{{{ $labels.phase }}}} for 6 hours",
        description=f"`sternway status {_SERVICE}` says what it waits for.",
    ),
    OwnAlert(
        name="SternwayBlindLong",
        expr="max by (service) (sternway_blind) == 1",
        hold="5m",
        severity="ticket",
        summary=f"Sternway has not seen for 5 minutes how the release of {_SERVICE} does",
        description=f"`sternway status {_SERVICE}` says what is not seen and why; the Guard says for how long it is borne.",
    ),
    OwnAlert(
        name="SternwayInTrouble",
        expr="max by (service) (sternway_trouble) > 0",
        hold="10m",
        severity="ticket",
        summary="Something has been in Sternway's way for 10 minutes{{ with $labels.service }}, at {{ . }}{{ end }}",
        description="`sternway status` says what, and what to do.",
    ),
    OwnAlert(
        name="SternwayQueueStuck",
        expr=(
            "min_over_time(sternway_queue_depth[5m]) > 0"
            " and on (instance) rate(sternway_reconcile_duration_seconds_count[5m]) == 0"
        ),
        hold="5m",
        severity="page",
        summary="Sternway has work and does none of it",
        description="Services wait, and no pass has ended for 5 minutes. See its log; a restart goes on where it stood.",
    ),
    OwnAlert(
        name="SternwayReadsNoGit",
        expr="time() - max(sternway_git_last_read_timestamp_seconds) > 900",
        hold="0s",
        severity="ticket",
        summary="Sternway has not read Git for 15 minutes",
        description="New commits are not seen; a release under way is guarded all the same. `sternway status` says why.",
    ),
    OwnAlert(
        name="SternwayDown",
        expr="absent(sternway_build_info)",
        hold="2m",
        severity="page",
        summary="Sternway does not run, or is not scraped",
        description="Services and proxy go on as they are, and nobody judges a release. `sternway up` goes on where it stood.",
    ),
)


def group() -> Json:
    """Make the one group of them."""
    return {"name": "sternway", "rules": [alert.to_json() for alert in OWN_ALERTS]}
