"""What the local platform's own Prometheus and Alertmanager are told: their configurations and the targets. Pure.

Called by `monitoring`. Both programs read YAML, and JSON is YAML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sternway.domain import monitoring
from sternway.domain.monitoring import Scrape, Webhook
from sternway.domain.releases import Progress
from sternway.domain.traffic import Endpoint
from sternway.domain.versions import Version

EVERY = "1s"
KEEP_FOR = "1d"
KEEP_SIZE = "256MB"

Json = dict[str, Any]


def prometheus_command(program: str, folder: Path, port: int) -> tuple[str, ...]:
    """Without the lifecycle API: a page in a browser could end it."""
    return (
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--storage.tsdb.retention.time={KEEP_FOR}",
        f"--storage.tsdb.retention.size={KEEP_SIZE}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    )


def alertmanager_command(program: str, folder: Path, port: int) -> tuple[str, ...]:
    """Alone: it gossips with nobody."""
    return (
        program,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        "--data.retention=24h",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )


def prometheus_config(
    *,
    targets: Path,
    rules: Sequence[Path],
    envoy: str | None,
    metrics: str | None,
    alertmanager: monitoring.Endpoint | None,
) -> Json:
    """Make Prometheus's configuration. envoy, metrics: where Envoy's and Sternway's own figures are, `HOST:PORT`."""
    jobs: list[Json] = []
    if envoy:
        # What was never used is left out: a fresh Envoy has ten times as many figures as it has used.
        jobs.append(_job("envoy", envoy) | {"metrics_path": "/stats/prometheus", "params": {"usedonly": [""]}})
    if metrics:
        jobs.append(_job("sternway", metrics))
    # A label that a service sets by itself stays as it is.
    services = {"job_name": "services", "honor_labels": True, "file_sd_configs": [{"files": [str(targets)]}]}
    config: Json = {
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [*jobs, services],
    }
    if alertmanager is not None:
        config["alerting"] = {"alertmanagers": [_told(alertmanager)]}
    return config


def alertmanager_config(webhook: Webhook) -> Json:
    """Make Alertmanager's configuration: everything goes to Sternway, at once."""
    host, _, port = webhook.listen.rpartition(":")
    host = "127.0.0.1" if host.strip("[]") in ("", "0.0.0.0", "::") else host  # noqa: S104  where it listens is asked
    hook = {
        "url": f"http://{host}:{port}/v1/alerts",
        "send_resolved": True,
        "http_config": {"authorization": {"credentials_file": webhook.token_file}},
    }
    route = {
        "receiver": "sternway",
        "group_by": ["..."],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    return {"route": route, "receivers": [{"name": "sternway", "webhook_configs": [hook]}]}


def targets(
    scrapes: Iterable[Scrape], places: Mapping[str, Progress], endpoints: Mapping[str, Sequence[Endpoint]]
) -> list[Json]:
    """List the replicas to scrape. endpoints: those that take traffic, by their workload's id."""
    return [
        {
            "targets": [f"{endpoint.address}:{endpoint.port}"],
            "labels": {
                "__metrics_path__": scrape.path,
                "service": scrape.service,
                "version": version.id,
                "tag": version.workload.tag,
                "role": role,
                "pod": endpoint.replica,
            },
        }
        for scrape in scrapes
        for version, role in _roles(places[scrape.service])
        for endpoint in endpoints.get(version.workload.id, ())
    ]


def _roles(progress: Progress) -> Iterator[tuple[Version, str]]:
    """Name each version that runs, once: of two that share their replicas, the first one has them."""
    found: list[tuple[Version, str]] = []
    release = progress.release
    if release is not None and not release.phase.over:
        found = [(release.stable, "stable"), (release.candidate, "candidate")]
    elif progress.stable is not None:
        found = [(progress.stable, "stable")]
    found += [(retired.version, "leaving") for retired in progress.retired]
    seen: set[str] = set()
    for version, role in found:
        if version.workload.id not in seen:
            seen.add(version.workload.id)
            yield version, role


def _job(name: str, address: str) -> Json:
    return {"job_name": name, "static_configs": [{"targets": [address]}]}


def _told(alertmanager: monitoring.Endpoint) -> Json:
    """Say in Prometheus's words where an Alertmanager is, and how one gets in."""
    url = urlsplit(alertmanager.url)
    found: Json = {"scheme": url.scheme, "static_configs": [{"targets": [url.netloc]}]}
    if url.path.strip("/"):
        found["path_prefix"] = url.path.rstrip("/")
    if alertmanager.token_file:
        found["authorization"] = {"credentials_file": alertmanager.token_file}
    elif alertmanager.username:
        found["basic_auth"] = {"username": alertmanager.username, "password_file": alertmanager.password_file}
    if url.scheme == "https":
        tls = {
            "ca_file": alertmanager.ca_file,
            "cert_file": alertmanager.cert_file,
            "key_file": alertmanager.key_file or alertmanager.cert_file,
        }
        found["tls_config"] = {name: file for name, file in tls.items() if file}
        found["tls_config"]["insecure_skip_verify"] = alertmanager.insecure
    return found
