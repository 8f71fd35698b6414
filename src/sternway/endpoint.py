"""Talks to a monitoring system over HTTP: credentials out of files, a time-out, a limit of size. Used by `signals`, `notify`.

Whatever goes wrong is SignalUnavailable with a sentence that holds no secret.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from sternway.domain.monitoring import Endpoint
from sternway.errors import SignalUnavailable

MOST_BYTES = 64_000_000
LARGE_BYTES = 50_000
"""What is larger is read beside the event loop (57 kB took 0.7 ms); for less, the way there and back is longer."""
_SHOWN = 200


class HttpSource:
    """One system's HTTP API. where: the endpoint in force, which may change at any time."""

    def __init__(self, what: str, where: Callable[[], Endpoint | None]) -> None:
        self._what = what
        self._where = where
        self._sessions: dict[Endpoint, aiohttp.ClientSession] = {}

    @property
    def known(self) -> bool:
        """Whether there is one at all."""
        return self._where() is not None

    async def close(self) -> None:
        """Close every connection."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def ask(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        """GET a path, or POST a form to it; gives the JSON. Raises SignalUnavailable."""
        status, body = await self._answer(path, {"data": form})
        try:
            found = json.loads(body) if len(body) <= LARGE_BYTES else await asyncio.to_thread(json.loads, body)
        except ValueError as exc:
            raise self._unavailable(f"answered {status} with what is no JSON") from exc
        if status != 200:
            said = found.get("error") if isinstance(found, dict) else None
            raise self._unavailable(f"answered {status}" + (f": {str(said)[:_SHOWN]}" if said else ""))
        return found

    async def tell(self, path: str, document: Any) -> None:
        """POST a document as JSON; what is answered does not matter. Raises SignalUnavailable when it is not taken."""
        status, body = await self._answer(path, {"json": document})
        if status // 100 != 2:
            said = body.decode(errors="replace").strip() if body != b"null" else ""
            raise self._unavailable(f"answered {status}" + (f": {said[:_SHOWN]}" if said else ""))

    async def _answer(self, path: str, sent: Mapping[str, Any]) -> tuple[int, bytes]:
        endpoint = self._where()
        if endpoint is None:
            raise SignalUnavailable(f"no {self._what} is configured", hint="state its address in monitoring.yaml")
        try:
            async with asyncio.timeout(endpoint.timeout_s):
                return await self._exchange(endpoint, path, sent)
        except TimeoutError as exc:
            raise self._unavailable(f"did not answer within {endpoint.timeout_s:g} s") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise self._unavailable(f"cannot be asked: {_words(exc)}") from exc

    async def _exchange(self, endpoint: Endpoint, path: str, sent: Mapping[str, Any]) -> tuple[int, bytes]:
        session = self._session(endpoint)
        url = endpoint.url.rstrip("/") + path
        in_files = endpoint.token_file or endpoint.password_file
        headers = await asyncio.to_thread(_headers, endpoint) if in_files else _headers(endpoint)
        method = "POST" if any(part is not None for part in sent.values()) else "GET"
        # A redirect would carry the credentials to wherever it points.
        async with session.request(method, url, headers=headers, allow_redirects=False, **sent) as response:
            chunks, size = [], 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > MOST_BYTES:
                    raise ValueError(f"the answer is larger than {MOST_BYTES // 1_000_000} MB; select fewer series")
                chunks.append(chunk)
            body = b"".join(chunks)
            if response.status != 200 and not response.content_type.endswith("json"):
                return response.status, b"null"
            return response.status, body

    def _session(self, endpoint: Endpoint) -> aiohttp.ClientSession:
        if endpoint not in self._sessions:
            connector = aiohttp.TCPConnector(limit=8, ssl=_tls(endpoint))
            self._sessions[endpoint] = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._sessions[endpoint]

    def _unavailable(self, text: str) -> SignalUnavailable:
        return SignalUnavailable(f"{self._what} {text}", retry_in_s=5.0)


def _headers(endpoint: Endpoint) -> dict[str, str]:
    """Read the credentials anew each time, so that a token may be replaced at any moment."""
    headers = dict(endpoint.headers)
    if endpoint.tenant:
        headers["X-Scope-OrgID"] = endpoint.tenant
    if endpoint.token_file:
        headers["Authorization"] = f"Bearer {_secret(endpoint.token_file)}"
    elif endpoint.username:
        password = _secret(endpoint.password_file) if endpoint.password_file else ""
        headers["Authorization"] = aiohttp.encode_basic_auth(endpoint.username, password)
    return headers


def _secret(path: str) -> str:
    return Path(path).expanduser().read_text(encoding="utf-8").strip()


def _tls(endpoint: Endpoint) -> ssl.SSLContext | bool:
    if not endpoint.url.startswith("https:"):
        return True
    context = ssl.create_default_context(cafile=endpoint.ca_file or None)
    if endpoint.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if endpoint.cert_file:
        context.load_cert_chain(endpoint.cert_file, endpoint.key_file or None)
    return context


def _words(exc: Exception) -> str:
    if isinstance(exc, aiohttp.ClientResponseError):
        return f"{exc.status}"
    if isinstance(exc, FileNotFoundError):
        return f"{exc.filename or 'a certificate or its key'} is not there"
    return (str(exc) or type(exc).__name__)[:_SHOWN]
