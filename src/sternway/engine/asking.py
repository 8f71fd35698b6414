"""What a release asks of metrics: the Guard's queries, filled in for both versions. Pure; used by `engine.world`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sternway.domain.guards import Guard
from sternway.domain.metrics import AlertRule, Metric, MetricAsk, MetricQuestion, escape, fill
from sternway.domain.releases import Release
from sternway.domain.versions import Version

STABLE, CANDIDATE = "stable", "candidate"


def metric_question(release: Release, namespace: str) -> MetricQuestion | None:
    """Fill the queries in; None when the Guard states neither metrics nor alerts."""
    judge = release.guard.judge
    if not judge.metrics and not judge.alerts:
        return None
    deployment = deployment_of(release.guard, release.documents)
    return _question(judge.metrics, judge.alerts, release.stable, release.candidate, namespace, deployment)


@lru_cache(maxsize=4096)  # every pass of a release asks the same
def _question(
    metrics: tuple[Metric, ...],
    alerts: tuple[AlertRule, ...],
    stable: Version,
    candidate: Version,
    namespace: str,
    deployment: str,
) -> MetricQuestion:
    def said(version: Version, role: str, metric: Metric) -> Mapping[str, str]:
        return arguments(version, namespace=namespace, deployment=deployment, role=role, window_s=metric.window_s)

    return MetricQuestion(
        stable=stable.id,
        candidate=candidate.id,
        asks=tuple(
            ask(one, stable=said(stable, STABLE, one), candidate=said(candidate, CANDIDATE, one)) for one in metrics
        ),
        alerts=alerts,
    )


def arguments(version: Version, *, namespace: str, deployment: str, role: str, window_s: float) -> dict[str, str]:
    """What stands for `$(NAME)` in a query about a version.

    cluster: the name of the version in the statistics of Sternway's own Envoy.
    """
    service = version.service.removesuffix(f".{namespace}")  # in a cluster it is NAME.NAMESPACE
    values = {
        **role_arguments(service, namespace=namespace, deployment=deployment, role=role, window_s=window_s),
        "version": version.id,
        "tag": version.workload.tag,
        "cluster": f"{version.service}|{version.id}".replace(".", "_"),
    }
    return {name: escape(value) for name, value in values.items()}


def role_arguments(service: str, *, namespace: str, deployment: str, role: str, window_s: float) -> dict[str, str]:
    """What stands for `$(NAME)` whichever version has the role.

    workload: on Kubernetes stable runs as DEPLOYMENT-stable. backend: the Service there that reaches the version alone.
    canary: a pattern for a label that only a canary has.
    """
    return {
        "service": service,
        "namespace": namespace,
        "deployment": deployment,
        "workload": f"{deployment}-stable" if role == STABLE else deployment,
        "backend": f"{service}-{role}",
        "role": role,
        "canary": "" if role == STABLE else ".+",
        "window": f"{round(window_s * 1000)}ms",
    }


def ask(metric: Metric, *, stable: Mapping[str, str], candidate: Mapping[str, str]) -> MetricAsk:
    """Fill a metric's queries in with what stands for `$(NAME)` about each version."""
    kind, templates = templates_of(metric)
    return MetricAsk(
        name=metric.name,
        kind=kind,
        interval_s=metric.interval_s,
        stable=tuple(fill(template, stable) for template in templates),
        candidate=tuple(fill(template, candidate) for template in templates),
        quantile=metric.slower.quantile if metric.slower else 0.0,
    )


def deployment_of(guard: Guard, documents: tuple[tuple[str, str, str], ...]) -> str:
    """Name the Deployment that is released."""
    return guard.deployment or next((name for _, kind, name in documents if kind == "Deployment"), guard.service)


def templates_of(metric: Metric) -> tuple[str, tuple[str, ...]]:
    """Return the kind of a metric, and its queries before they are filled in."""
    if metric.ratio:
        return "ratio", (metric.ratio.bad, metric.ratio.total)
    if metric.slower:
        return "slower", (metric.slower.histogram,)
    if metric.versus:
        return "versus", (metric.versus.query,)
    assert metric.limits is not None
    return "limits", (metric.limits.query,)
