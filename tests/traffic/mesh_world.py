"""What the tests of the data plane share: real HTTP servers in this process, a client, and Envoy's access log."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from sternway.domain.mesh import MeshPolicy
from sternway.domain.traffic import Endpoint, Split, TrafficPlan
from sternway.domain.versions import Service, Version, Workload

MARK = "/mark/"
"""Requests that only ask how far the log has come: neither replicas nor the log remember them."""


@dataclass
class Upstream:
    """One replica: answers with its name; `status`, `delay_s` and `hang` can be changed at any time."""

    name: str
    status: int = 200
    delay_s: float = 0.0
    requests: list = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    port: int = 0

    async def start(self) -> None:
        """Listen on any port."""
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close everything."""
        await self._runner.cleanup()

    @property
    def endpoint(self) -> Endpoint:
        """For set_endpoints."""
        return Endpoint(address="127.0.0.1", port=self.port, replica=self.name)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/healthz" and not request.path.startswith(MARK):
            self.requests.append((request.method, request.path, dict(request.headers)))
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            return web.Response(status=self.status, text=self.name)
        finally:
            self.busy -= 1


def kind(entry) -> str:
    """The first part of a route's name: split, pin, preview or mirror."""
    return entry.common_properties.route_name.partition("|")[0]


class AccessLog:
    """Collects what Envoy tells of each request."""

    def __init__(self) -> None:
        self.entries = []
        self.marks: set[str] = set()

    def register(self, server) -> None:
        """Serve on the control plane's socket."""
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(self, server)

    async def StreamAccessLogs(self, requests, context):  # noqa: N802 - gRPC's name
        """Collect; called by gRPC."""
        async for message in requests:
            assert message.WhichOneof("log_entries") == "http_logs"
            for entry in message.http_logs.log_entry:
                if entry.request.path.startswith(MARK):
                    self.marks.add(entry.request.path)
                else:
                    self.entries.append(entry)
        return als_pb2.StreamAccessLogsResponse()

    async def of(self, count: int, *, route: str | None = None) -> list:
        """Wait for the entries, until there are so many."""

        def found() -> list:
            return [e for e in self.entries if route in (None, kind(e))]

        await until(lambda: len(found()) >= count)
        return found()


class Client:
    """Sends requests and tells (status, body)."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def __call__(self, address: str, path: str = "/", *, method: str = "GET", **more) -> tuple[int, str]:
        """Send one request."""
        async with self.session.request(method, f"http://{address}{path}", **more) as response:
            return response.status, await response.text()

    async def many(self, count: int, address: str, path: str = "/", *, at_once: int = 20, **more) -> Counter:
        """So many requests, some at once; how often each answer came."""
        found, left = Counter(), iter(range(count))

        async def work() -> None:
            for _ in left:
                found[await self(address, path, **more)] += 1

        await asyncio.gather(*(work() for _ in range(at_once)))
        return found


class Load:
    """A steady load until it is stopped: every answer, and every request that got none."""

    def __init__(self, client: Client, address: str, *, rate: float, **more) -> None:
        self._client, self._address, self._rate, self._more = client, address, rate, more
        self.answers: list[tuple[float, int, str]] = []  # when it was sent, status, body

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await asyncio.gather(*self._sent)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._sent: list[asyncio.Task] = []
        at = loop.time()
        while True:
            self._sent.append(asyncio.create_task(self._one()))
            at += 1 / self._rate
            await asyncio.sleep(max(0.0, at - loop.time()))

    async def _one(self) -> None:
        sent_s = asyncio.get_running_loop().time()
        try:
            status, body = await self._client(self._address, **self._more)
        except aiohttp.ClientError as exc:
            status, body = 0, repr(exc)
        self.answers.append((sent_s, status, body))

    @property
    def failures(self) -> list:
        """Answers that are none, or bad."""
        return [answer for answer in self.answers if answer[1] != 200]


def version(tag: str, *, service: str = "orders", policy: MeshPolicy | None = None, like: str | None = None) -> Version:
    """Make a version of a service; `like`: the tag whose workload it shares."""
    return Version(
        service=service,
        workload=Workload(image=f"shop/{service}:{like or tag}", port=8080),
        policy=policy or MeshPolicy(),
    )


def plan(*versions: Version, split: Split | None = None, port: int = 80, **more) -> TrafficPlan:
    """Make a plan for the versions' service: all to the first one unless said otherwise."""
    service = Service(name=versions[0].service, port=port)
    return TrafficPlan(service=service, versions=versions, split=split or Split.all_to(versions[0].id), **more)


def between(stable: Version, candidate: Version, percent: float) -> Split:
    """Make a split of two versions."""
    return Split.between(stable.id, candidate.id, percent)


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something to become true; the condition may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.005)


async def answers(client: Client, address: str) -> None:
    """Wait until somebody listens: a new Envoy acknowledges its configuration a moment before it listens."""

    async def heard() -> bool:
        try:
            await client(address)
        except aiohttp.ClientError:
            return False
        return True

    await until(heard)
