"""What goes wrong with monitoring, on the real Prometheus: targets gone, labels that collide, another clock, many series, TLS."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from monitoring_world import Faulty, Prometheus, blind, exposed_and_measured, scraping, sighted
from whole_world import Repository

from free_ports import free_port
from sternway.clock import SystemClock
from sternway.domain.metrics import MetricAsk, MetricQuestion, Unseen
from sternway.domain.monitoring import Endpoint
from sternway.domain.releases import Phase
from sternway.domain.tallies import Question
from sternway.signals.prometheus import Prometheus as Source

LONG = {"canary": {"steps": [{"percent": 50, "minRequests": 100_000}]}}


def refused(label: str = "$(tag)") -> dict[str, object]:
    """Give the share of refused orders, by a label of the versions."""
    chosen = f'{{version="{label}"}}'
    ratio = {"bad": f"orders_refused_total{chosen}", "total": f"orders_total{chosen}"}
    return {"name": "orders-refused", "interval": "500ms", "ratio": ratio}


@pytest.fixture
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Give a Prometheus that has not been started."""
    made = Prometheus(folder / "prometheus")
    yield made
    made.kill()


def watched(repository: Repository, url: str) -> None:
    """Write a service that Prometheus judges too, and commit it."""
    repository.write("shop", "1", metrics=[refused()], strategy=LONG)
    (repository.folder / "monitoring.yaml").write_text(yaml.safe_dump({"prometheus": {"url": url, "timeout": "5s"}}))
    repository.commit()


async def test_targets_that_are_down_blind_and_do_not_fail(repository, prometheus, started):
    """Prometheus answers and has nothing new of anybody: blind, the split holds; when they are back, it is counted on."""
    prometheus.start()
    watched(repository, prometheus.url)
    platform = await started()
    async with platform.load("shop"):
        async with scraping(prometheus, platform, "shop"):
            repository.release("shop", "2")
            await exposed_and_measured(platform, "shop")
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens: every scrape is refused
            prometheus.scrape({f"127.0.0.1:{nobody.getsockname()[1]}"})
            await blind(platform, "shop", "")
            release = await platform.last("shop")
            assert (release.phase, release.percent, release.withdrawals) == (Phase.EXPOSED, 50.0, 0)
        async with scraping(prometheus, platform, "shop"):
            await sighted(platform, "shop")
            await exposed_and_measured(platform, "shop", more=20)
        counts = (await platform.last("shop")).evidence.measured.ratios[0].release
    assert counts.candidate_bad == counts.stable_bad == 0


async def test_a_label_of_the_target_hides_that_of_the_service_and_blinds(repository, prometheus, started):
    """Prometheus keeps its own `version` and renames the service's: no series is found, and no step is passed."""
    prometheus.labels = {"version": "prod"}
    prometheus.start()
    watched(repository, prometheus.url)
    platform = await started()
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "2")

        async def renamed() -> bool:
            query = 'sum(orders_total{exported_version="2",version="prod"})'
            return bool(await asyncio.to_thread(prometheus.value, query))

        await platform.until(renamed, "Prometheus has the candidate's orders, under another name")
        await blind(platform, "shop", 'orders_total{version="')
        release = await platform.last("shop")
    assert (release.phase, release.index, release.withdrawals) == (Phase.EXPOSED, 0, 0)


async def test_two_versions_of_one_tag_collide_and_blind(repository, prometheus, started):
    """Only a setting differs, so `$(tag)` is the same for both: nothing is compared with itself and called healthy."""
    prometheus.start()
    watched(repository, prometheus.url)
    platform = await started()
    path = repository.folder / "shop.yaml"
    async with scraping(prometheus, platform, "shop"), platform.load("shop"):
        deployment, guard = yaml.safe_load_all(path.read_text())
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "LIMIT", "value": "7"}]
        path.write_text(yaml.safe_dump_all([deployment, guard]))
        repository.commit("Another limit")
        await blind(platform, "shop", "the queries are the same for both versions")
        release = await platform.last("shop")
    assert (release.phase, release.index) == (Phase.EXPOSED, 0)


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0], ids=["an hour fast", "an hour slow"])
async def test_the_clock_of_prometheus_does_not_matter(repository, prometheus, started, ahead_s):
    """Its clock is an hour off: orders are counted, nothing is called old, and a bad version is taken back by them."""
    prometheus.start()
    skewed = Faulty(prometheus.url, ahead_s=ahead_s)
    await skewed.start()
    watched(repository, skewed.url)
    platform = await started()
    try:
        async with scraping(prometheus, platform, "shop"), platform.load("shop"):
            repository.release("shop", "poor2")
            release = await platform.over("shop")
    finally:
        await skewed.close()
    assert release.phase is Phase.ROLLED_BACK
    assert release.judgement.criterion == "orders-refused"
    assert (await platform.replayed(release.name)).mismatches == ()


MANY = 3_400
"""Times three: orders of each version, and refused ones of the second."""


class ManySeries:
    """A service with so many series of each kind; each scrape finds two more orders in each, and one refused."""

    def __init__(self) -> None:
        self._scraped = 0

    async def answer(self, _: web.Request) -> web.Response:
        """GET /metrics."""
        self._scraped += 1
        shown = (("orders", "1", 2), ("orders", "2", 2), ("orders_refused", "2", 1))
        lines = [
            f'{name}_total{{version="{version}",customer="{n}"}} {each * self._scraped}'
            for name, version, each in shown
            for n in range(MANY)
        ]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve it; gives the address."""
        app = web.Application()
        app.router.add_get("/metrics", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"127.0.0.1:{port}"
        await runner.cleanup()


def both(url: str, **more: object) -> tuple[Source, Question]:
    """Give a source, and the question for both versions' orders."""
    source = Source(clock=SystemClock(), where=lambda: Endpoint(url=url, timeout_s=60.0, **more))
    queries = {
        role: (f'orders_refused_total{{version="{tag}"}}', f'orders_total{{version="{tag}"}}')
        for role, tag in (("stable", "1"), ("candidate", "2"))
    }
    asked = MetricAsk(name="refused", kind="ratio", interval_s=2.0, **queries)
    metrics = MetricQuestion(stable="v1", candidate="v2", asks=(asked,))
    return source, Question(stable="v1", candidate="v2", metrics=metrics)


class Counts:
    """What has been counted of each version."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.total = Counter[str]()
        self.bad = Counter[str]()
        self._unseen: tuple[Unseen, ...] = ()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read on until it is so."""
        try:
            async with asyncio.timeout(200):
                while not condition():
                    reading = await self._source.read("shop")
                    self._unseen = reading.unseen
                    for tally in reading.tallies:
                        self.total[tally.version] += tally.total
                        self.bad[tally.version] += tally.bad
                    await asyncio.sleep(0.05)
        except TimeoutError:
            msg = f"total {self.total}, bad {self.bad}, unseen {self._unseen}"
            raise AssertionError(msg) from None


async def test_ten_thousand_series_of_a_real_prometheus_are_one_count(prometheus):
    """Each grows with each scrape: whole scrapes are counted, and not a single series is missed or counted twice."""
    await asyncio.to_thread(prometheus.start)
    service = ManySeries()
    async with service.served() as address:
        source, question = both(prometheus.url)
        source.ask("shop", question)
        counts = Counts(source)
        async with asyncio.timeout(60):
            while not any("no series" in one.why for one in (await source.read("shop")).unseen):
                await asyncio.sleep(0.05)
        prometheus.scrape({address})  # only now: what was there before anybody asked is counted of neither
        await counts.until(lambda: min(counts.total["v1"], counts.total["v2"]) >= 6 * MANY)
        # a scrape that is stored between two queries is seen by the second one alone, and made up for in the next round
        await counts.until(lambda: counts.total["v1"] == counts.total["v2"] == 2 * counts.bad["v2"])
        await source.close()
    assert counts.bad["v1"] == 0
    assert counts.bad["v2"] % MANY == 0
