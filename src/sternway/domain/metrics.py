"""Metrics and alerts as criteria of a release: what a Guard states, what is asked, and what was seen.

Built by `sternway.manifests`; asked by the engine, answered by a signal source, judged by `sternway.judgement.metrics`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

ARGUMENTS = (
    "service",
    "namespace",
    "deployment",
    "workload",
    "version",
    "tag",
    "role",
    "canary",
    "cluster",
    "backend",
    "window",
)
"""What `$(NAME)` may stand for in a query."""
MESH_ERRORS = "mesh-errors"
"""The ratio that a mesh counts by itself: in a cluster it stands in for the access log."""
MESH_LATENCY = "mesh-latency"
"""The share of slow answers that a mesh counts by itself."""
_PLACE = re.compile(r"\$\(([^()]*)\)")


class Worse(StrEnum):
    """In which direction a value is harm."""

    HIGHER = "higher"
    LOWER = "lower"


class OnAlert(StrEnum):
    """What a firing alert does: take the release back, withdraw its traffic while it fires, or hold it at its step."""

    ROLLBACK = "rollback"
    WITHDRAW = "withdraw"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Two selectors of counters: events, and bad ones among them.

    A rate p of stable's is tolerated up to p * (1 + worse_than_percent / 100) + and_percent / 100.
    """

    bad: str
    total: str
    worse_than_percent: float = 10.0
    and_percent: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Slower:
    """A selector of the buckets of a classic histogram, or of a native one: slower than stable's `quantile`."""

    histogram: str
    quantile: float = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """A value beside stable's. Tolerated: worse by `worse_than_percent` of stable's value and by `and_value` on top."""

    query: str
    worse: Worse
    worse_than_percent: float = 10.0
    and_value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A value that must lie between `min` and `max`, measured as Argo Rollouts and Flagger do.

    fail_min, fail_max: a value outside of min and max fails only beyond these; between, it is inconclusive.
    *_limit: how many measurements may be so. comparative: the query tells versions apart.
    """

    query: str
    min: float | None = None
    max: float | None = None
    fail_min: float | None = None
    fail_max: float | None = None
    failure_limit: int = 0
    consecutive_error_limit: int = 4
    inconclusive_limit: int = 0
    count: int | None = None
    initial_delay_s: float = 0.0
    comparative: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One criterion out of metrics: exactly one of ratio, slower, versus and limits.

    spans_s: how long a single value looks back (the longest range in its query).
    """

    name: str
    interval_s: float = 5.0
    window_s: float = 60.0
    spans_s: float = 0.0
    ratio: Ratio | None = None
    slower: Slower | None = None
    versus: Versus | None = None
    limits: Limits | None = None

    def __post_init__(self) -> None:
        if [self.ratio, self.slower, self.versus, self.limits].count(None) != 3:
            msg = "a metric needs exactly one of ratio, slower, versus and limits"
            raise ValueError(msg)

    @property
    def counts_requests(self) -> bool:
        """Whether it also tells how many requests there were: other metrics are values alone."""
        return self.ratio is not None or self.slower is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """Which alerts count, and what they do. match: ((label, value), …), all of them; a `*` stands for anything."""

    match: tuple[tuple[str, str], ...]
    then: OnAlert = OnAlert.WITHDRAW

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels falls under the rule."""
        return all(fnmatchcase(labels.get(label, ""), pattern) for label, pattern in self.match)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricAsk:
    """One metric's queries, filled in for both versions.

    kind: ratio, with the queries (bad, total); slower: (buckets,), and the quantile; versus and limits: (query,).
    """

    name: str
    kind: str
    interval_s: float
    stable: tuple[str, ...]
    candidate: tuple[str, ...]
    quantile: float = 0.0

    @property
    def counts_requests(self) -> bool:
        """See Metric."""
        return self.kind in ("ratio", "slower")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricQuestion:
    """All that is asked of metrics and alerts about two versions. alerts: under which rules those fall that are wanted."""

    stable: str = ""
    candidate: str = ""
    asks: tuple[MetricAsk, ...] = ()
    alerts: tuple[AlertRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement of both versions; None where there was no (finite) value."""

    criterion: str
    at_s: float
    candidate: float | None = None
    stable: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A criterion that cannot be seen. role: `candidate` or `stable` when only this version's values are missing."""

    criterion: str
    since_s: float
    why: str
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that fires. id: the same for each word about it; since_s: when it began to fire.

    version: the version whose replica its labels name by address. via: the services that lead from the one that the
    labels name to the one under release, when they are not the same.
    """

    id: str
    labels: tuple[tuple[str, str], ...]
    since_s: float
    version: str = ""
    via: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        return dict(self.labels).get("alertname", self.id)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values in the places of a template; what has no value stays as it is."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), template)


def places(template: str) -> tuple[str, ...]:
    """Name what stands in `$(…)`, in order."""
    return tuple(found[1] for found in _PLACE.finditer(template))


def escape(value: str) -> str:
    """Make a value safe between the quotes of a PromQL string."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
