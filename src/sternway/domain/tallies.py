"""Tallies: the one currency between signals and the judge, and what the judge asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sternway.domain.metrics import Alert, MetricQuestion, Sample, Unseen


class Unit(StrEnum):
    """What one count of a tally stands for.

    REQUEST: every request. CLUSTER: requests of one cluster key count until the key's first bad
    answer; after it the key is muted for a while, so that a retry storm of one client is one piece of evidence.
    """

    REQUEST = "request"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many requests a version answered in an interval and how many were bad by one criterion.

    criterion: `errors`, `errors-client` (see ErrorClass), `latency-p99` (slower than stable's p99), or a metric's name.
    arm: None for a version's whole traffic (placebo arms included); 0, 1, … for a placebo arm cut from stable's.
    start_s, end_s: seconds since the epoch.
    """

    version: str
    criterion: str
    start_s: float
    end_s: float
    total: int
    bad: int
    unit: Unit = Unit.REQUEST
    arm: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.total:
            msg = f"a tally needs 0 <= bad <= total, not {self.bad} of {self.total}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterKey:
    """Where the key of a cluster of requests stands: a request header or a cookie. `mute_s`: see Unit."""

    header: str | None = None
    cookie: str | None = None
    mute_s: float = 60.0


class ErrorClass(StrEnum):
    """Kinds of errors that can count alone, each as the criterion `errors-NAME`.

    CLIENT: a 4xx answer. SERVER: a 5xx answer of a replica. TIMEOUT: nobody answered in time. CONNECTION: no replica
    could be reached, or the answer broke off. GRPC: a gRPC status that is the server's fault.
    """

    CLIENT = "client"
    SERVER = "server"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    GRPC = "grpc"

    @property
    def criterion(self) -> str:
        """The name of its criterion."""
        return f"errors-{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyThreshold:
    """A request is bad by `criterion` when stable needs more than `stable_ms`, or the candidate `candidate_ms`."""

    criterion: str
    stable_ms: float
    candidate_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the judge wants to be told next. Fixed before the interval that it is about.

    alone: kinds of errors to count as criteria of their own.
    arms: number of placebo arms to cut from stable's traffic; each holds `arm_share` (0..1) of it.
    """

    stable: str
    candidate: str | None = None
    cluster_key: ClusterKey | None = None
    latency: tuple[LatencyThreshold, ...] = ()
    alone: tuple[ErrorClass, ...] = ()
    arms: int = 0
    arm_share: float = 0.0
    metrics: MetricQuestion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadAnswers:
    """Bad answers of the candidate that look alike, for people: nothing is judged by them.

    criterion: as in Tally. how: `500`, `gRPC 14`, `time-out`, `slow`, …; the rest of many kinds is `other`.
    replica, caller: empty when unknown. first_s, last_s: when the first and the last of them was given.
    """

    criterion: str
    how: str
    replica: str
    caller: str
    count: int
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a signal source saw since the last reading.

    rate_per_s: requests per second to the service, all versions, over the last seconds; None when unknown.
    stable_ms: quantiles of stable's recent durations, ((0.5, 12.0), (0.99, 80.0), …); empty when too few.
    blind_since_s: since when nothing could be seen (not: since when nothing happened); None when sighted.
    uncounted: nothing is there that counts the candidate's requests, and nothing was that is lost: nobody ever set it up.
    first_bad_s: when the candidate's first bad answer of this reading was given.
    bad_answers: the candidate's bad and slow answers by what they look like.
    samples: values of metrics since the last reading. unseen: metrics that cannot be seen now. alerts: those that fire now.
    """

    tallies: tuple[Tally, ...] = ()
    rate_per_s: float | None = None
    stable_ms: tuple[tuple[float, float], ...] = ()
    blind_since_s: float | None = None
    first_bad_s: float | None = None
    last_candidate_s: float | None = None
    bad_answers: tuple[BadAnswers, ...] = ()
    samples: tuple[Sample, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    alerts: tuple[Alert, ...] = ()
    uncounted: bool = False
