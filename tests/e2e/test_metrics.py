"""Metrics of a real Prometheus as criteria of releases: what no HTTP status shows takes a release back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from monitoring_world import Prometheus, scraping
from whole_world import Repository

from sternway.domain.releases import Phase

REFUSED = {
    "name": "orders-refused",
    "interval": "500ms",
    "ratio": {"bad": 'orders_refused_total{version="$(tag)"}', "total": 'orders_total{version="$(tag)"}'},
}
WAITING = {
    "name": "orders-waiting",
    "interval": "500ms",
    "query": 'avg(orders_waiting{version="$(tag)"})',
    "threshold": {"max": 20},
}
STEPS = {"canary": {"steps": [{"percent": 20, "minRequests": 300}, {"percent": 50, "minRequests": 100}]}}


@pytest.fixture
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Give a running Prometheus."""
    made = Prometheus(folder / "prometheus")
    made.start()
    yield made
    made.kill()


def watch(repository: Repository, prometheus: Prometheus, **more: object) -> None:
    """Tell the platform where Prometheus is."""
    said = {"prometheus": {"url": prometheus.url, "timeout": "2s", **more}}
    (repository.folder / "monitoring.yaml").write_text(yaml.safe_dump(said))


async def test_orders_turned_down_with_200_take_the_release_back(repository, prometheus, started):
    """A ratio of two counters: every answer is 200, the candidate refuses every order, and it is condemned for that."""
    repository.write("shop", "1", metrics=[REFUSED], strategy=STEPS)
    watch(repository, prometheus)
    repository.commit()
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "poor2")
        release = await platform.over("shop", within_s=90)
    assert release.phase is Phase.ROLLED_BACK
    assert release.judgement.criterion == "orders-refused"
    assert "orders-refused: " in release.reason
    assert repository.image("shop") == "app:1"
    assert (await platform.replayed(release.name)).mismatches == ()


async def test_a_threshold_takes_the_release_back(repository, prometheus, started):
    """A gauge above its limit: one measurement fails, which is more than failureLimit 0 allows."""
    repository.write("shop", "1", metrics=[WAITING], strategy=STEPS)
    watch(repository, prometheus)
    repository.commit()
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "deep2")
        release = await platform.over("shop", within_s=90)
    assert release.phase is Phase.ROLLED_BACK
    assert "orders-waiting" in release.reason
    assert "must be at most 20" in release.reason


async def test_a_healthy_release_is_promoted_with_its_metrics_seen(repository, prometheus, started):
    """Nothing speaks against it: it goes all the way, and every metric was seen."""
    repository.write("shop", "1", metrics=[REFUSED, WAITING], strategy=STEPS)
    watch(repository, prometheus)
    repository.commit()
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "2")
        release = await platform.over("shop", within_s=90)
    assert release.phase is Phase.PROMOTED
    seen = {one.name: one for one in release.judgement.criteria}["orders-refused"]
    assert seen.candidate_total > 0
    assert release.evidence.measured.checked[0].measured > 0
