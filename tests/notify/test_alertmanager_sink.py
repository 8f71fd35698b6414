"""Alerts as they go to Alertmanager: what is posted, in what portions, and what is said when it is not taken."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import StandingAlert
from sternway.errors import SignalUnavailable
from sternway.notify.alertmanager import AlertmanagerSink

SECRET = "s3cr3tmarker"
ALERT = StandingAlert(
    labels=(("alertname", "SternwayHeld"), ("service", "orders")),
    annotations=(("summary", "orders: it waits"),),
    starts_s=1_700_000_000.25,
    ends_s=1_700_000_240.0,
    link="https://a.example/orders",
)


class Api:
    """An Alertmanager that keeps what it gets."""

    def __init__(self):
        self.taken: list[list[dict]] = []
        self.tokens: list[str] = []
        self.status = 200
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """POST /api/v2/alerts."""
        self.tokens.append(request.headers.get("Authorization", ""))
        self.taken.append(await request.json())
        return web.Response(status=self.status, text="bad label", content_type="application/json")


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Give one that listens."""
    made = Api()
    app = web.Application()
    app.router.add_post("/api/v2/alerts", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def sink() -> AsyncIterator[AlertmanagerSink]:
    """Give what posts."""
    made = AlertmanagerSink()
    yield made
    await made.close()


async def test_an_alert_is_posted_in_the_form_of_the_api(api, sink, tmp_path: Path):
    """Times with a zone, the link as generatorURL, none where there is none; logged in with the token of a file."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    await sink.post(Endpoint(url=api.url, token_file=str(token)), [ALERT, replace(ALERT, link="", starts_s=2e9)])
    first, second = api.taken[0]
    assert first == {
        "labels": {"alertname": "SternwayHeld", "service": "orders"},
        "annotations": {"summary": "orders: it waits"},
        "startsAt": "2023-11-14T22:13:20.250Z",
        "endsAt": "2023-11-14T22:17:20.000Z",
        "generatorURL": "https://a.example/orders",
    }
    assert "generatorURL" not in second
    assert second["startsAt"] == second["endsAt"]
    assert api.tokens == [f"Bearer {SECRET}"]


async def test_many_alerts_go_in_portions(api, sink):
    """A thousand services at once are several posts, and none is lost."""
    many = [replace(ALERT, labels=(("service", str(n)),)) for n in range(450)]
    await sink.post(Endpoint(url=api.url), many)
    assert [len(portion) for portion in api.taken] == [200, 200, 50]


async def test_what_is_not_taken_is_said_without_a_secret(api, sink, tmp_path: Path):
    """Its answer is told on; nobody there, and an answer that does not come, are told too."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    to = Endpoint(url=api.url, token_file=str(token), timeout_s=5)
    api.status = 400
    with pytest.raises(SignalUnavailable, match="answered 400: bad label") as found:
        await sink.post(to, [ALERT])
    assert SECRET not in str(found.value)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(SignalUnavailable, match="did not answer within"):
        await sink.post(Endpoint(url=f"http://127.0.0.1:{port}", timeout_s=0.2), [ALERT])
    server.close()
    with pytest.raises(SignalUnavailable, match="cannot be asked"):
        await sink.post(replace(to, url=f"http://127.0.0.1:{port}"), [ALERT])
