"""The user's statement of how a service's releases are exposed, judged and rolled back.

Built by `sternway.manifests` from a `Guard` manifest; every field has a sane default, so a service
without a Guard gets `implicit_guard(name)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sternway.domain.metrics import AlertRule, Metric
from sternway.domain.tallies import ClusterKey, ErrorClass


class Mode(StrEnum):
    """AUTOMATIC rolls back by itself; ASK holds traffic at the last safe split and waits for a person."""

    AUTOMATIC = "automatic"
    ASK = "ask"


class Then(StrEnum):
    """What happens when patience ends (nobody answered, or nothing could be seen)."""

    ROLLBACK = "rollback"
    HOLD = "hold"
    PROMOTE = "promote"


CAPPED_AT_PERCENT, CAPPED_WITHOUT_KEY_PERCENT = 50.0, 10.0
"""A step in requests per second never takes more than this share, however little traffic there is.

Without a cluster key nine placebo arms as large as the candidate must fit beside it.
"""
LEARN_MOST_PERCENT = 33.0
"""A step with a budget of users hurt never takes more than this share."""


WARM_UP_S = 60.0
"""How long a fresh candidate may be worse than it stays, where a Guard does not say."""

EDITION = 2
"""The newest of the judge's own rules. What was judged by older ones is replayed by them."""


class Until(StrEnum):
    """What must be sure of a candidate before a step is passed.

    WORKING: its error rate is not beyond all measure (the first rung of the judge's ladder). HEALTHY: it is below
    what the judge calls healthy.
    """

    WORKING = "working"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStep:
    """One step of exposure: exactly one of a percentage, a cap in requests per second, and a budget of users hurt.

    users_hurt: as large a share as keeps what a bad version may cost within so many requests, given the evidence.
    The step is passed when the candidate has answered `min_requests` in it, `hold_s` have passed, and `until` is sure;
    after `within_s` also without that.
    """

    percent: float | None = None
    requests_per_second: float | None = None
    users_hurt: float | None = None
    min_requests: int = 100
    hold_s: float = 0.0
    until: Until | None = None
    within_s: float = 1800.0

    def __post_init__(self) -> None:
        if [self.percent, self.requests_per_second, self.users_hurt].count(None) != 2:
            msg = "a canary step needs exactly one of percent, requests_per_second and users_hurt"
            raise ValueError(msg)

    def __str__(self) -> str:
        if self.percent is not None:
            return f"{self.percent:g} %"
        if self.requests_per_second is not None:
            return f"{self.requests_per_second:g} requests/s"
        return "as much as the evidence allows"


DEFAULT_USERS_HURT = 15.0


def adaptive_steps(*, users_hurt: float = DEFAULT_USERS_HURT, within_s: float = 1800.0) -> tuple[CanaryStep, ...]:
    """Rise as fast as the evidence allows: a few requests until a crash is ruled out, then until it is healthy."""
    return (
        CanaryStep(requests_per_second=5, min_requests=40, until=Until.WORKING, within_s=within_s),
        CanaryStep(users_hurt=users_hurt, min_requests=200, hold_s=30.0, until=Until.HEALTHY, within_s=within_s),
        CanaryStep(percent=50, min_requests=200),
    )


DEFAULT_STEPS = adaptive_steps()


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Exposure in steps that rise."""

    steps: tuple[CanaryStep, ...] = DEFAULT_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreen:
    """A preview address, then all traffic at once; back is as instant. `hold_s`: how long the preview stands first.

    `automatic_switch` False waits for `sternway promote`.
    """

    hold_s: float = 0.0
    automatic_switch: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ABTest:
    """Requests with this header or cookie go to the candidate (exactly one), until it has answered `min_requests`."""

    header: tuple[str, str] | None = None
    cookie: tuple[str, str] | None = None
    min_requests: int = 500


Strategy = Canary | BlueGreen | ABTest


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorFirst:
    """Before any user: copies of stable's requests, until the candidate has answered `min_requests` of them."""

    percent: float = 10.0
    min_requests: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Shield:
    """A safe request (GET, HEAD, OPTIONS) that fails on the candidate is answered by stable.

    `budget_percent`: rescues may be at most this share of the requests under way.
    """

    enabled: bool = True
    budget_percent: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """Absolute objectives: the share of good answers, and latency quantiles ((0.99, 500.0),) in ms."""

    availability_percent: float | None = None
    latency_ms: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A kind of errors that counts alone, and how much more of them is tolerated, as for all errors."""

    kind: ErrorClass
    worse_than_percent: float = 100.0
    and_percent: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """What counts as harm, and how sure the judge must be.

    false_rollback_rate: promised chance (0..1) that a healthy release is ever condemned.
    suspicion: withdraw when the evidence reaches this many to one.
    worse_than_percent, and_percent: the smallest effect worth a rollback. An error rate p is tolerated up to
        p * (1 + worse_than_percent / 100) + and_percent / 100.
    latency_quantiles, latency_worse_than_percent: the same for "slower than stable's quantile".
    alone: kinds of errors that count alone. By default 4xx answers, where the candidate gives very many more of them.
    healthy_times, healthy_and_percent: the candidate is called healthy once its error rate is surely below
        p * healthy_times + healthy_and_percent / 100.
    warm_up_s: how long a fresh candidate may be worse than it stays. What it shows before suspects, and never condemns.
        (0 is what releases were judged by before there was a warm-up; Guards say `WARM_UP_S`.)
    edition: of the judge's own rules. (1 is what journals were judged by that name none; Guards say `EDITION`.)
    metrics, alerts: further criteria, out of a monitoring system.
    """

    false_rollback_rate: float = 0.01
    suspicion: float = 20.0
    worse_than_percent: float = 10.0
    and_percent: float = 0.01
    cluster_key: ClusterKey | None = None
    latency_quantiles: tuple[float, ...] = (0.5, 0.9, 0.99)
    latency_worse_than_percent: float = 10.0
    objectives: Objectives = Objectives()
    alone: tuple[Alone, ...] = (Alone(kind=ErrorClass.CLIENT),)
    healthy_times: float = 3.0
    healthy_and_percent: float = 0.1
    warm_up_s: float = 0.0
    edition: int = 1
    metrics: tuple[Metric, ...] = ()
    alerts: tuple[AlertRule, ...] = ()


GATE_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Something of the user's that must succeed before a release goes on: exactly one of a Job and a command.

    before_step: it runs before this step of the strategy (1: before any user reaches the candidate); None: before all
        traffic goes to it. job: the pod template of a Job, as JSON; backoff_limit: how often it is tried again. command: a
        command line on one machine. then: what its failure does, ROLLBACK or HOLD.
    """

    name: str
    before_step: int | None = 1
    job: str = ""
    backoff_limit: int = 0
    command: str = ""
    timeout_s: float = GATE_TIMEOUT_S
    then: Then = Then.ROLLBACK

    @property
    def point(self) -> str:
        """When it runs, in words."""
        if self.before_step is None:
            return "before all traffic"
        return "before any user" if self.before_step == 1 else f"before step {self.before_step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How the releases of one service are exposed, judged and rolled back.

    fallback: a Deployment that always runs as a standing rollback target, declared good by a person.
    bake_s, bake_control_percent: after promotion, how long harm still takes the release back, and how much
        traffic the replaced version keeps meanwhile as the control group.
    keep_s: how long the replaced version keeps running after the bake.
    withdraw_s: how long a suspected candidate gets no traffic before it is exposed again.
    blind_s, blind_then: how long blindness is borne and what happens then.
    """

    service: str
    deployment: str = ""
    fallback: str | None = None
    mode: Mode = Mode.AUTOMATIC
    ask_timeout_s: float = 1800.0
    ask_then: Then = Then.ROLLBACK
    strategy: Strategy = Canary()
    mirror: MirrorFirst | None = None
    bake_s: float = 300.0
    bake_control_percent: float = 5.0
    keep_s: float = 60.0
    shield: Shield = Shield()
    judge: JudgeSettings = JudgeSettings()
    withdraw_s: float = 30.0
    blind_s: float = 600.0
    blind_then: Then = Then.HOLD
    progress_deadline_s: float = 120.0
    gates: tuple[Gate, ...] = ()
    implicit: bool = False

    @property
    def capped_at_percent(self) -> float:
        """The most that a step in requests per second takes."""
        return CAPPED_AT_PERCENT if self.judge.cluster_key is not None else CAPPED_WITHOUT_KEY_PERCENT

    @property
    def keeps_control(self) -> bool:
        """Whether stable keeps some traffic beside the candidate as long as it is judged."""
        return isinstance(self.strategy, Canary) and self.bake_control_percent > 0.0


def implicit_guard(service: str) -> Guard:
    """Give what a service without a Guard gets."""
    return Guard(service=service, judge=JudgeSettings(warm_up_s=WARM_UP_S, edition=EDITION), implicit=True)
