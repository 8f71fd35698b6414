"""Guards' objectives -> recording rules, and alerts on how fast the error budget burns. Called by `rules`.

A budget is what an objective leaves: 0.1 % of the answers for an availability of 99.9 %, 1 % for a p99. An alert fires when
it was used `burn` times too fast over a long window and is still in a short one: the table of Google's SRE workbook, which
spends 2 %, 5 % and 10 % of a 30-day budget before it tells. Errors are counted whichever version answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sternway.domain.guards import Guard
from sternway.domain.metrics import fill
from sternway.domain.releases import Wanted
from sternway.engine.asking import deployment_of
from sternway.manifests.builtin_metrics import SOURCES, Source
from sternway.manifests.models.guard import spell_quantile

Json = dict[str, Any]

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
DEFAULT_SOURCE = "envoy"
ERRORS = "service:sternway_slo_errors:ratio_rate{window}"
REQUESTS = "service:sternway_slo_requests:rate{window}"
DURATIONS = "service_le:sternway_slo_duration:rate{window}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """One pair of windows. hold: for how long it must be true, so that the first minute of a new database rings no bell."""

    severity: str
    factor: float
    long: str
    short: str
    hold: str


BURNS = (
    Burn(severity="page", factor=14.4, long="1h", short="5m", hold="2m"),
    Burn(severity="page", factor=6.0, long="6h", short="30m", hold="2m"),
    Burn(severity="ticket", factor=3.0, long="1d", short="2h", hold="15m"),
    Burn(severity="ticket", factor=1.0, long="3d", short="6h", hold="15m"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """A service and what it promises. labels: select its series, whichever version answers."""

    service: str
    source: Source
    labels: str
    availability_percent: float | None
    latency_ms: tuple[tuple[float, float], ...]


def promised(wanted: Wanted, *, source: str | None, availability_percent: float | None) -> Promised:
    """Tell what a service promises, and where it is counted.

    source: None takes what the Guard's metrics name, else Envoy. availability_percent: for Guards that state none.
    """
    name = source or source_named_by(wanted.guard) or DEFAULT_SOURCE
    found = SOURCES[name]
    stated = wanted.guard.judge.objectives
    values = {
        "service": wanted.service.name.replace(".", "_") if name == "envoy" else wanted.service.name,
        "namespace": wanted.service.namespace,
        "deployment": deployment_of(wanted.guard, wanted.documents),
    }
    return Promised(
        service=wanted.service.name,
        source=found,
        labels=fill(found.whole, values),
        availability_percent=availability_percent
        if stated.availability_percent is None
        else stated.availability_percent,
        latency_ms=stated.latency_ms,
    )


def source_named_by(guard: Guard) -> str | None:
    """Name the built-in source that the Guard's metrics use first."""
    stated = {metric.ratio.total for metric in guard.judge.metrics if metric.ratio}
    stated |= {metric.slower.histogram for metric in guard.judge.metrics if metric.slower}
    return next((name for name, one in SOURCES.items() if {one.total, one.durations} & stated), None)


def group(one: Promised) -> Json:
    """Make the rules of one service; in one group, so that what is recorded stands before the alerts that read it."""
    alerts = [*_availability(one), *(alert for goal in one.latency_ms for alert in _latency(one, *goal))]
    return {"name": f"sternway-{one.service}", "rules": [*_recorded(one), *alerts]}


def _recorded(one: Promised) -> Iterator[Json]:
    total = f"{one.source.requests}{{{one.labels}}}"
    bad = f"{one.source.requests}{{{one.labels},{one.source.bad}}}"
    yield _record(one, REQUESTS, "5m", f"sum(rate({total}[5m]))")
    for window in WINDOWS:
        # A counter of errors is not there before the first error: that is none, and not nothing known.
        errors = f"(sum(rate({bad}[{window}])) or vector(0)) / (sum(rate({total}[{window}])) > 0)"
        yield _record(one, ERRORS, window, errors)
    if one.latency_ms:
        buckets = f"{one.source.buckets}{{{one.labels}}}"
        for window in WINDOWS:
            yield _record(one, DURATIONS, window, f"sum by (le) (rate({buckets}[{window}]))")


def _record(one: Promised, name: str, window: str, expr: str) -> Json:
    return {"record": name.format(window=window), "expr": expr, "labels": {"service": one.service}}


def _availability(one: Promised) -> Iterator[Json]:
    if one.availability_percent is None:
        return
    budget = 1 - one.availability_percent / 100
    for burn in BURNS:
        limit = _limit(budget, burn)
        said = (
            f"{{{{ $value | humanizePercentage }}}} of its answers in the last {burn.long} were errors; the objective of "
            f"{one.availability_percent:g} % allows {100 * budget:.4g} %."
        )
        conditions = [
            f'{ERRORS.format(window=window)}{{service="{one.service}"}} > {limit:.6g}'
            for window in (burn.long, burn.short)
        ]
        yield _alert(one, burn, ("ErrorBudgetBurn", "availability"), conditions, said)


def _latency(one: Promised, quantile: float, limit_ms: float) -> Iterator[Json]:
    """Alert on slow answers: that a share f of them is slower than L says that the (1 - f) quantile is above L."""
    spelled = spell_quantile(quantile)
    unit = "ms" if one.source.per_ms == 1 else "s"
    for burn in BURNS:
        share = _limit(1 - quantile, burn)
        said = (
            f"{100 * share:.4g} % of its answers in the last {burn.long} took {{{{ $value | humanize }}}} {unit} or longer; "
            f"the objective ({spelled}) allows {100 * (1 - quantile):.4g} % above {limit_ms:g} ms."
        )
        conditions = [
            f'histogram_quantile({1 - share:.6g}, {DURATIONS.format(window=window)}{{service="{one.service}"}})'
            f" > {limit_ms * one.source.per_ms:g}"
            for window in (burn.long, burn.short)
        ]
        yield _alert(one, burn, ("LatencyBudgetBurn", f"latency-{spelled}"), conditions, said)


def _limit(budget: float, burn: Burn) -> float:
    """The share that is too much: at most half-way from the budget to everything, or a total failure would ring no bell."""
    return min(burn.factor * budget, (1 + budget) / 2)


def _alert(one: Promised, burn: Burn, names: tuple[str, str], conditions: list[str], description: str) -> Json:
    alert, objective = names
    return {
        "alert": alert,
        "expr": " and ".join(conditions),
        "for": burn.hold,
        "labels": {"service": one.service, "objective": objective, "severity": burn.severity, "window": burn.long},
        "annotations": {
            "summary": f"{one.service} uses its error budget up too fast ({objective}, over {burn.long})",
            "description": f"{one.service}: {description}",
        },
    }
