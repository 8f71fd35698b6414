"""READ THIS FIRST: what Git wants -> Prometheus's rules. Called by `sternway prometheus rules`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sternway.manifests.catalogue import Catalogue
from sternway.monitoring import objectives, own

Json = dict[str, Any]


def rules(catalogue: Catalogue, *, source: str | None = None, availability_percent: float | None = None) -> Json:
    """Give a file of rules: each service's, then those on Sternway itself.

    A service that the mesh does not reach has none; one whose Guard states no objective is recorded, and no alert is made
    of a promise that nobody gave, unless `availability_percent` states one.
    """
    groups = [
        objectives.group(objectives.promised(wanted, source=source, availability_percent=availability_percent))
        for wanted in catalogue.wanted
        if wanted.service.port is not None
    ]
    return {"groups": [*groups, own.group()]}


def without_objective(catalogue: Catalogue) -> tuple[str, ...]:
    """Name the services that are recorded and promise nothing."""
    return tuple(
        wanted.service.name
        for wanted in catalogue.wanted
        if wanted.service.port is not None
        and wanted.guard.judge.objectives.availability_percent is None
        and not wanted.guard.judge.objectives.latency_ms
    )


def as_resource(found: Json, *, name: str, namespace: str | None, labels: Mapping[str, str]) -> Json:
    """Wrap rules into a PrometheusRule of prometheus-operator."""
    metadata: Json = {"name": name, "labels": {"app.kubernetes.io/managed-by": "sternway", **labels}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata, "spec": found}
