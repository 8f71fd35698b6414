"""The HTTP API of the running platform, on a unix socket that only its owner may use. Started by `sternway up`.

GET  /v1/status                      every service (?service=NAME: one)         PlatformStatus
GET  /v1/watch                       the same, a line each time it changed      NDJSON of PlatformStatus
GET  /v1/services                    the catalogue: replicas, who calls whom    CatalogueView
GET  /v1/names                       what there is, for completion              {"services": …, "releases": …}
GET  /v1/services/NAME/history       a service's releases, latest first         [ReleaseView]
POST /v1/services/NAME/commands      {verb, by, to, reason}                     Reply; 409 when refused
GET  /v1/releases/NAME               everything about a release                 ReleasePage
GET  /v1/releases/NAME/journal       its journal, for a replay                  NDJSON of Entry
POST /v1/images                      {workload, container, image, message}      Committed
GET  /v1/logs/SERVICE                ?replica= &lines= &follow=                 NDJSON of {replica, line}
POST /v1/stop                        {keep}                                     {"stopping", "pid"}

An error is `{"kind", "error", "hint"}` with a fitting status; `problems` lists what is wrong in a file or a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from sternway.control.status import PlatformStatus, ReleaseView
from sternway.domain.releases import Verb
from sternway.errors import InvalidInput, Problem, Refused, SternwayError
from sternway.ports import Entry
from sternway.web import gather
from sternway.web.figures import Figures
from sternway.web.images import commit_image
from sternway.web.services import Services
from sternway.web.watch import watch
from sternway.web.wire import CommandBody, ImageBody, StopBody, body, error_json, status_of, to_json

LINES_AT_MOST = 100_000
LONGEST_S = 366 * 86_400
_FIRST_LINE_S = 0.3
STREAMS_END_WITHIN_S = 2.0
_LONGEST_SOCKET_NAME = 100

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The server. `stop(keep)` is called when somebody asks for the end."""

    def __init__(self, services: Services, *, stop: Callable[[bool], None]) -> None:
        self._services = services
        self._stop = stop
        self.figures = Figures(services)
        self._runner: web.AppRunner | None = None
        self._streams: set[asyncio.Task[object]] = set()

    async def start(self, socket: Path) -> None:
        """Listen. Raises Refused when the socket cannot be made."""
        if len(os.fsencode(socket)) > _LONGEST_SOCKET_NAME:
            raise Refused(f"the socket's name is too long: {socket}", hint="set XDG_RUNTIME_DIR to a short folder")
        app = web.Application(middlewares=[_errors], client_max_size=1_000_000)
        app.add_routes(self._routes())
        app.on_shutdown.append(self._end_streams)
        # A reader that goes away ends its handler; the access log of a local socket tells nobody anything.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=STREAMS_END_WITHIN_S)
        await runner.setup()
        try:
            socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            await web.UnixSite(runner, socket).start()
            socket.chmod(0o600)  # noqa: ASYNC240  one system call, once
        except OSError as exc:
            await runner.cleanup()
            raise Refused(f"{socket} cannot be made: {exc}", hint="check who owns its folder") from exc
        self._runner = runner

    async def close(self) -> None:
        """End what is under way and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/status", self._status),
            web.get("/v1/watch", self._watch),
            web.get("/v1/services", self._catalogue),
            web.get("/v1/names", self._names),
            web.get("/v1/services/{service}/history", self._history),
            web.get("/v1/report", self._report),
            web.post("/v1/services/{service}/commands", self._command),
            web.get("/v1/releases/{release}", self._release),
            web.get("/v1/releases/{release}/journal", self._journal),
            web.post("/v1/images", self._image),
            web.get("/v1/logs/{service}", self._logs),
            web.post("/v1/stop", self._stop_it),
        ]

    async def _status(self, request: web.Request) -> web.StreamResponse:
        service = request.query.get("service")
        if service:
            await gather.known(self._services, service)
        found = await gather.status(self._services)
        return _json(to_json(_only(found, service)))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        service = request.query.get("service")
        if service:
            await gather.known(self._services, service)

        async def lines() -> AsyncIterator[bytes]:
            async for found in watch(self._services):
                yield to_json(_only(found, service))

        return await self._stream(request, lines())

    async def _catalogue(self, _: web.Request) -> web.StreamResponse:
        return _json(to_json(await gather.catalogue(self._services)))

    async def _names(self, _: web.Request) -> web.StreamResponse:
        services = await gather.names(self._services)
        releases = []
        for service in services:
            release = (await self._services.reconciler.progress(service)).release
            releases += [release.name] if release else []
        return web.json_response({"services": services, "releases": releases})

    async def _history(self, request: web.Request) -> web.StreamResponse:
        service = request.match_info["service"]
        await gather.known(self._services, service)
        views = await gather.history(self._services, service)
        return _json(to_json(views, tuple[ReleaseView, ...]))

    async def _report(self, request: web.Request) -> web.StreamResponse:
        service = request.query.get("service")
        if service:
            await gather.known(self._services, service)
        since_s = _number(request, "since", default=30 * 86_400, at_most=LONGEST_S)
        found = await gather.report(self._services, self.figures, since_s=since_s, service=service or None)
        return _json(to_json(found))

    async def _command(self, request: web.Request) -> web.StreamResponse:
        service = request.match_info["service"]
        await gather.known(self._services, service)
        asked = body(CommandBody, await request.read())
        if asked.verb is Verb.FALSE_ALARM:
            await gather.rolled_back(self._services, asked.to or "")
        reply = await self._services.commands.submit(service, asked.verb, by=asked.by, to=asked.to, reason=asked.reason)
        return _json(to_json(reply), status=200 if reply.accepted else 409)

    async def _release(self, request: web.Request) -> web.StreamResponse:
        return _json(to_json(await gather.page(self._services, request.match_info["release"])))

    async def _journal(self, request: web.Request) -> web.StreamResponse:
        release = request.match_info["release"]
        await gather.known(self._services, gather.service_of(release))

        async def lines() -> AsyncIterator[bytes]:
            async for entry in gather.pages(self._services, release=release):
                yield to_json(entry, Entry)

        return await self._stream(request, lines())

    async def _image(self, request: web.Request) -> web.StreamResponse:
        asked = body(ImageBody, await request.read())
        return _json(to_json(await commit_image(self._services, asked)))

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        service = request.match_info["service"]
        await gather.known(self._services, service)
        lines = _number(request, "lines", default=100)
        follow = request.query.get("follow", "") in ("1", "true", "yes")
        found = self._services.platform.logs(
            service, replica=request.query.get("replica") or None, lines=lines, follow=follow
        )

        async def encoded() -> AsyncIterator[bytes]:
            async for replica, line in found:
                yield json.dumps({"replica": replica, "line": line}).encode()

        return await self._stream(request, encoded())

    async def _stop_it(self, request: web.Request) -> web.StreamResponse:
        asked = body(StopBody, await request.read())
        # Answer first: the end of the platform ends this server too.
        asyncio.get_running_loop().call_later(0.05, self._stop, asked.keep)
        return web.json_response({"stopping": True, "pid": os.getpid()})

    async def _stream(self, request: web.Request, lines: AsyncIterator[bytes]) -> web.StreamResponse:
        """NDJSON. What goes wrong before the first line has a status; later it is a last line that says so."""
        first = asyncio.ensure_future(anext(lines, None))
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            done, _ = await asyncio.wait({first}, timeout=_FIRST_LINE_S)
            if done and first.exception() is not None:
                raise first.exception() or RuntimeError
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            await _write(response, first, lines)
            return response
        finally:
            self._streams.discard(task)
            first.cancel()
            if isinstance(lines, AsyncGenerator):
                with contextlib.suppress(RuntimeError):  # it is ending already
                    await lines.aclose()

    async def _end_streams(self, _: web.Application) -> None:
        for task in self._streams:
            task.cancel()


async def _write(
    response: web.StreamResponse, first: asyncio.Future[bytes | None], lines: AsyncIterator[bytes]
) -> None:
    try:
        line = await first
        while line is not None:
            await response.write(line + b"\n")
            line = await anext(lines, None)
    except SternwayError as error:
        await response.write(json.dumps(error_json(error)).encode() + b"\n")
    except ConnectionError:
        return  # the reader has gone
    await response.write_eof()


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except SternwayError as error:
        return web.json_response(error_json(error), status=status_of(error))
    except web.HTTPException as error:
        found = {"kind": "SternwayError", "error": f"{request.method} {request.path}: {error.reason}", "hint": ""}
        return web.json_response(found, status=error.status)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001  a bug in a view must be told to whoever asked, and stop nothing else
        hint = "this is a mistake in Sternway; the services are not touched by it"
        found = {"kind": "SternwayError", "error": f"unexpected {type(error).__name__}: {error}", "hint": hint}
        return web.json_response(found, status=500)


def _only(found: PlatformStatus, service: str | None) -> PlatformStatus:
    return replace(found, services=tuple(s for s in found.services if s.service == service)) if service else found


def _number(request: web.Request, name: str, *, default: int, at_most: int = LINES_AT_MOST) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) > at_most:
        problem = Problem(file="request", field=name, message=f"{text!r} is no number from 0 to {at_most}")
        raise InvalidInput((problem,))
    return int(text)


def _json(text: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=text, status=status, content_type="application/json")
