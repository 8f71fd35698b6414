"""Talks to the running platform over its unix socket; what it answers with an error is raised here again.

Used by `sternway.cli`. Answers stay JSON text until somebody wants a view, so that `--output json` costs nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from sternway.errors import SternwayError
from sternway.web.faults import NotRunning, TookTooLong, error_from

PATIENCE_S = 30.0
LINE_BYTES = 64 * 1024 * 1024


class Client:
    """An async context manager around one connection pool."""

    def __init__(self, socket: Path, *, patience_s: float = PATIENCE_S) -> None:
        self._socket = socket
        self._patience_s = patience_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Get ready; the first request tells whether somebody is there."""
        connector = aiohttp.UnixConnector(path=str(self._socket))
        self._session = aiohttp.ClientSession(connector=connector, base_url="http://sternway", read_bufsize=LINE_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    async def get(self, *path: str, **query: str | int | None) -> str:
        """Ask; gives the JSON text."""
        async with self._request("GET", path, query=query, patience_s=self._patience_s) as response:
            return await response.text()

    async def post(self, *path: str, json_body: Mapping[str, object] | None = None) -> str:
        """Tell. A command that the engine refused is an answer, no error: look at `accepted`."""
        async with self._request("POST", path, body=json_body or {}, patience_s=self._patience_s) as response:
            return await response.text()

    async def lines(self, *path: str, **query: str | int | None) -> AsyncIterator[str]:
        """Follow a stream, line by line, until it ends."""
        async with self._request("GET", path, query=query, patience_s=None) as response:
            async for raw in response.content:
                line = raw.decode()
                _raise_if_error(line)
                yield line

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        patience_s: float | None,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use it as `async with Client(...)`"
        url = "/v1/" + "/".join(quote(part, safe="") for part in path)
        params = {key: str(value) for key, value in (query or {}).items() if value is not None}
        timeout = aiohttp.ClientTimeout(total=patience_s, sock_connect=self._patience_s)
        try:
            async with self._session.request(method, url, params=params, json=body, timeout=timeout) as response:
                await _check(response)
                yield response
        except (FileNotFoundError, aiohttp.ClientConnectorError) as exc:
            raise NotRunning("no platform is running here", hint="`sternway up DIR` starts it") from exc
        except asyncio.TimeoutError as exc:  # noqa: UP041  aiohttp's own is a subclass of it on every Python
            message = f"the platform did not answer within {self._patience_s:g} s"
            raise TookTooLong(message, hint="`sternway status` shows whether it is busy") from exc
        except aiohttp.ClientError as exc:
            raise NotRunning(f"the platform went away: {exc}", hint="`sternway up DIR` starts it again") from exc


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    try:
        found: Any = json.loads(text)
    except ValueError as exc:
        raise SternwayError(f"the platform answered {response.status}: {text[:200]}") from exc
    if not (isinstance(found, dict) and "accepted" in found):
        raise error_from(found)


def _raise_if_error(line: str) -> None:
    if line.startswith('{"kind": "') and '"error":' in line:
        found = json.loads(line)
        if set(found) >= {"kind", "error", "hint"}:
            raise error_from(found)
