"""The load generator: what it sends, what it records, and that it cannot be fooled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sternway.demo.load import SHOP, Answer, Ask, Load, summary
from sternway.demo.wire import Connection
from sternway.errors import Refused

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Version: web/1\r\n\r\nhi"


@contextlib.asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[str]:
    """Serve on loopback: `handle` gets each request whole."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await handle(head + await reader.readexactly(int(length or 0)), writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def good(_request: bytes, writer: asyncio.StreamWriter) -> None:
    """Answer at once."""
    writer.write(GOOD)


async def test_the_rate_is_kept_and_everything_recorded() -> None:
    """Two seconds at 300 requests/s send about 600 (Poisson: deviation 25), and every one is an answer."""
    told: list[Answer] = []
    async with serving(good) as url:
        load = Load(url, rate_per_s=300, duration_s=2.0, on_answer=told.append)
        await load.run()

    assert 480 <= load.sent <= 720
    assert load.sent == load.answered == len(load.answers) == len(told)
    assert load.failed == load.held_back == load.in_flight == 0
    assert sum(second.sent for second in load.seconds.values()) == load.sent
    assert sum(second.answered for second in load.seconds.values()) == load.sent
    assert {answer.version for answer in load.answers} == {"web/1"}
    assert all(answer.duration_ms > 0 for answer in load.answers)


async def test_visitors_differ_and_some_buy() -> None:
    """A fresh visitor for each request, the mix as stated, and a body where one is due."""
    requests: list[bytes] = []

    async def handle(request: bytes, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        writer.write(GOOD)

    async with serving(handle) as url:
        load = Load(url, rate_per_s=800, duration_s=1.0, seed=7)
        await load.run()

    users = {request.partition(b"x-user: ")[2].partition(b"\r\n")[0] for request in requests}
    bought = [request for request in requests if request.startswith(b"POST /orders HTTP/1.1")]
    assert len(users) > 0.97 * len(requests)
    assert 0 < len(bought) < 0.15 * len(requests)
    assert all(request.endswith(b'\r\n\r\n{"item": 3}') for request in bought)
    assert {answer.path.rpartition("/")[0] for answer in load.answers} == {"", "/orders"}
    assert sum(ask.share for ask in SHOP) == 100


async def test_visitors_do_not_wait_for_each_other() -> None:
    """When nothing is answered for a while requests go on being sent, up to the bound; what is held back is counted."""
    begin = asyncio.Event()

    async def handle(_request: bytes, writer: asyncio.StreamWriter) -> None:
        await begin.wait()
        writer.write(GOOD)

    async with serving(handle) as url:
        load = Load(url, rate_per_s=400, max_in_flight=50)
        running = asyncio.create_task(load.run())
        async with asyncio.timeout(60):
            while load.in_flight < 50 or not load.held_back:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        out, held_back = load.in_flight, load.held_back
        begin.set()
        load.stop()
        await running

    assert out == 50
    assert held_back > 0
    assert load.answered == 50
    assert max(answer.duration_ms for answer in load.answers) > 200


async def test_connections_are_kept() -> None:
    """Visitors one after the other share connections, as a browser's or a gateway's do."""
    writers: set[int] = set()

    async def handle(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writers.add(id(writer))
        writer.write(GOOD)

    async with serving(handle) as url:
        load = Load(url, rate_per_s=50, duration_s=2.0)
        await load.run()

    assert len(writers) < load.sent / 2


@pytest.mark.parametrize(
    ("wire", "status", "error"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", 503, ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi", 0, "closed before the answer was whole"),
        (b"", 0, "closed before the answer was whole"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 0, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n", 0, "not HTTP"),
    ],
)
async def test_every_way_to_fail_is_counted(wire: bytes, status: int, error: str) -> None:
    """A server's error, a cut answer, a closed connection and nonsense are failures, each with its reason."""

    async def handle(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(wire)
        await writer.drain()
        writer.close()

    async with serving(handle) as url:
        load = Load(url, rate_per_s=100, duration_s=0.3)
        await load.run()

    assert load.sent
    assert load.failed == len(load.failures) == load.sent
    assert {answer.status for answer in load.failures} == {status}
    assert all(error in answer.error for answer in load.failures)
    assert sum(second.failed for second in load.seconds.values()) == load.sent


async def test_a_refused_connection_is_a_failure() -> None:
    """Nobody listens: every request failed, and the run still ends."""
    async with serving(good) as url:
        pass
    load = Load(url, rate_per_s=50, duration_s=0.3)
    await load.run()

    assert load.sent == load.failed > 0
    assert all("no connection" in answer.error for answer in load.failures)


async def test_an_answer_that_never_comes_is_a_failure() -> None:
    """After the time-out the request is given up, and says so."""

    async def handle(_request: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with serving(handle) as url:
        load = Load(url, rate_per_s=50, duration_s=0.2, timeout_s=0.3)
        await asyncio.wait_for(load.run(), 60)

    assert load.sent == load.failed > 0
    assert all("no answer within 0.3 s" in answer.error for answer in load.failures)


async def test_stopping_waits_for_what_is_out() -> None:
    """`stop` sends no more, and counts the last answers."""

    async def handle(_request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(GOOD)

    async with serving(handle) as url:
        load = Load(url, rate_per_s=200)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(0.3)
        load.stop()
        await running

    assert load.sent == load.answered > 0
    assert load.failed == 0


async def test_the_rate_can_be_changed_on_the_way() -> None:
    """A bench raises the rate while it runs; at zero nothing is sent."""
    async with serving(good) as url:
        load = Load(url, rate_per_s=0)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(0.2)
        quiet = load.sent
        load.rate_per_s = 400
        async with asyncio.timeout(60):
            while load.sent <= 100:
                await asyncio.sleep(0.01)
        load.stop()
        await running

    assert quiet <= 1


@pytest.mark.parametrize(
    "url", ["http://example.org", "http://10.0.0.1:80", "https://127.0.0.1", "ftp://127.0.0.1", "shop"]
)
async def test_other_machines_are_left_alone(url: str) -> None:
    """Load goes to loopback only."""
    with pytest.raises(Refused, match="this machine only"):
        Load(url, rate_per_s=1)


class Wire:
    """A transport that only remembers being closed."""

    closed = False

    def write(self, _data: bytes) -> None:
        """Take it."""

    def abort(self) -> None:
        """Close."""
        self.closed = True


ANSWERS = [
    (GOOD, 200, "web/1"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 3\r\nx-version: b\r\n\r\nabc", 201, "b"),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-version: c\r\n\r\n7\r\n0\r\n\r\nab\r\n1;x=y\r\nz\r\n0\r\nt: 1\r\n\r\n",
        200,
        "c",
    ),
]


@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 120)))
def test_an_answer_is_understood_however_it_is_cut(case: tuple[bytes, int, str], cuts: list[int]) -> None:
    """Packets end anywhere: within a head, a size, a line end. One answer comes out, and the connection is kept."""
    wire, status, version = case
    got: list[tuple[int, str, str]] = []
    connection, transport = Connection(), Wire()
    connection.connection_made(cast("Any", transport))
    connection.ask(b"", lambda _connection, *answer: got.append(answer))
    places = [0, *sorted(cut % len(wire) for cut in cuts), len(wire)]

    for start, end in itertools.pairwise(places):
        assert got == []
        connection.data_received(wire[start:end])

    assert got == [(status, version, "")]
    assert connection.usable
    assert not transport.closed


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    """HTTP/1.0 manners: whole when the other side closes, and not kept."""
    got: list[tuple[int, str, str]] = []
    connection = Connection()
    connection.connection_made(cast("Any", Wire()))
    connection.ask(b"", lambda _connection, *answer: got.append(answer))

    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert got == []
    connection.connection_lost(None)

    assert got == [(200, "", "")]
    assert not connection.usable


async def test_the_summary_counts_what_was_recorded() -> None:
    """Statuses, versions and quantiles come from the answers."""
    async with serving(good) as url:
        load = Load(url, rate_per_s=200, duration_s=0.3, asks=[Ask(path="/x", share=1)])
        await load.run()

    said = summary(load)
    assert said["statuses"] == {200: load.sent}
    assert said["versions"] == {"web/1": load.sent}
    milliseconds = cast("dict[str, float]", said["milliseconds"])
    assert 0 < milliseconds["p50"] <= milliseconds["p99"] <= milliseconds["max"]


async def run_program(*arguments: str) -> tuple[int | None, str, str]:
    """Run the generator as a program; give status, output and errors."""
    argv = [sys.executable, "-m", "sternway.demo.load", *arguments]
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    out, err = await program.communicate()
    return program.returncode, out.decode(), err.decode()


async def test_the_program_prints_what_became_of_the_load() -> None:
    """As a program: one JSON object, status 0 when nothing failed and 1 otherwise."""
    async with serving(good) as url:
        status, out, _ = await run_program(url, "--rate", "100", "--for", "500ms", "--path", "/x")
    failed, after, _ = await run_program(url, "--rate", "100", "--for", "0.2s")

    assert status == 0
    assert json.loads(out)["sent"] == json.loads(out)["answered"] > 20
    assert failed == 1
    assert json.loads(after)["answered"] == 0


async def test_the_program_refuses_other_machines() -> None:
    """Status 2 and a sentence, no trace of Python."""
    status, _, err = await run_program("http://example.org")

    assert status == 2
    assert "Traceback" not in err
    assert "this machine only" in err
