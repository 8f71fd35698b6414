"""Where Alertmanager posts: `POST /v1/alerts` on a port of its own, with a token. Started by `sternway up`.

Only this is served there: the rest of the API stays on its socket. Who has no token learns nothing. The same webhook may come
as often as it likes.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from sternway.domain.monitoring import Webhook
from sternway.web.services import Alarmed

LOOK_EVERY_S = 1.0
MOST_BYTES = 4_000_000


class WebhookServer:
    """Listens where monitoring.yaml says, and follows it. tell: is told what is in the way, "" when nothing is."""

    def __init__(
        self, alarmed: Alarmed, *, where: Callable[[], Webhook | None], tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._alarmed = alarmed
        self._where = where
        self._tell = tell
        self._listens: Webhook | None = None
        self._runner: web.AppRunner | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                await self.follow()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await self._stop()

    async def follow(self) -> None:
        """Listen where it is wanted now."""
        wanted = self._where()
        if wanted == self._listens:
            return
        await self._stop()
        if wanted is not None:
            await self._start(wanted)

    async def _start(self, wanted: Webhook) -> None:
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post("/v1/alerts", self._alerts)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        host, _, port = wanted.listen.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as exc:
            await runner.cleanup()
            self._tell(f"{wanted.listen} cannot be listened on for webhooks: {exc.strerror or exc}")
            return
        self._tell("")
        self._listens, self._runner = wanted, runner

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._listens, self._runner = None, None

    async def _alerts(self, request: web.Request) -> web.Response:
        token = await asyncio.to_thread(self._token)
        if token is None:
            return _said("the token's file cannot be read", 503)
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return _said("the token is not right", 401)
        try:
            body = json.loads(await request.read())
            news = self._alarmed.take(body["alerts"])
        except (ValueError, LookupError, TypeError, AttributeError):
            return _said("this is no webhook of Alertmanager", 400)
        return web.json_response({"news": news})

    def _token(self) -> str | None:
        wanted = self._where()
        try:
            found = Path(wanted.token_file).read_text(encoding="utf-8").strip() if wanted else ""
        except (OSError, UnicodeDecodeError):
            return None
        return found or None


def _said(text: str, status: int) -> web.Response:
    return web.json_response({"error": text}, status=status)
