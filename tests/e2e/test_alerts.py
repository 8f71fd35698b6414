"""Alerts of a real Alertmanager, raised by a real Prometheus: what only they see takes a release back, in any phase."""

import asyncio
import contextlib
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from monitoring_world import Alertmanager, Prometheus, scraping
from whole_world import Repository

from free_ports import free_port
from sternway.domain.releases import Phase
from sternway.web.listeners import Listeners
from sternway.web.webhook import AlertWebhook

TOKEN = "a-token-for-the-webhook"
NAMED = {
    "alert": "OrdersRefused",
    "expr": "sum by (version) (rate(orders_refused_total[2s])) > 0",
    "labels": {"service": "shop"},
}
UNNAMED = {**NAMED, "expr": "sum(rate(orders_refused_total[2s])) > 0"}
LONG = {"canary": {"steps": [{"percent": 50, "minRequests": 100_000}]}}
AT_ALL = {"canary": {"steps": [{"percent": 50, "minRequests": 1}]}}


class Monitoring:
    """A Prometheus with one rule, and the Alertmanager that it tells."""

    def __init__(self, folder: Path) -> None:
        self.hook = f"127.0.0.1:{free_port()}"
        self.token_file = folder / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        self._folder = folder
        self.alertmanager = Alertmanager(folder / "alertmanager", webhook=f"http://{self.hook}/v1/alerts", token=TOKEN)
        self.prometheus: Prometheus | None = None

    def start(self, rule: dict[str, object]) -> None:
        """Start both."""
        rules = {"groups": [{"name": "shop", "rules": [rule]}]}
        self.prometheus = Prometheus(self._folder / "prometheus", rules=rules, alertmanager=self.alertmanager.url)
        self.alertmanager.start()
        self.prometheus.start()

    def stop(self) -> None:
        """Stop both."""
        self.alertmanager.kill()
        if self.prometheus is not None:
            self.prometheus.kill()


@pytest.fixture
def monitoring(folder: Path) -> Iterator[Monitoring]:
    """Give the monitoring; the test starts it with its rule."""
    made = Monitoring(folder)
    yield made
    made.stop()


def shop(repository: Repository, *, on_alert: str, strategy: dict[str, object], **settings: object) -> None:
    """Write a service whose Guard follows the alert."""
    rules = [{"match": {"alertname": "Orders*"}, "onAlert": on_alert}]
    repository.write("shop", "1", alerts=rules, strategy=strategy, bake={"for": "60s", "control": 20})
    (repository.folder / "monitoring.yaml").write_text(yaml.safe_dump(settings))
    repository.commit()


@contextlib.asynccontextmanager
async def listening(platform) -> AsyncIterator[None]:
    """Listen for webhooks as `sternway up` does."""
    webhook = AlertWebhook(platform.sternway.alertmanager, where=platform.sternway.webhook)
    task = asyncio.create_task(Listeners((webhook,)).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def post(url: str, body: object, token: str = TOKEN) -> int:
    """Post to the webhook."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status


async def test_an_alert_that_names_the_candidate_takes_it_back_while_it_bakes(repository, monitoring, started):
    """The alert carries the candidate's version: one is enough, in the bake too, and the API is asked for it."""
    monitoring.start(NAMED)
    shop(repository, on_alert="rollback", strategy=AT_ALL, alertmanager=monitoring.alertmanager.url)
    platform = await started()
    async with scraping(monitoring.prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "poor2")
        release = await platform.over("shop")
    assert release.phase is Phase.ROLLED_BACK
    assert "the alert OrdersRefused fires" in release.reason
    assert (await platform.replayed(release.name)).mismatches == ()


async def test_an_alert_without_a_name_withdraws_first_and_takes_back_when_it_comes_again(
    repository, monitoring, started
):
    """It began while the candidate had traffic: that withdraws. It fell silent and began again: that condemns."""
    monitoring.start(UNNAMED)
    shop(repository, on_alert="rollback", strategy=LONG, alertmanager=monitoring.alertmanager.url)
    platform = await started()
    async with scraping(monitoring.prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "poor2")
        withdrawn = await platform.reaches("shop", Phase.WITHDRAWN)
        release = await platform.over("shop")
    assert "it names no version" in withdrawn.reason
    assert release.phase is Phase.ROLLED_BACK
    assert "in 2 exposures" in release.reason


async def test_a_silenced_alert_does_not_count(repository, monitoring, started):
    """Somebody knows of it: the alert is there, and the release goes on."""
    monitoring.start(NAMED)
    monitoring.alertmanager.silence(alertname="OrdersRefused")
    shop(repository, on_alert="rollback", strategy=LONG, alertmanager=monitoring.alertmanager.url)
    platform = await started()
    async with scraping(monitoring.prometheus, platform, "shop"), platform.load("shop"):
        repository.release("shop", "poor2")
        await platform.reaches("shop", Phase.EXPOSED)

        async def suppressed() -> bool:
            found = await asyncio.to_thread(monitoring.alertmanager.alerts)
            return any(alert["status"]["state"] == "suppressed" for alert in found)

        await platform.until(suppressed, "Alertmanager has the alert, silenced")
        asked_s = platform.sternway.alertmanager._asked_s

        async def asked_again() -> bool:
            return platform.sternway.alertmanager._asked_s > asked_s

        await platform.until(asked_again, "Sternway has asked since")
        assert (await platform.last("shop")).phase is Phase.EXPOSED


async def test_a_webhook_alone_is_enough_and_may_come_five_times(repository, monitoring, started):
    """No API to ask: Alertmanager's own webhook takes the release back; each repetition is nothing new."""
    monitoring.start(NAMED)
    hook = {"listen": monitoring.hook, "tokenFile": str(monitoring.token_file)}
    shop(repository, on_alert="rollback", strategy=LONG, webhook=hook)
    platform = await started()
    seen = []
    take = platform.sternway.alertmanager.take
    platform.sternway.alertmanager.take = lambda alerts: seen.append(alerts) or take(alerts)
    url = f"http://{monitoring.hook}/v1/alerts"
    async with scraping(monitoring.prometheus, platform, "shop"), platform.load("shop"), listening(platform):
        repository.release("shop", "poor2")
        release = await platform.over("shop")
        assert release.phase is Phase.ROLLED_BACK
        assert "the alert OrdersRefused fires" in release.reason
        for _ in range(5):
            assert await post(url, {"alerts": seen[0]}) == 200
    assert all(take(seen[0]) == 0 for _ in range(5))


async def test_who_has_no_token_moves_nothing(repository, monitoring, started):
    """A wrong token is refused with 401 before the alert is read; a broken body with 400."""
    hook = {"listen": monitoring.hook, "tokenFile": str(monitoring.token_file)}
    shop(repository, on_alert="rollback", strategy=LONG, webhook=hook)
    platform = await started()
    url = f"http://{monitoring.hook}/v1/alerts"
    alert = {
        "status": "firing",
        "labels": {"alertname": "OrdersRefused", "version": "2"},
        "startsAt": "2030-01-01T00:00:00Z",
    }
    async with platform.load("shop"), listening(platform):
        repository.release("shop", "2")
        await platform.reaches("shop", Phase.EXPOSED)

        async def refused() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                return await post(url, {"alerts": [alert]}, token="guessed") == 401
            return False

        await platform.until(refused, "the webhook is there and refuses")
        assert await post(url, {"alerts": "none"}) == 400
        assert (await platform.sternway.alertmanager.read("shop")).alerts == ()
        assert await post(url, {"alerts": [alert]}) == 200
        assert (await platform.over("shop")).phase is Phase.ROLLED_BACK


def test_sternway_up_listens_for_webhooks_and_shows_what_is_in_the_way(repository, monitoring, shell):
    """The command serves the webhook alone on its port; a port that is taken is told in the status, and taken up later."""
    host, _, port = monitoring.hook.rpartition(":")
    taken = socket.socket()
    taken.bind((host, int(port)))
    taken.listen()
    shop(
        repository,
        on_alert="hold",
        strategy=LONG,
        webhook={"listen": monitoring.hook, "tokenFile": str(monitoring.token_file)},
    )
    shell.up()
    shell.until(lambda: "cannot be listened on" in str(shell.status()), "the status tells of the port")
    taken.close()

    def answers(path: str, token: str) -> int:
        request = urllib.request.Request(
            f"http://{monitoring.hook}{path}", b'{"alerts": []}', {"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    shell.until(lambda: answers("/v1/alerts", TOKEN) == 200, "the webhook answers")
    assert answers("/v1/alerts", "guessed") == 401
    assert answers("/v1/status", TOKEN) == 404
    assert answers("/v1/stop", TOKEN) == 404
    shell.until(lambda: "cannot be listened on" not in str(shell.status()), "the trouble is over")
