"""A rollback told to a real Alertmanager, to a web server and to a mail server, as they would be told at night."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from monitoring_world import Alertmanager
from whole_world import Platform, Repository

from sternway.control import keeper
from sternway.domain.releases import Phase, Verb

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise's
SECRET = "s3cr3tmarker"


class Inbox(BaseHTTPRequestHandler):
    """Takes messages; `server.status` is what it answers."""

    def do_POST(self):
        """Take one."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tried += 1
        if self.server.status == 200:
            self.server.messages.append(body)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def inbox() -> Iterator[ThreadingHTTPServer]:
    """Give a web server that takes messages."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    server.messages, server.tried, server.status = [], 0, 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """Give an Alertmanager that nobody else tells anything."""
    made = Alertmanager(folder / "alertmanager")
    yield made
    made.kill()


def shop(repository: Repository, **settings: object) -> None:
    """Write a service, and who is told."""
    repository.write("shop", "1")
    (repository.folder / "monitoring.yaml").write_text(yaml.safe_dump(settings))
    repository.commit()


def named(alertmanager: Alertmanager, name: str) -> dict | None:
    """Find an alert that is active."""
    return next((one for one in alertmanager.alerts() if one["labels"]["alertname"] == name), None)


async def test_a_rollback_stands_at_alertmanager_and_is_over_when_the_next_release_begins(
    repository, alertmanager, started, monkeypatch
):
    """It says what, why and what next; it survives a restart of Alertmanager; a good release ends it."""
    monkeypatch.setattr(keeper, "RESEND_S", 1.0)
    alertmanager.start()
    link = "https://sternway.example/releases/$(release)"
    shop(
        repository,
        alertmanager=alertmanager.url,
        alerts={"linkUrl": link, "labels": {"cluster": "eu-1"}},
    )
    platform = await started()

    async def stands() -> bool:
        return await asyncio.to_thread(named, alertmanager, "SternwayRolledBack") is not None

    async def over() -> bool:
        return not await stands()

    async with platform.load("shop"):
        repository.release("shop", "bad2")
        release = await platform.over("shop")
        assert release.phase is Phase.ROLLED_BACK
        await platform.until(stands, "the alert stands")
        alertmanager.kill()
        alertmanager.start()
        await platform.until(stands, "the alert stands again")
        alert = named(alertmanager, "SternwayRolledBack")
        repository.release("shop", "3")
        await platform.until(over, "the alert is over")
    assert alert["labels"] == {
        "alertname": "SternwayRolledBack",
        "cluster": "eu-1",
        "release": "shop-1",
        "service": "shop",
        "severity": "warning",
        "version": release.candidate.id,
    }
    assert alert["generatorURL"] == "https://sternway.example/releases/shop-1"
    said = alert["annotations"]
    assert said["summary"] == f"shop: {release.candidate.id} was rolled back to {release.stable.id}."
    assert release.judgement.sentence in said["description"]
    assert datetime.fromisoformat(alert["startsAt"]) < datetime.now(UTC)


async def test_an_alertmanager_that_is_down_holds_nothing_up_and_is_told_of(repository, alertmanager, started, inbox):
    """Nobody listens there: the release is taken back all the same, the status says so, and the other way out is used."""
    address = repository.folder.parent / "web.url"
    address.write_text(f"json://127.0.0.1:{inbox.server_port}/{SECRET}")
    shop(repository, alertmanager=alertmanager.url, notifications=[{"urlFile": str(address), "when": ["rolled-back"]}])
    platform = await started()

    async def told() -> bool:
        return any("rolled back" in one["title"] for one in inbox.messages)

    async def shown() -> bool:
        found = {one.about: one.message for one in (await platform.status()).troubles}
        return found.get(f"alerts to {alertmanager.url}", "").startswith("Alertmanager cannot be asked")

    async with platform.load("shop"):
        repository.release("shop", "bad2")
        assert (await platform.over("shop")).phase is Phase.ROLLED_BACK
        await platform.until(told, "people are told")
        await platform.until(shown, "the status says that Alertmanager is down")


@contextlib.asynccontextmanager
async def running(repository: Repository) -> AsyncIterator[Platform]:
    """Run a platform for a while."""
    platform = Platform(repository)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.sternway.close(stop=True)


async def test_people_are_told_once_also_over_a_restart_and_no_secret_comes_out(repository, inbox, capfd, caplog):
    """The address answers 500 at first; after a restart the message comes, once, and not again after another one."""
    caplog.set_level("DEBUG")
    inbox.status = 500
    address = repository.folder.parent / "web.url"
    address.write_text(f"json://ada:{SECRET}@127.0.0.1:{inbox.server_port}/{SECRET}?+X-Token={SECRET}")
    rules = [
        {"urlFile": str(address), "services": ["sh*"]},
        {"urlFile": str(address), "when": ["promoted", "rolled-back"]},
        {"urlFile": str(address), "when": ["promoted"], "services": ["other"]},
    ]
    shop(repository, notifications=rules, alerts={"labels": {"cluster": "eu-1"}})
    async with running(repository) as platform, platform.load("shop"):

        async def refused() -> bool:
            return any("answered 500" in one.message for one in (await platform.status()).troubles)

        repository.release("shop", "bad2")
        release = await platform.over("shop")
        await platform.until(refused, "the status says that nobody is told")
        seen = [repr(await platform.status())]
    inbox.status = 200
    async with running(repository) as platform:

        async def told() -> bool:
            return "was told of" in repr(await platform.sternway.journal.entries(kind="note"))

        await platform.until(told, "people are told")
    async with running(repository) as platform, platform.load("shop"):

        async def told_of_both() -> bool:
            return len(inbox.messages) > 1

        repository.release("shop", "3")
        assert (await platform.over("shop", after=release.name)).phase is Phase.PROMOTED
        await platform.until(told_of_both, "people are told of the promotion")
        journal = await platform.sternway.journal.entries()
        seen += [repr(await platform.status()), repr(journal)]
    rolled_back, promoted = inbox.messages
    assert rolled_back["title"] == f"shop: {release.candidate.id} was rolled back to {release.stable.id}"
    assert promoted["title"].startswith("shop: 3-")
    for words in (
        "Where: service shop, release shop-1, cluster eu-1",
        "Since: 20",
        release.judgement.sentence,
        "Next: ",
    ):
        assert words in rolled_back["message"]
    assert "web.url was told of rolled-back shop-1" in [one.text for one in journal if one.kind == "note"]
    out = capfd.readouterr()
    assert not any(SECRET in text for text in (*seen, out.out, out.err, caplog.text))


async def test_who_is_asked_is_told_at_alertmanager_and_no_alert_of_ours_judges_a_release(
    repository, alertmanager, started
):
    """A Guard that follows every alert: ours names the candidate's very version, and nothing happens to it."""
    alertmanager.start()
    rules = [{"match": {"service": "shop"}, "onAlert": "rollback"}]
    repository.write(
        "shop", "1", mode="ask", alerts=rules, strategy={"canary": {"steps": [{"percent": 20, "minRequests": 100_000}]}}
    )
    (repository.folder / "monitoring.yaml").write_text(yaml.safe_dump({"alertmanager": alertmanager.url}))
    repository.commit()
    platform = await started()

    async def asks() -> bool:
        return await asyncio.to_thread(named, alertmanager, "SternwayHeld") is not None

    async with platform.load("shop"):
        repository.release("shop", "bad2")
        await platform.reaches("shop", Phase.ASKING)
        await platform.until(asks, "the alert stands")
        alert = named(alertmanager, "SternwayHeld")
        await platform.say(Verb.ABORT, "shop")
        await platform.over("shop")
        first = await platform.last("shop")
        repository.release("shop", "3")
        release = await platform.reaches("shop", Phase.EXPOSED, after=first.name)
        ours = {"labels": {**alert["labels"], "version": release.candidate.id, "release": release.name}}
        status, said = await asyncio.to_thread(alertmanager.post, "/api/v2/alerts", [ours])
        assert status == 200, said
        seen = platform.sternway.alertmanager

        async def known() -> bool:
            return any(one.labels.get("version") == release.candidate.id for one in seen._firing.values())

        await platform.until(known, "Sternway has seen its own alert come back")
        assert (await seen.read("shop")).alerts == ()
        assert (await platform.last("shop")).phase is Phase.EXPOSED
    assert "`sternway resume shop`" in alert["annotations"]["description"]
    assert alert["labels"]["version"].startswith("bad2-")
