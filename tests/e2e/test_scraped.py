"""Sternway's own metrics, scraped by a real Prometheus: through the real command, over a restart, in what monitoring.yaml says."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from monitoring_world import Prometheus
from whole_world import Repository, Shell

from free_ports import free_port


@pytest.fixture
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Give a running Prometheus."""
    made = Prometheus(folder / "prometheus")
    made.start()
    yield made
    made.kill()


def reads(prometheus: Prometheus, query: str, value: float, *, within_s: float = 60) -> None:
    """Wait until Prometheus answers a query with this value."""
    deadline = time.monotonic() + within_s
    while (found := prometheus.value(query)) != value:
        targets = json.loads(prometheus.get("/api/v1/targets") or b"{}")
        assert time.monotonic() < deadline, f"{query} is {found}, not {value}: {json.dumps(targets, indent=1)}"
        time.sleep(0.1)


def test_prometheus_scrapes_a_rollback_and_a_restart_takes_nothing_back(
    repository: Repository, shell: Shell, prometheus: Prometheus
):
    """A version that cannot run is rolled back; the totals are the same after a restart, and the report knows them."""
    address = f"127.0.0.1:{free_port()}"
    prometheus.scrape({address})
    repository.write("shop", "1")
    repository.commit()
    shell.up(".", "--metrics", address)
    reads(prometheus, 'sternway_releases_total{service="shop", outcome="rolled-back", by="engine"}', 0)
    reads(prometheus, 'sternway_release_phase{service="shop", phase="none"}', 1)
    repository.release("shop", "exit2")
    rolled_back = 'sternway_releases_total{service="shop", outcome="rolled-back", by="engine"}'
    reads(prometheus, rolled_back, 1, within_s=120)
    first = json.loads(prometheus.get("/api/v1/targets") or b"{}")["data"]["activeTargets"][0]
    assert (first["health"], first["lastError"]) == ("up", "")
    shell.ok("down")
    assert shell.read("report")["total"]["rolled_back"] == 1
    reads(prometheus, "up", 0)
    shell.up(".", "--metrics", address)
    reads(prometheus, "up", 1)
    reads(prometheus, rolled_back, 1)
    assert prometheus.value(f"resets({rolled_back}[10m])") == 0


def test_metrics_are_served_where_monitoring_yaml_says(repository: Repository, shell: Shell, prometheus: Prometheus):
    """A commit opens the port, and another one closes it; without either none is open."""
    address = f"127.0.0.1:{free_port()}"
    prometheus.scrape({address})
    repository.write("shop", "1")
    repository.commit()
    shell.up()
    reads(prometheus, "up", 0)
    place = repository.folder / "monitoring.yaml"
    place.write_text(yaml.safe_dump({"metrics": {"listen": address}}))
    repository.commit("Serve metrics")
    reads(prometheus, "up", 1)
    reads(prometheus, 'sternway_trouble{service="shop"}', 0)
    place.unlink()
    repository.commit("Serve none")
    reads(prometheus, "up", 0)
