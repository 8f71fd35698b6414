"""Where Alertmanager posts: `POST /v1/alerts`, with a token. Served by `web.listeners`.

Who has no token learns nothing. The same webhook may come as often as it likes.
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


class AlertWebhook:
    """Takes webhooks where monitoring.yaml says; see `listeners.Part`."""

    name = "webhook"

    def __init__(self, alarmed: Alarmed, *, where: Callable[[], Webhook | None]) -> None:
        self._alarmed = alarmed
        self._where = where

    def listen(self) -> str | None:
        """See Part."""
        wanted = self._where()
        return wanted.listen if wanted else None

    def routes(self) -> list[web.RouteDef]:
        """See Part."""
        return [web.post("/v1/alerts", self._alerts)]

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
