"""Alerts as a real Alertmanager tells of them when much goes wrong: a thousand at once, in the wrong order, by other clocks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from monitoring_world import Alertmanager
from test_alerts import LONG, TOKEN, listening, shop

from free_ports import free_port
from sternway.clock import SystemClock
from sternway.domain.metrics import AlertRule, MetricQuestion
from sternway.domain.releases import Phase
from sternway.domain.tallies import Question
from sternway.signals.alertmanager import Alertmanager as Source
from sternway.signals.attribution import Mesh


class Hooked:
    """A running Alertmanager, and where it posts."""

    def __init__(self, folder: Path) -> None:
        self.hook = f"127.0.0.1:{free_port()}"
        self.token_file = folder / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        self.program = Alertmanager(folder / "alertmanager", webhook=f"http://{self.hook}/v1/alerts", token=TOKEN)

    async def raised(self, *alerts: dict[str, Any]) -> None:
        """Raise alerts (or resolve them), as Prometheus would."""
        status, said = await asyncio.to_thread(self.program.post, "/api/v2/alerts", list(alerts))
        assert status == 200, said


@pytest.fixture
def alertmanager(folder: Path) -> Iterator[Hooked]:
    """Give an Alertmanager that runs."""
    made = Hooked(folder)
    made.program.start()
    yield made
    made.program.kill()


def firing(ahead_s: float = 0.0, *, over: bool = False, **labels: str) -> dict[str, Any]:
    """Write an alert as a Prometheus does whose clock is ahead; it began a minute ago by that clock."""
    now = datetime.now(UTC) + timedelta(seconds=ahead_s)
    ends = now if over else now + timedelta(minutes=5)
    times = {"startsAt": (now - timedelta(minutes=1)).isoformat(), "endsAt": ends.isoformat()}
    return {"labels": {"alertname": "OrdersRefused", **labels}, **times}


async def test_among_a_thousand_alerts_the_one_that_counts_takes_the_release_back(repository, alertmanager, started):
    """A thousand others move nothing, whether told or asked for; then the one that names the candidate is found."""
    hook = {"listen": alertmanager.hook, "tokenFile": str(alertmanager.token_file)}
    shop(repository, on_alert="rollback", strategy=LONG, webhook=hook, alertmanager=alertmanager.program.url)
    platform = await started()
    async with platform.load("shop"), listening(platform):
        repository.release("shop", "2")
        release = await platform.reaches("shop", Phase.EXPOSED)
        version = release.candidate.id
        await alertmanager.raised(*(firing(alertname=f"Other{n}", service="shop") for n in range(1000)))

        async def all_seen() -> bool:
            return len(platform.sternway.alertmanager._firing) >= 1000

        await platform.until(all_seen, "every alert has been seen")
        assert (await platform.last("shop")).phase is Phase.EXPOSED
        await alertmanager.raised(firing(version=version))
        release = await platform.over("shop")
    assert release.phase is Phase.ROLLED_BACK
    assert "the alert OrdersRefused fires" in release.reason


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0], ids=["an hour fast", "an hour slow"])
async def test_the_clock_that_dates_an_alert_does_not_matter(repository, alertmanager, started, ahead_s):
    """It begins, by our clock, while the candidate has traffic: that withdraws, whatever the alert's own date says."""
    shop(repository, on_alert="withdraw", strategy=LONG, alertmanager=alertmanager.program.url)
    platform = await started()
    async with platform.load("shop"):
        repository.release("shop", "2")
        await platform.reaches("shop", Phase.EXPOSED)
        exposed_s = platform.sternway.clock.now()

        async def asked() -> bool:
            return (platform.sternway.alertmanager._asked_s or 0.0) > exposed_s

        await platform.until(asked, "Alertmanager has been asked since, and the alert was not there")
        raised = firing(ahead_s)
        if ahead_s < 0:  # its end would be past: Alertmanager would hold it for resolved
            raised["endsAt"] = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        await alertmanager.raised(raised)
        release = await platform.reaches("shop", Phase.WITHDRAWN)
    assert "it names no version" in release.reason


class Kept:
    """A receiver that keeps what Alertmanager posts."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/alerts."""
        self.bodies.append(await request.json())
        return web.Response()

    @contextlib.asynccontextmanager
    async def served(self, address: str) -> AsyncIterator[None]:
        """Listen."""
        app = web.Application()
        app.router.add_post("/v1/alerts", self.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, *address.split(":")).start()
        yield
        await runner.cleanup()

    async def until(self, status: str) -> dict[str, Any]:
        """Wait for a webhook whose alerts all have this status."""
        async with asyncio.timeout(60):
            while not (found := [body for body in self.bodies if {a["status"] for a in body["alerts"]} == {status}]):
                await asyncio.sleep(0.05)
        return found[0]


async def test_real_webhooks_in_the_wrong_order_and_five_times_end_as_in_the_right_one(alertmanager):
    """The bodies that Alertmanager itself wrote: resolved before firing, and each five times: nothing fires in the end."""
    kept = Kept()
    async with kept.served(alertmanager.hook):
        await alertmanager.raised(firing(service="orders"))
        begun = await kept.until("firing")
        await alertmanager.raised(firing(service="orders", over=True))
        ended = await kept.until("resolved")
    orders = Mesh(services=lambda: ("orders",))
    source = Source(clock=SystemClock(), where=lambda: None, mesh=orders, listens=lambda: True)
    question = MetricQuestion(alerts=(AlertRule(match=(("alertname", "Orders*"),)),))
    source.ask("orders", Question(stable="v1", metrics=question))
    try:
        assert source.take(begun["alerts"]) == 1
        assert len((await source.read("orders")).alerts) == 1
        for body in (ended, begun, begun, ended, begun, ended, begun, ended, begun):
            source.take(body["alerts"])
            assert (await source.read("orders")).alerts == ()
        late = Source(clock=SystemClock(), where=lambda: None, mesh=orders, listens=lambda: True)
        assert [late.take(body["alerts"]) for body in (ended, begun)] == [0, 0]
    finally:
        await source.close()
