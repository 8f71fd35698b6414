"""Metrics of a real Prometheus as criteria of releases: what no HTTP status shows takes a release back."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from monitoring_world import Faulty, Prometheus, blind, exposed_and_measured, scraping, sighted
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
        release = await platform.over("shop")
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
        release = await platform.over("shop")
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
        release = await platform.over("shop")
    assert release.phase is Phase.PROMOTED
    seen = {one.name: one for one in release.judgement.criteria}["orders-refused"]
    assert seen.candidate_total > 0
    assert release.evidence.measured.checked[0].measured > 0


LONG = {"canary": {"steps": [{"percent": 50, "minRequests": 100_000}]}}


async def test_prometheus_killed_and_back_with_an_empty_database_blinds_and_does_not_fail(
    repository, prometheus, started
):
    """Gone, it makes the release blind and the split holds; back without its past, it is counted on, and nothing twice."""
    repository.write("shop", "1", metrics=[REFUSED, WAITING], strategy=LONG)
    watch(repository, prometheus)
    repository.commit()
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "2")
        await exposed_and_measured(platform, "shop")
        prometheus.kill()
        await blind(platform, "shop", "Prometheus cannot be asked")
        release = await platform.last("shop")
        assert (release.phase, release.percent) == (Phase.EXPOSED, 50.0)
        prometheus.forget()
        prometheus.start()
        await sighted(platform, "shop")
        await exposed_and_measured(platform, "shop", more=20)
        release = await platform.last("shop")
    counts = release.evidence.measured.ratios[0].release
    assert counts.candidate_total <= sum(many for line, many in repository.counted().items() if line.startswith("2 "))
    assert counts.candidate_bad == counts.stable_bad == 0
    assert release.withdrawals == 0


@pytest.mark.parametrize(("fault", "why"), [(500, "answered 500"), ("slow", "did not answer within 2 s")])
async def test_a_prometheus_that_fails_or_hangs_blinds_and_harm_in_the_log_still_counts(
    repository, prometheus, started, fault, why
):
    """500, or no answer for a minute: blind, not bad. A version that fails its callers loses its traffic all the same."""
    proxy = Faulty(prometheus.url)
    await proxy.start()
    repository.write("shop", "1", metrics=[REFUSED], strategy=LONG)
    (repository.folder / "monitoring.yaml").write_text(
        yaml.safe_dump({"prometheus": {"url": proxy.url, "timeout": "2s"}})
    )
    repository.commit()
    platform = await started()
    try:
        async with scraping(prometheus, platform, "shop"), platform.load("shop"):
            repository.release("shop", "2")
            await exposed_and_measured(platform, "shop")
            proxy.fault = fault
            await blind(platform, "shop", why)
            release = await platform.last("shop")
            assert (release.phase, release.withdrawals) == (Phase.EXPOSED, 0)
            repository.release("shop", "bad3")
            gone = (Phase.WITHDRAWN, Phase.ROLLING_BACK, Phase.ROLLED_BACK)
            await platform.reaches("shop", *gone, after=release.name)
            proxy.fault = None  # a withdrawn candidate is not tried again in the dark
            bad = await platform.over("shop", after=release.name)
            assert bad.phase is Phase.ROLLED_BACK
            assert bad.judgement.criterion == "errors"
    finally:
        await proxy.close()


async def test_a_metric_that_is_nowhere_keeps_the_release_from_going_on(repository, prometheus, started):
    """A label that never matches: nothing is seen of it, so no step is passed, and the reason says which query."""
    lost = {**REFUSED, "ratio": {"bad": 'refused{v="$(version)"}', "total": 'orders{v="$(version)"}'}}
    repository.write("shop", "1", metrics=[lost])
    watch(repository, prometheus)
    repository.commit()
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "2")
        await blind(platform, "shop", "no series for 2-")

        async def served() -> bool:
            return (await platform.last("shop")).step_requests > 100

        await platform.until(served, "the candidate has answered four times what the step needs")
        release = await platform.last("shop")
    assert (release.phase, release.index) == (Phase.EXPOSED, 0)
    assert 'orders{v="2-' in release.blind_to


def test_check_runs_every_query_and_shows_what_comes_of_it(repository, prometheus, shell):
    """Counters are counted, a value is shown, a query with many series is a problem; nobody there is only noted."""
    prometheus.scrape({f"127.0.0.1:{prometheus.port}"})
    shell.until(lambda: prometheus.value("prometheus_http_requests_total"), "it scrapes itself")
    counted = {"bad": 'nothing_total{v="$(tag)"}', "total": 'prometheus_http_requests_total{job=~"services|$(tag)"}'}
    metrics = [
        {**REFUSED, "ratio": counted},
        {"name": "up", "query": "sum(up)", "threshold": {"min": 1}},
    ]
    repository.write("shop", "1", metrics=metrics)
    found = shell.read("check", ".", "--prometheus", prometheus.url)
    tried = {one["query"]: one["found"] for one in found["metrics"]}
    assert tried["sum(up)"] == "1"
    assert tried['nothing_total{v="1"}'] == "no series yet"
    assert " series, " in tried['prometheus_http_requests_total{job=~"services|1"}']
    assert "harm is also up below 1 at once, looked at every 5s" in " ".join(found["explanation"])

    metrics[1]["query"] = "prometheus_http_requests_total"
    repository.write("shop", "1", metrics=metrics)
    done = shell.sternway("check", ".", "--prometheus", prometheus.url)
    assert done.returncode == 1
    assert "series instead of one: aggregate them" in done.stdout
    prometheus.kill()
    done = shell.sternway("check", ".", "--prometheus", prometheus.url)
    assert done.returncode == 0
    assert "the metrics were not tried: Prometheus cannot be asked" in done.stdout


async def test_a_gauge_beside_stables_takes_the_release_back(repository, prometheus, started):
    """Ten times as many orders wait as at the old version, at the same moment: reading after reading, until it is sure."""
    compared = {
        "name": "orders-waiting",
        "interval": "500ms",
        "query": 'avg(orders_waiting{version="$(tag)"})',
        "compare": {"worse": "higher", "worseThan": "50%"},
    }
    repository.write("shop", "1", metrics=[compared], strategy=LONG)
    watch(repository, prometheus)
    repository.commit()
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "deep2")
        release = await platform.over("shop")
    assert release.phase is Phase.ROLLED_BACK
    assert release.judgement.criterion == "orders-waiting"
    assert "was above that of" in release.reason


async def test_a_counter_that_is_reset_counts_on(repository, prometheus, started):
    """Both versions' processes are killed: their counters begin at 0 again, and no order is counted twice or as refused."""
    repository.write("shop", "1", metrics=[REFUSED], strategy=LONG)
    watch(repository, prometheus)
    repository.commit()
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "2")
        await exposed_and_measured(platform, "shop", more=50)
        before = (await platform.last("shop")).evidence.measured.ratios[0].release
        for state in await platform.sternway.platform.describe("shop"):
            for replica in state.replicas:
                psutil.Process(replica.pid).kill()

        async def counted_on() -> bool:
            now = (await platform.last("shop")).evidence.measured.ratios[0].release
            return now.candidate_total > before.candidate_total + 20 and now.stable_total > before.stable_total + 20

        await platform.until(counted_on, "both are counted again")
        counts = (await platform.last("shop")).evidence.measured.ratios[0].release
    served = repository.counted()
    for total, tag in ((counts.candidate_total, "2 "), (counts.stable_total, "1 ")):
        assert total <= sum(many for line, many in served.items() if line.startswith(tag))
    assert counts.candidate_bad == counts.stable_bad == 0
