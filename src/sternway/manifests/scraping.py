"""The annotations that have Prometheus scrape a pod -> what is scraped. Called by `sternway.manifests.assemble`."""

from __future__ import annotations

from sternway.domain.monitoring import Scrape
from sternway.domain.releases import Wanted
from sternway.manifests.pairing import Pair
from sternway.manifests.report import Report
from sternway.manifests.yamltext import Path

_AT: Path = ("spec", "template", "metadata", "annotations")
_SCRAPE, _PORT, _PATH, _SCHEME = (f"prometheus.io/{name}" for name in ("scrape", "port", "path", "scheme"))


def scrape(pair: Pair, wanted: Wanted, report: Report) -> Scrape | None:
    """Whether a service's replicas are scraped, and where. What cannot be done on this machine is a notice."""
    stated = pair.deployment.spec.template.metadata.annotations
    if stated.get(_SCRAPE, "").lower() != "true":
        return None
    port = wanted.version.workload.port
    if port is None or stated.get(_PORT, str(port)) != str(port):
        said = f"{wanted.service.name} is not scraped: a replica has one port here, {port or 'none'}"
        report.note(pair.document, said, (*_AT, _PORT))
        return None
    if stated.get(_SCHEME, "http") != "http":
        report.note(pair.document, f"{wanted.service.name} is not scraped: only HTTP is spoken here", (*_AT, _SCHEME))
        return None
    return Scrape(service=wanted.service.name, path="/" + stated.get(_PATH, "/metrics").lstrip("/"))
