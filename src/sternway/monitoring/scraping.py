"""A scrape configuration for Prometheus: Sternway, Envoy, and the services' replicas. Called by `sternway prometheus`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sternway.domain.releases import Wanted
from sternway.engine.asking import deployment_of
from sternway.manifests.catalogue import Catalogue

Json = dict[str, Any]

_POD = "__meta_kubernetes_pod"
_SCRAPE, _PATH, _PORT = (f"{_POD}_annotation_prometheus_io_{name}" for name in ("scrape", "path", "port"))
_ENVOY_SERIES = "envoy_cluster_(retry_)?upstream_rq_(xx|time_.+)"
_POD_OF_DEPLOYMENT = "(-stable)?-[a-z0-9]+"


def on_this_machine(*, sternway: str, envoy: str | None, targets: str | None) -> Json:
    """For the local platform. targets: the file (or pattern) in which service discovery writes the replicas down."""
    jobs = [_sternway(sternway)]
    if envoy:
        jobs.append(
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "static_configs": [{"targets": [envoy]}],
                "metric_relabel_configs": [
                    {"source_labels": ["__name__"], "regex": _ENVOY_SERIES, "action": "keep"}  # of some 2,000
                ],
            }
        )
    if targets:
        jobs.append({"job_name": "services", "file_sd_configs": [{"files": [targets]}]})
    return {"scrape_configs": jobs}


def on_kubernetes(catalogue: Catalogue, *, sternway: str) -> Json:
    """For Kubernetes: the pods of our services that carry the usual annotations `prometheus.io/scrape`, `port`, `path`."""
    namespaces = sorted({wanted.service.namespace for wanted in catalogue.wanted})
    pods = {
        "job_name": "services",
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": namespaces}}],
        "relabel_configs": [
            {"source_labels": [_SCRAPE], "regex": "true", "action": "keep"},
            {
                "source_labels": [f"{_POD}_controller_name"],
                "regex": f"({'|'.join(_deployments(catalogue.wanted))}){_POD_OF_DEPLOYMENT}",
                "action": "keep",
            },
            {"source_labels": [_PATH], "regex": "(.+)", "target_label": "__metrics_path__"},
            {
                "source_labels": [f"{_POD}_ip", _PORT],
                "regex": r"(.+);(\d+)",
                "replacement": "$1:$2",
                "target_label": "__address__",
            },
            *_named(catalogue.wanted),
            *(
                {"source_labels": [f"{_POD}_{theirs}"], "target_label": ours}
                for theirs, ours in (("name", "pod"), ("controller_name", "workload"))
            ),
            {"source_labels": ["workload"], "regex": "(.+)-[a-z0-9]+", "target_label": "workload"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        ],
    }
    return {"scrape_configs": [_sternway(sternway), *([pods] if namespaces else [])]}


def _sternway(address: str) -> Json:
    return {"job_name": "sternway", "static_configs": [{"targets": [address]}]}


def _named(every: Iterable[Wanted]) -> list[Json]:
    """Give each replica the label of its service, so that alerts on it name the service."""
    return [
        {
            "source_labels": [f"{_POD}_controller_name"],
            "regex": f"{re.escape(deployment_of(wanted.guard, wanted.documents))}{_POD_OF_DEPLOYMENT}",
            "replacement": wanted.service.name,
            "target_label": "service",
        }
        for wanted in every
    ]


def _deployments(every: Iterable[Wanted]) -> list[str]:
    return sorted(re.escape(deployment_of(wanted.guard, wanted.documents)) for wanted in every)
