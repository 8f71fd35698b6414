"""The Guard manifest (sternway.dev/v1alpha1) and how it becomes a `sternway.domain.guards.Guard`.

Every default is taken from the domain's dataclasses: there is one source. Every field's docstring goes into the
reference pages and the schema.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from sternway.domain import guards, tallies
from sternway.manifests.models.base import (
    Chance,
    Count,
    Duration,
    Flag,
    HeaderName,
    HeaderText,
    Ours,
    Percent,
    Positive,
    Share,
    Text,
    Weight,
    Words,
    duration,
    not_empty,
    parse_quantile,
    quantile_schema,
    spelled,
    wrong,
)
from sternway.manifests.models.core import Metadata
from sternway.manifests.models.gate import Gate, refuse_misplaced
from sternway.manifests.models.metrics import AlertRule, Metric, refuse_equal_names

_GUARD = guards.Guard(service="")
_STEP = guards.CanaryStep(percent=1)
_MIRROR = guards.MirrorFirst()
_BLUE_GREEN = guards.BlueGreen()
_AB = guards.ABTest()
_KEY = tallies.ClusterKey()
_ALONE = guards.Alone(kind=tallies.ErrorClass.CLIENT)

Then = Literal["rollback", "hold", "promote"]


def spell_quantile(quantile: float) -> str:
    """0.99 -> `p99`."""
    return f"p{(Decimal(str(quantile)) * 100).normalize():f}"


Quantile = Annotated[float, BeforeValidator(parse_quantile), quantile_schema(), Words("quantile")]


class HeaderValue(Ours):
    """A request header."""

    name: HeaderName
    """Name of the header."""
    value: HeaderText
    """The exact value."""


class CookieValue(Ours):
    """A cookie."""

    name: HeaderName
    """Name of the cookie."""
    value: HeaderText
    """The exact value."""


class Step(Ours):
    """One step of a canary."""

    percent: Weight | None = None
    """Share of the requests that the candidate gets. Either this or `requestsPerSecond`."""
    requests_per_second: Positive | None = None
    """A cap instead of a share: the candidate gets at most this many requests per second, at any traffic."""
    users_hurt: Positive | None = None
    """A budget instead of a share: 10 % of the requests (more where that is under ten a second, at most 33 %), but never
    so much that a candidate as bad as it could still be fails more requests than this before it is withdrawn."""
    min_requests: Count = _STEP.min_requests
    """The step is passed when the candidate has answered this many requests in it and nothing speaks against it."""
    hold: Duration = Field(default=spelled(_STEP.hold_s))
    """The step lasts at least this long, however many requests there were."""
    until: Literal["working", "healthy"] | None = None
    """What must be sure before the step is passed. `working`: the candidate's error rate is below `judge.healthy`, with
    100 times its `and`; `healthy`: it is below `judge.healthy`. Without it: `minRequests` is enough."""
    within: Duration = Field(default=spelled(_STEP.within_s))
    """After this long the step is passed without being so sure, if nothing speaks against the candidate."""

    @model_validator(mode="after")
    def _one(self) -> Step:
        if [self.percent, self.requests_per_second, self.users_hurt].count(None) != 2:
            raise wrong("a step needs exactly one of percent, requestsPerSecond and usersHurt", "write one of them")
        return self

    def to_domain(self) -> guards.CanaryStep:
        """Return the domain's value."""
        return guards.CanaryStep(
            percent=self.percent,
            requests_per_second=self.requests_per_second,
            users_hurt=self.users_hurt,
            min_requests=self.min_requests,
            hold_s=self.hold,
            until=guards.Until(self.until) if self.until else None,
            within_s=self.within,
        )


def _default_steps() -> tuple[Step, ...]:
    return tuple(
        Step.model_validate(
            {
                "percent": step.percent,
                "requestsPerSecond": step.requests_per_second,
                "usersHurt": step.users_hurt,
                "minRequests": step.min_requests,
                "hold": duration(step.hold_s),
                "until": step.until.value if step.until else None,
                "within": duration(step.within_s),
            }
        )
        for step in guards.DEFAULT_STEPS
    )


class Canary(Ours):
    """Exposure in steps that rise; after the last one the candidate is promoted."""

    steps: Annotated[tuple[Step, ...], AfterValidator(not_empty)] = Field(default_factory=_default_steps)
    """The steps, each exposing more than the one before. Caps in requests per second come before percentages."""

    @field_validator("steps")
    @classmethod
    def _rise(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        for index, (before, step) in enumerate(pairwise(steps), start=1):
            if step.requests_per_second is not None and before.requests_per_second is None:
                after = "a percentage" if before.percent is not None else "a budget of users hurt"
                said = f"a cap in requests per second comes after {after}"
                raise wrong(said, "put the caps first: they are the smaller exposure", (index, "requestsPerSecond"))
            unit = "requestsPerSecond" if step.requests_per_second is not None else "percent"
            new = step.percent if step.requests_per_second is None else step.requests_per_second
            old = before.percent if step.requests_per_second is None else before.requests_per_second
            if new is not None and old is not None and new <= old:
                said = f"the steps do not rise: {new:g} comes after {old:g}"
                raise wrong(said, f"write more than {old:g}, or take this step out", (index, unit))
        return steps


class Adaptive(Ours):
    """Exposure that rises as fast as the evidence allows.

    Five requests a second until a crash is ruled out; then as much as `usersHurt` allows, until the candidate is surely
    healthy (`judge.healthy`); then half of the traffic; then it is promoted.
    """

    users_hurt: Positive = guards.DEFAULT_USERS_HURT
    """What a bad version may cost: about so many failed requests until it is withdrawn."""
    within: Duration = Field(default=spelled(_STEP.within_s))
    """Where traffic is too low to be sure, a step goes on after this long if nothing speaks against the candidate."""


class BlueGreen(Ours):
    """A preview address first, then all traffic at once; going back is as instant."""

    hold: Duration = Field(default=spelled(_BLUE_GREEN.hold_s))
    """How long the candidate stands at its preview address before the switch."""
    switch: Literal["automatic", "manual"] = "automatic" if _BLUE_GREEN.automatic_switch else "manual"
    """`manual` waits for `sternway promote`."""


class AB(Ours):
    """Requests with one header or cookie go to the candidate, all others to stable."""

    header: HeaderValue | None = None
    """The header that leads to the candidate. Either this or `cookie`."""
    cookie: CookieValue | None = None
    """The cookie that leads to the candidate."""
    min_requests: Count = _AB.min_requests
    """The candidate is promoted when it has answered this many of them and nothing speaks against it."""

    @model_validator(mode="after")
    def _one(self) -> AB:
        if (self.header is None) == (self.cookie is None):
            raise wrong("an A/B test needs either header or cookie", "write one of them")
        return self


class Strategy(Ours):
    """How a candidate is exposed: exactly one of the four."""

    adaptive: Adaptive | None = None
    """As fast as the evidence allows. The default."""
    canary: Canary | None = None
    """Exposure in steps."""
    blue_green: BlueGreen | None = None
    """Preview, then all traffic at once."""
    ab: AB | None = None
    """By header or cookie."""

    @model_validator(mode="after")
    def _one(self) -> Strategy:
        stated = [name for name in _FIELD if getattr(self, _FIELD[name]) is not None]
        if len(stated) != 1:
            said = f"a strategy is exactly one of {', '.join(_FIELD)}; here: {', '.join(stated) or 'none'}"
            raise wrong(said, "keep one of them (`adaptive: {}` is the default)")
        return self

    def to_domain(self) -> guards.Strategy:
        """Return the domain's value."""
        if self.blue_green:
            automatic = self.blue_green.switch == "automatic"
            return guards.BlueGreen(hold_s=self.blue_green.hold, automatic_switch=automatic)
        if self.ab:
            header, cookie = self.ab.header, self.ab.cookie
            return guards.ABTest(
                header=(header.name, header.value) if header else None,
                cookie=(cookie.name, cookie.value) if cookie else None,
                min_requests=self.ab.min_requests,
            )
        if self.adaptive:
            steps = guards.adaptive_steps(users_hurt=self.adaptive.users_hurt, within_s=self.adaptive.within)
            return guards.Canary(steps=steps)
        assert self.canary
        return guards.Canary(steps=tuple(step.to_domain() for step in self.canary.steps))


_FIELD = {"adaptive": "adaptive", "canary": "canary", "blueGreen": "blue_green", "ab": "ab"}


class Fallback(Ours):
    """A standing rollback target."""

    deployment: Text
    """A Deployment that always runs beside the service and is known to be good: the target of a first rollback."""


class Ask(Ours):
    """How long `mode: ask` waits for a person."""

    timeout: Duration = Field(default=spelled(_GUARD.ask_timeout_s))
    """How long the question stands."""
    then: Then = Field(default=_GUARD.ask_then.value)
    """What happens when nobody has answered."""


class Mirror(Ours):
    """Copies of stable's requests to the candidate, before any user reaches it. Their answers go to nobody."""

    percent: Weight = _MIRROR.percent
    """Share of stable's requests that is copied."""
    min_requests: Count = _MIRROR.min_requests
    """Mirroring ends when the candidate has answered this many copies."""


class Bake(Ours):
    """The time after promotion in which harm still takes the release back."""

    for_: Duration = Field(default=spelled(_GUARD.bake_s), alias="for")
    """How long."""
    control: Share = _GUARD.bake_control_percent
    """Share of the traffic that the replaced version keeps meanwhile, to be compared with."""


class Shield(Ours):
    """A safe request (GET, HEAD, OPTIONS) that fails on the candidate is answered by stable.

    It still counts as the candidate's failure.
    """

    enabled: Flag = _GUARD.shield.enabled
    """Whether the shield is up."""
    budget: Weight = _GUARD.shield.budget_percent
    """Rescues may be at most this share of the requests under way, so that stable is never flooded."""


class ClusterKey(Ours):
    """Whose errors come together: one piece of evidence for each user, say, and not for each retry."""

    header: HeaderName | None = None
    """The request header that holds the key. Either this or `cookie`."""
    cookie: HeaderName | None = None
    """The cookie that holds the key."""
    mute: Duration = Field(default=spelled(_KEY.mute_s))
    """After its first bad answer a key is not counted for this long."""

    @model_validator(mode="after")
    def _one(self) -> ClusterKey:
        if (self.header is None) == (self.cookie is None):
            raise wrong("a cluster key needs either header or cookie", "write one of them")
        return self


class Latency(Ours):
    """What counts as slower."""

    quantiles: tuple[Quantile, ...] = _GUARD.judge.latency_quantiles
    """The quantiles of stable's durations that the candidate is compared at. An empty list judges no latency."""
    worse_than: Percent = _GUARD.judge.latency_worse_than_percent
    """Up to this much slower is tolerated."""

    @field_validator("quantiles")
    @classmethod
    def _rise(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if list(quantiles) != sorted(set(quantiles)):
            raise wrong("the quantiles do not rise", "write each once, the lowest first")
        return quantiles


def _latency_goals(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    goals = {}
    for key, item in value.items():
        if not re.fullmatch(r"p\d+(\.\d+)?", key) or not 0 < float(key[1:]) < 100:
            raise wrong(f"`{key}` is no quantile", "write for example `p99: 500ms`", (key,))
        goals[key] = item
    return goals


class Objectives(Ours):
    """What the service promises, whatever stable does."""

    availability: Share | None = None
    """Share of good answers, for example `99.9`."""
    latency: Annotated[
        dict[str, Duration], BeforeValidator(_latency_goals), Words("mapping of quantile to duration")
    ] = Field(default_factory=dict)
    """Durations that quantiles must keep, for example `p99: 500ms`."""


class Alone(Ours):
    """A kind of errors that counts as a criterion of its own, beside all errors together."""

    errors: Literal["client", "server", "timeout", "connection", "grpc"]
    """`client`: 4xx answers; `server`: 5xx answers of a replica; `timeout`: nobody answered in time; `connection`: no replica
    could be reached, or an answer broke off; `grpc`: a gRPC status that is the server's fault."""
    worse_than: Percent = _ALONE.worse_than_percent
    """Up to this much more of them than stable's are tolerated."""
    and_: Percent = Field(default=_ALONE.and_percent, alias="and")
    """This many percentage points of them on top are tolerated."""

    def to_domain(self) -> guards.Alone:
        """Return the domain's value."""
        kind = tallies.ErrorClass(self.errors)
        return guards.Alone(kind=kind, worse_than_percent=self.worse_than, and_percent=self.and_)


class Healthy(Ours):
    """When a candidate is called healthy: its error rate is surely below `times` that of stable and `and` points more."""

    times: Annotated[float, Field(ge=1), Words("number, 1 or more")] = _GUARD.judge.healthy_times
    """How many times stable's error rate."""
    and_: Percent = Field(default=_GUARD.judge.healthy_and_percent, alias="and", gt=0)
    """How many percentage points on top."""


class Judge(Ours):
    """What counts as harm, and how sure the judge must be."""

    false_rollback_rate: Chance = _GUARD.judge.false_rollback_rate
    """The promised chance that a healthy release is ever rolled back, for example `0.01` or `1%`."""
    suspicion: Annotated[float, Field(gt=1), Words("number above 1")] = _GUARD.judge.suspicion
    """The candidate's traffic is withdrawn, reversibly, when the evidence reaches this many to one."""
    worse_than: Percent = _GUARD.judge.worse_than_percent
    """The smallest effect worth a rollback, relative: up to this much more errors than stable's are tolerated."""
    and_: Percent = Field(default=_GUARD.judge.and_percent, alias="and")
    """The smallest effect worth a rollback, absolute: this many percentage points of errors on top are tolerated."""
    cluster_key: ClusterKey | None = None
    """Where the key of requests that fail together stands."""
    latency: Latency = Field(default_factory=Latency)
    """What counts as slower."""
    objectives: Objectives = Field(default_factory=Objectives)
    """Absolute objectives."""
    alone: tuple[Alone, ...] = Field(default_factory=lambda: (Alone(errors="client"),))
    """Kinds of errors that count alone. By default: 4xx answers, where the candidate gives very many more than stable."""
    healthy: Healthy = Field(default_factory=Healthy)
    """What must be ruled out before a step with `until: healthy` is passed."""
    warm_up: Duration = Field(default=spelled(guards.WARM_UP_S))
    """How long a fresh candidate may do worse than it stays (caches, pools, compilers), from its first answer on. Until then
    it is not exposed further, and what it shows withdraws it, but does not condemn it. `0s`: it is warm at once."""

    @field_validator("alone")
    @classmethod
    def _once(cls, alone: tuple[Alone, ...]) -> tuple[Alone, ...]:
        kinds = [one.errors for one in alone]
        for index, kind in enumerate(kinds):
            if kind in kinds[:index]:
                raise wrong(f"{kind} errors stand there twice", "take one of them out", (index, "errors"))
        return alone

    def to_domain(self) -> guards.JudgeSettings:
        """Return the domain's value."""
        key = self.cluster_key
        goals = (
            (float(Decimal(name[1:]) / 100), float(Decimal(str(limit_s)) * 1000))  # not 0.001 off by binary fractions
            for name, limit_s in self.objectives.latency.items()
        )
        return guards.JudgeSettings(
            false_rollback_rate=self.false_rollback_rate,
            suspicion=self.suspicion,
            worse_than_percent=self.worse_than,
            and_percent=self.and_,
            cluster_key=tallies.ClusterKey(header=key.header, cookie=key.cookie, mute_s=key.mute) if key else None,
            latency_quantiles=self.latency.quantiles,
            latency_worse_than_percent=self.latency.worse_than,
            objectives=guards.Objectives(
                availability_percent=self.objectives.availability, latency_ms=tuple(sorted(goals))
            ),
            alone=tuple(one.to_domain() for one in self.alone),
            healthy_times=self.healthy.times,
            healthy_and_percent=self.healthy.and_,
            warm_up_s=self.warm_up,
            edition=guards.EDITION,
        )


class Withdraw(Ours):
    """A suspected candidate gets no traffic for a while, then it is exposed again."""

    for_: Duration = Field(default=spelled(_GUARD.withdraw_s), alias="for")
    """How long."""


class Blind(Ours):
    """What happens when nothing can be seen: monitoring is down, empty or late."""

    bear_for: Duration = Field(default=spelled(_GUARD.blind_s))
    """How long blindness is borne; the split holds meanwhile."""
    then: Then = Field(default=_GUARD.blind_then.value)
    """What happens then."""


class GuardSpec(Ours):
    """How the releases of one service are exposed, judged and rolled back."""

    service: Text
    """The service: the name of a Service, or of a Deployment that has none."""
    deployment: Text = _GUARD.deployment
    """Which Deployment (in a cluster also StatefulSet or DaemonSet) is released, when the Service selects several."""
    mesh: Text = ""
    """In a cluster: which mesh shares the traffic out, by its name in the table of docs/kubernetes/traffic.md. Without it the
    mesh is found. On one machine there is one mesh, and this is refused."""
    fallback: Fallback | None = None
    """A standing rollback target."""
    mode: Literal["automatic", "ask"] = Field(default=_GUARD.mode.value)
    """`automatic` rolls back by itself; `ask` holds traffic at the last safe split and waits for a person."""
    ask: Ask = Field(default_factory=Ask)
    """For `mode: ask`."""
    strategy: Strategy | None = None
    """How a candidate is exposed. Without it: `adaptive`."""
    mirror: Mirror | None = None
    """Copies of requests before any user reaches the candidate. Without it: none."""
    bake: Bake = Field(default_factory=Bake)
    """The time after promotion in which harm still takes the release back."""
    keep: Duration = Field(default=spelled(_GUARD.keep_s))
    """How long the replaced version keeps running after the bake."""
    shield: Shield = Field(default_factory=Shield)
    """Safe requests that fail on the candidate are answered by stable."""
    judge: Judge = Field(default_factory=Judge)
    """What counts as harm, and how sure the judge must be."""
    metrics: Annotated[tuple[Metric, ...], AfterValidator(refuse_equal_names)] = ()
    """Further criteria, out of Prometheus."""
    alerts: tuple[AlertRule, ...] = ()
    """Which alerts of Alertmanager count, and what they do. The first that fits an alert is followed."""
    withdraw: Withdraw = Field(default_factory=Withdraw)
    """How long a suspected candidate gets no traffic."""
    blind: Blind = Field(default_factory=Blind)
    """What happens when nothing can be seen."""
    progress_deadline: Duration = Field(default=spelled(_GUARD.progress_deadline_s))
    """A candidate that is not ready after this long is rolled back."""
    gates: tuple[Gate, ...] = ()
    """What must succeed before a release goes on, beside what is observed. Those of one point run at the same time."""

    @model_validator(mode="after")
    def _gates_fit(self) -> GuardSpec:
        strategy = self.strategy.to_domain() if self.strategy else _GUARD.strategy
        refuse_misplaced(self.gates, len(strategy.steps) if isinstance(strategy, guards.Canary) else 1)
        return self


class Guard(Ours):
    """How the releases of one service are exposed, judged and rolled back. A service without one has the defaults."""

    api_version: Literal["sternway.dev/v1alpha1"]
    """`sternway.dev/v1alpha1`"""
    kind: Literal["Guard"]
    """`Guard`"""
    metadata: Metadata
    """Name, and labels if you like."""
    spec: GuardSpec
    """What the guard says."""

    def to_domain(self) -> guards.Guard:
        """Return the domain's value."""
        spec = self.spec
        return guards.Guard(
            service=spec.service,
            deployment=spec.deployment,
            fallback=spec.fallback.deployment if spec.fallback else None,
            mode=guards.Mode(spec.mode),
            ask_timeout_s=spec.ask.timeout,
            ask_then=guards.Then(spec.ask.then),
            strategy=spec.strategy.to_domain() if spec.strategy else _GUARD.strategy,
            mirror=guards.MirrorFirst(percent=spec.mirror.percent, min_requests=spec.mirror.min_requests)
            if spec.mirror
            else None,
            bake_s=spec.bake.for_,
            bake_control_percent=spec.bake.control,
            keep_s=spec.keep,
            shield=guards.Shield(enabled=spec.shield.enabled, budget_percent=spec.shield.budget),
            judge=replace(
                spec.judge.to_domain(),
                metrics=tuple(metric.to_domain() for metric in spec.metrics),
                alerts=tuple(rule.to_domain() for rule in spec.alerts),
            ),
            withdraw_s=spec.withdraw.for_,
            blind_s=spec.blind.bear_for,
            blind_then=guards.Then(spec.blind.then),
            progress_deadline_s=spec.progress_deadline,
            gates=tuple(gate.to_domain() for gate in spec.gates),
        )
