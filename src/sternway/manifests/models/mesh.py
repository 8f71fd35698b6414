"""The MeshPolicy manifest (sternway.dev/v1alpha1): what HTTPRoute cannot say. -> `sternway.domain.mesh`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from sternway.domain import mesh
from sternway.manifests.models.base import (
    Count,
    Duration,
    HeaderName,
    Natural,
    Ours,
    Share,
    Text,
    Weight,
    Words,
    duration,
    not_empty,
    spelled,
    wrong,
)
from sternway.manifests.models.core import Metadata

_POLICY = mesh.MeshPolicy()
_OUTLIER = mesh.OutlierDetection()
_HEALTH = mesh.HealthCheck(path="/")
_FAULT = mesh.Fault()

_ON: Any = _POLICY.retries.on
RetryOn = Literal[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
]


def _above_nothing(seconds: float) -> float:
    if seconds < 0.001:
        raise wrong("the duration is shorter than 1 ms", "write at least `1ms`")
    return seconds


Span = Annotated[Duration, AfterValidator(_above_nothing)]


def ms(seconds: float) -> int:
    """Seconds -> whole milliseconds."""
    return round(seconds * 1000)


def _in_ms(value_ms: int) -> Any:
    return Field(default=spelled(value_ms / 1000))


class Retries(Ours):
    """When a failed request is tried again on another replica of the same version."""

    attempts: Natural = _POLICY.retries.attempts
    """How many more times. 0 turns retries off."""
    per_try_timeout: Span | None = None
    """How long one try may take. Without it: as long as the whole request."""
    retry_on: Annotated[tuple[Annotated[RetryOn, Words("Envoy's words")], ...], AfterValidator(not_empty)] = _ON
    """What counts as failed: `5xx`, `gateway-error`, `reset`, `reset-before-request`, `connect-failure`,
    `refused-stream`, `retriable-4xx`, `envoy-ratelimited`; and for gRPC `cancelled`, `deadline-exceeded`, `internal`,
    `resource-exhausted`, `unavailable`."""
    back_off: Span = _in_ms(_POLICY.retries.back_off_ms)
    """The pause before the first retry; it doubles with each further one."""


class LoadBalancing(Ours):
    """How a version's replicas share its requests."""

    policy: Literal["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH"] = Field(default=_POLICY.load_balancing.value)
    """The way replicas are chosen. `RING_HASH` sends equal values of `hashHeader` to the same replica."""
    hash_header: HeaderName | None = None
    """The request header that `RING_HASH` looks at."""

    @model_validator(mode="after")
    def _fit(self) -> LoadBalancing:
        if self.policy == "RING_HASH" and not self.hash_header:
            raise wrong("RING_HASH needs hashHeader", "name the request header whose value chooses the replica")
        if self.hash_header and self.policy != "RING_HASH":
            raise wrong(f"{self.policy} looks at no header", "take hashHeader out, or write `policy: RING_HASH`")
        return self


class CircuitBreaker(Ours):
    """Limits of one version; beyond them requests are refused at once with 503."""

    max_connections: Count = _POLICY.circuit_breaker.max_connections
    """Connections to all replicas together."""
    max_pending_requests: Count = _POLICY.circuit_breaker.max_pending_requests
    """Requests that wait for a connection."""
    max_requests: Count = _POLICY.circuit_breaker.max_requests
    """Requests under way."""
    max_retries: Count = _POLICY.circuit_breaker.max_retries
    """Retries under way."""


class OutlierDetection(Ours):
    """A replica that fails several times in a row gets no requests for a while."""

    consecutive_5xx: Count = Field(default=_OUTLIER.consecutive_5xx, alias="consecutive5xx")
    """How many failures in a row."""
    interval: Span = _in_ms(_OUTLIER.interval_ms)
    """How often replicas are looked at."""
    base_ejection: Span = _in_ms(_OUTLIER.base_ejection_ms)
    """How long the first time; longer each further time."""
    max_ejection: Share = float(_OUTLIER.max_ejection_percent)
    """At most this share of a version's replicas at once, in whole percent."""

    @field_validator("max_ejection")
    @classmethod
    def _whole(cls, percent: float) -> float:
        if percent != int(percent):
            raise wrong(f"{percent:g} % is no whole percentage", "write a whole number")
        return percent


class HealthCheck(Ours):
    """The proxy itself asks each replica whether it is healthy."""

    path: Annotated[str, Field(pattern=r"^/"), Words("path")]
    """The path that is asked; any answer but 200 is a failure."""
    interval: Span = _in_ms(_HEALTH.interval_ms)
    """How often."""
    timeout: Span = _in_ms(_HEALTH.timeout_ms)
    """How long an answer may take."""
    unhealthy_threshold: Count = _HEALTH.unhealthy_threshold
    """So many failures in a row take a replica out."""
    healthy_threshold: Count = _HEALTH.healthy_threshold
    """So many good answers in a row bring it back."""


class Abort(Ours):
    """Requests are answered with an error at once."""

    percent: Weight
    """Share of the requests."""
    status: Annotated[int, Field(strict=True, ge=200, le=599), Words("HTTP status")] = _FAULT.abort_status
    """The answer."""


class Delay(Ours):
    """Requests are held up."""

    percent: Weight
    """Share of the requests."""
    for_: Span = Field(alias="for")
    """How long."""


class Fault(Ours):
    """Faults for drills. They count as the version's own."""

    abort: Abort | None = None
    """Answer with an error."""
    delay: Delay | None = None
    """Answer late."""

    @model_validator(mode="after")
    def _any(self) -> Fault:
        if not self.abort and not self.delay:
            raise wrong("a fault needs abort or delay", "write one of them or both, or take `fault` out")
        return self


class MeshPolicySpec(Ours):
    """What the mesh does with requests to one service."""

    service: Text
    """The service: the name of a Service, or of a Deployment that has none."""
    timeout: Span = _in_ms(_POLICY.timeout_ms)
    """How long a request may take in all, retries included."""
    retries: Retries = Field(default_factory=Retries)
    """When a failed request is tried again."""
    load_balancing: LoadBalancing = Field(default_factory=LoadBalancing)
    """How replicas share the requests."""
    circuit_breaker: CircuitBreaker = Field(default_factory=CircuitBreaker)
    """Limits beyond which requests are refused at once."""
    outlier_detection: OutlierDetection | None = None
    """Failing replicas get no requests for a while. Without it: off."""
    health_check: HealthCheck | None = None
    """The proxy asks replicas whether they are healthy. Without it: off; the platform's probes still count."""
    fault: Fault | None = None
    """Faults for drills. Without it: none."""

    @model_validator(mode="after")
    def _fit(self) -> MeshPolicySpec:
        per_try = self.retries.per_try_timeout
        if per_try is not None and per_try > self.timeout:
            said = f"one try may take {duration(per_try)}, longer than the whole request ({duration(self.timeout)})"
            raise wrong(said, "write a shorter perTryTimeout", ("retries", "perTryTimeout"))
        return self


class MeshPolicy(Ours):
    """How requests to a service are treated on their way. A change to it is a release like any other."""

    api_version: Literal["sternway.dev/v1alpha1"]
    """`sternway.dev/v1alpha1`"""
    kind: Literal["MeshPolicy"]
    """`MeshPolicy`"""
    metadata: Metadata
    """Name, and labels if you like."""
    spec: MeshPolicySpec
    """What the policy says."""

    def to_domain(self, rules: tuple[mesh.RouteRule, ...] = ()) -> mesh.MeshPolicy:
        """Return the domain's value, together with the rules of the service's HTTPRoutes."""
        spec = self.spec
        outlier, health, fault = spec.outlier_detection, spec.health_check, spec.fault
        per_try = spec.retries.per_try_timeout
        return mesh.MeshPolicy(
            timeout_ms=ms(spec.timeout),
            retries=mesh.Retries(
                attempts=spec.retries.attempts,
                per_try_timeout_ms=ms(per_try) if per_try is not None else None,
                on=tuple(spec.retries.retry_on),
                back_off_ms=ms(spec.retries.back_off),
            ),
            load_balancing=mesh.LoadBalancing(spec.load_balancing.policy),
            hash_header=spec.load_balancing.hash_header,
            circuit_breaker=mesh.CircuitBreaker(**spec.circuit_breaker.model_dump()),
            outlier_detection=mesh.OutlierDetection(
                consecutive_5xx=outlier.consecutive_5xx,
                interval_ms=ms(outlier.interval),
                base_ejection_ms=ms(outlier.base_ejection),
                max_ejection_percent=int(outlier.max_ejection),
            )
            if outlier
            else None,
            health_check=mesh.HealthCheck(
                path=health.path,
                interval_ms=ms(health.interval),
                timeout_ms=ms(health.timeout),
                unhealthy_threshold=health.unhealthy_threshold,
                healthy_threshold=health.healthy_threshold,
            )
            if health
            else None,
            fault=_fault(fault) if fault else None,
            rules=rules,
        )


def _fault(fault: Fault) -> mesh.Fault:
    return mesh.Fault(
        abort_percent=fault.abort.percent if fault.abort else 0.0,
        abort_status=fault.abort.status if fault.abort else _FAULT.abort_status,
        delay_percent=fault.delay.percent if fault.delay else 0.0,
        delay_ms=ms(fault.delay.for_) if fault.delay else 0,
    )
