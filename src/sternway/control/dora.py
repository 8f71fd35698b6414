"""How a platform delivers: DORA's four keys and what else the journal knows of releases, in a window of time. Pure.

Made from `control.measures` by the API and by `sternway report`, and from a cluster's Releases by `kubectl sternway report`; every figure comes with a line that says how it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from sternway.control.measures import Account
from sternway.domain.releases import Phase

DAY_S = 86_400.0
EVERYTHING = "all"
"""The name of the row that sums up every service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The figures of one service, or of all. Medians are in seconds; None where there is nothing to compute from.

    changes: releases that ended, promoted or rolled back. failed: those that were rolled back, and those that were promoted
    and taken back later.
    """

    service: str
    changes: int
    promoted: int
    rolled_back: int
    superseded: int
    failed: int
    promoted_per_day: float
    lead_s: float | None
    failure_rate_percent: float | None
    restore_s: float | None
    detect_s: float | None
    requests: int
    hurt: int
    false_alarms: int
    withdrawals: int
    blind_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened from `from_s` to `to_s`. total: over all services; None when no release ended in that time.

    known: how many releases the journal holds of these services, of any time. how: (figure, how it is computed).
    """

    from_s: float
    to_s: float
    known: int
    services: tuple[Delivery, ...]
    total: Delivery | None
    how: tuple[tuple[str, str], ...]


HOW = (
    ("deployment frequency", "releases promoted, divided by the days of the time looked at"),
    ("lead time for changes", "from the commit that began a release to its promotion after the bake, median"),
    (
        "change failure rate",
        "of the changes that ended, promoted or rolled back: those rolled back, or taken back after their promotion",
    ),
    (
        "time to restore service",
        "of rollbacks: from the first bad answer, else the first exposure, until all traffic was back for good, median",
    ),
    (
        "time to detect",
        "of rollbacks: from the same moment to the first decision that took traffic away, median",
    ),
    ("requests hurt", "requests that a candidate answered badly to a caller, of all that it answered"),
    (
        "false alarms",
        "rollbacks by Sternway of which a person said so, or whose version was tried again and then promoted",
    ),
    ("blind time", "while a release was under way: time in which something was out of sight that the judge needs"),
)


def report(releases: Iterable[Account], *, from_s: float, to_s: float, service: str | None = None) -> Report:
    """Look at the releases that ended in a window of time."""
    known = [one for one in releases if service in (None, one.service)]
    ended = [one for one in known if one.ended_s is not None and from_s <= one.ended_s <= to_s]
    taken_back = [one for one in ended if one.phase is Phase.ROLLED_BACK and one.of_stable]
    days = (to_s - from_s) / DAY_S
    names = sorted({one.service for one in ended})
    return Report(
        from_s=from_s,
        to_s=to_s,
        known=len(known),
        services=tuple(
            _delivery(name, [one for one in ended if one.service == name], taken_back, days) for name in names
        ),
        total=_delivery(EVERYTHING, ended, taken_back, days) if ended else None,
        how=HOW,
    )


def _delivery(name: str, ended: Sequence[Account], taken_back: Sequence[Account], days: float) -> Delivery:
    promoted = [one for one in ended if one.phase is Phase.PROMOTED]
    rolled_back = [one for one in ended if one.phase is Phase.ROLLED_BACK]
    refused = [one for one in rolled_back if not one.of_stable]
    failed = len(refused) + sum(any(_undoes(later, one) for later in taken_back) for one in promoted)
    changes = len(promoted) + len(refused)
    return Delivery(
        service=name,
        changes=changes,
        promoted=len(promoted),
        rolled_back=len(rolled_back),
        superseded=sum(one.phase is Phase.SUPERSEDED for one in ended),
        failed=failed,
        promoted_per_day=len(promoted) / days,
        lead_s=_median(one.lead_s for one in promoted),
        failure_rate_percent=100 * failed / changes if changes else None,
        restore_s=_median(one.restore_s for one in rolled_back),
        detect_s=_median(one.detect_s for one in rolled_back),
        requests=sum(one.requests for one in ended),
        hurt=sum(one.hurt for one in ended),
        false_alarms=sum(one.false_alarm for one in ended),
        withdrawals=sum(one.withdrawals for one in ended),
        blind_s=sum(one.blind_s for one in ended),
    )


def _undoes(later: Account, promoted: Account) -> bool:
    same = (later.service, later.version) == (promoted.service, promoted.version)
    return same and later.started_s >= (promoted.ended_s or 0.0)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
