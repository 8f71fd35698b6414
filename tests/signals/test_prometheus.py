"""Prometheus as a signal source, before a server that answers as the test says: what it counts, and when it is blind."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from sternway import endpoint as endpoint_module
from sternway.clock import SystemClock
from sternway.domain.metrics import MetricAsk, MetricQuestion
from sternway.domain.monitoring import Endpoint
from sternway.domain.tallies import Question
from sternway.endpoint import HttpSource
from sternway.errors import SignalUnavailable
from sternway.signals.prometheus import Prometheus, single_value

RATIO = MetricAsk(
    name="refused", kind="ratio", interval_s=0.05, stable=("bad_s", "all_s"), candidate=("bad_c", "all_c")
)
VALUE = MetricAsk(name="depth", kind="versus", interval_s=0.05, stable=("depth_s",), candidate=("depth_c",))
SLOWER = MetricAsk(name="slow", kind="slower", interval_s=0.05, stable=("h_s",), candidate=("h_c",), quantile=0.9)


class Server:
    """Answers queries: the name before any bracket -> a result, or samples at the server's time."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.values: dict[str, object] = {}
        self.raw: dict[str, list[tuple[dict, float]]] = {}
        self.native: dict[str, dict] = {}
        self.headers: list[dict[str, str]] = []
        self.asked: list[str] = []
        self.url = ""

    async def query(self, request: web.Request) -> web.Response:
        """Answer /api/v1/query."""
        form = await request.post()
        query = str(form["query"])
        self.asked.append(query)
        self.headers.append(dict(request.headers))
        if query == "time()":
            self.now_s += 1.0
            return self._say("scalar", [self.now_s, str(self.now_s)])
        assert float(form["time"]) == self.now_s
        name, bracket, _ = query.partition("[")
        if bracket:
            found = [
                {"metric": labels, "values": [[self.now_s, str(value)]]} for labels, value in self.raw.get(name, [])
            ]
            if name in self.native:
                found = [{"metric": {"instance": name}, "histograms": [[self.now_s, self.native[name]]]}]
            return self._say("matrix", found)
        value = self.values.get(name, [])
        if isinstance(value, web.Response):
            return value
        found = [{"metric": {}, "value": [self.now_s, str(one)]} for one in value]
        return self._say("vector", found)

    def _say(self, kind: str, result: object) -> web.Response:
        return web.json_response({"status": "success", "data": {"resultType": kind, "result": result}})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    """Give a server that listens."""
    made = Server()
    app = web.Application()
    app.router.add_post("/api/v1/query", made.query)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    made.url = f"http://127.0.0.1:{port}"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def source(server) -> AsyncIterator[Prometheus]:
    """Give the source that asks it."""
    made = Prometheus(clock=SystemClock(), where=lambda: Endpoint(url=server.url, timeout_s=2.0))
    yield made
    await made.close()


def ask(source, *asks):
    """Ask for metrics of v1 and v2."""
    metrics = MetricQuestion(stable="v1", candidate="v2", asks=asks)
    source.ask("shop", Question(stable="v1", candidate="v2", metrics=metrics))


async def read_until(source, condition, within_s=60):
    """Read until what came in satisfies the condition; gives all of it, and the last reading."""
    tallies, samples = [], []
    async with asyncio.timeout(within_s):
        while True:
            reading = await source.read("shop")
            tallies += reading.tallies
            samples += reading.samples
            if condition(tallies, samples, reading):
                return tallies, samples, reading
            await asyncio.sleep(0.01)


def total(tallies, version):
    """Add a version's tallies up."""
    ours = [tally for tally in tallies if tally.version == version]
    return sum(tally.total for tally in ours), sum(tally.bad for tally in ours)


async def test_counters_become_tallies(server, source):
    """What they grow by between two readings, by version; the first reading is where it begins."""
    server.raw = {"all_s": [({"instance": "s"}, 100)], "all_c": [({"instance": "c"}, 10)]}
    ask(source, RATIO)
    await read_until(source, lambda *_: server.asked.count("all_c[10000ms]") >= 2)
    server.raw |= {"all_s": [({"instance": "s"}, 150)], "all_c": [({"instance": "c"}, 40)]}
    server.raw["bad_c"] = [({"instance": "c", "code": "500"}, 7)]
    tallies, _, reading = await read_until(source, lambda tallies, *_: total(tallies, "v2")[0] >= 30)
    await asyncio.sleep(0)
    assert total(tallies, "v1") == (50, 0)
    assert total(tallies, "v2") == (30, 7)
    assert reading.unseen == ()


def asked_for(server, name):
    """How often a selector was asked for, over whatever range."""
    return sum(query.startswith(name) for query in server.asked)


async def test_a_version_that_fails_from_the_start_is_not_called_good_in_its_first_scrape(server, source):
    """The candidate comes with 9 errors of 9, later 30 of 30: it has more answers than errors in no tally."""
    server.raw = {"all_s": [({"instance": "s"}, 100)]}
    ask(source, RATIO)
    await read_until(source, lambda *_: asked_for(server, "all_c") >= 2)
    server.raw |= {"all_c": [({"instance": "c"}, 9)], "bad_c": [({"instance": "c"}, 9)]}
    seen = asked_for(server, "all_c")
    await read_until(source, lambda *_: asked_for(server, "all_c") >= seen + 3)
    server.raw |= {"all_c": [({"instance": "c"}, 30)], "bad_c": [({"instance": "c"}, 30)]}
    tallies, *_ = await read_until(source, lambda tallies, *_: total(tallies, "v2")[0] >= 21)
    assert total(tallies, "v2") == (21, 21)


async def test_a_version_without_series_is_missed_by_its_name(server, source):
    """Stable is there, the candidate is not: only its own values are missing."""
    server.raw = {"all_s": [({"instance": "s"}, 100)]}
    ask(source, RATIO)
    *_, reading = await read_until(source, lambda _, __, reading: reading.unseen and reading.unseen[0].role)
    assert reading.unseen[0].role == "candidate"
    assert "no series for v2: all_c" in reading.unseen[0].why


async def test_the_same_queries_for_both_versions_compare_nothing(server, source):
    """Two versions of one tag: blind, not equal."""
    ask(source, MetricAsk(name="depth", kind="versus", interval_s=0.05, stable=("x",), candidate=("x",)))
    *_, reading = await read_until(source, lambda _, __, reading: reading.unseen and "same" in reading.unseen[0].why)
    assert reading.unseen[0].role == ""


async def test_values_become_samples_and_each_query_is_asked_once_a_round(server, source):
    """One instant for both; the same query of two metrics is one request."""
    server.values = {"depth_s": [4], "depth_c": [9]}
    ask(
        source,
        VALUE,
        MetricAsk(name="again", kind="versus", interval_s=0.05, stable=("depth_s",), candidate=("depth_c",)),
    )
    _, samples, _ = await read_until(source, lambda _, samples, __: len(samples) >= 2)
    assert {(one.candidate, one.stable) for one in samples} == {(9.0, 4.0)}
    rounds = server.asked.count("time()")
    assert server.asked.count("depth_c") <= rounds


@pytest.mark.parametrize("value", [[], ["NaN"], ["+Inf"]], ids=["empty", "0/0", "infinite"])
async def test_no_finite_value_is_no_value(server, source, value):
    """An empty result and 0/0 are nothing to judge by."""
    server.values = {"depth_s": [4], "depth_c": value}
    ask(source, VALUE)
    _, samples, reading = await read_until(
        source, lambda _, samples, reading: samples and reading.unseen and reading.unseen[0].role
    )
    assert samples[-1].candidate is None
    assert reading.unseen[0].role == "candidate"


async def test_several_series_are_refused_not_chosen_from(server, source):
    """Other tools take the last one without a word."""
    server.values = {"depth_s": [4], "depth_c": [1, 2, 3]}
    ask(source, VALUE)
    *_, reading = await read_until(
        source, lambda _, __, reading: reading.unseen and "3 series" in reading.unseen[0].why
    )
    assert "aggregate them" in reading.unseen[0].why


@pytest.mark.parametrize(
    "answer",
    [
        web.json_response({"status": "error", "error": "too many samples"}, status=422),
        web.Response(text="<html>", status=502),
        web.Response(text="{", content_type="application/json"),
        web.json_response({"status": "success", "data": {"resultType": "vector", "result": [{"value": [1]}]}}),
        web.json_response(["?"]),
    ],
    ids=["an error", "a gateway", "half an answer", "another shape", "no object"],
)
async def test_a_wrong_answer_blinds(answer):
    """Whatever comes instead of a result: Unseen with a reason, and the next round is asked all the same."""
    server = Server()

    async def wrong(request: web.Request) -> web.Response:
        form = await request.post()
        server.asked.append(str(form["query"]))
        if form["query"] == "time()":
            return server._say("scalar", [1, "1"])
        return web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)

    app = web.Application()
    app.router.add_post("/api/v1/query", wrong)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    source = Prometheus(clock=SystemClock(), where=lambda: Endpoint(url=url, timeout_s=2.0))
    try:
        ask(source, VALUE)
        _, samples, reading = await read_until(
            source, lambda _, samples, reading: len(samples) >= 2 and reading.unseen[0].why != "not measured yet"
        )
    finally:
        await source.close()
        await runner.cleanup()
    assert all(one.candidate is None for one in samples)
    assert reading.unseen[0].role == ""


async def test_a_histogram_tells_slow_from_quick_at_an_edge_of_stables_buckets(server, source):
    """p90 of stable lies in the bucket that ends at 0.1: beyond it an answer is slow, for both."""

    def buckets(instance, *counts):
        return [
            ({"instance": instance, "le": le}, n) for le, n in zip(("0.05", "0.1", "1", "+Inf"), counts, strict=True)
        ]

    server.raw = {"h_s": buckets("s", 500, 950, 1000, 1000), "h_c": buckets("c", 0, 0, 0, 0)}
    ask(source, SLOWER)
    await read_until(source, lambda *_: server.asked.count("h_c[10000ms]") >= 2)
    server.raw = {"h_s": buckets("s", 550, 1040, 1100, 1100), "h_c": buckets("c", 5, 20, 90, 100)}
    tallies, _, reading = await read_until(source, lambda tallies, *_: total(tallies, "v2")[0] >= 100)
    assert total(tallies, "v1") == (100, 10)
    assert total(tallies, "v2") == (100, 80)
    assert reading.unseen == ()


async def test_ten_thousand_series_are_one_count(server, source):
    """A counter with many labels: all of it is added up."""
    server.raw = {"all_s": [({"instance": str(n)}, 1) for n in range(10_000)], "all_c": [({"instance": "c"}, 1)]}
    ask(source, RATIO)
    await read_until(source, lambda *_: server.asked.count("all_c[10000ms]") >= 2)
    server.raw["all_s"] = [({"instance": str(n)}, 3) for n in range(10_000)]
    tallies, *_ = await read_until(source, lambda tallies, *_: total(tallies, "v1")[0] >= 20_000)
    assert total(tallies, "v1") == (20_000, 0)


async def test_a_native_histogram_is_read_like_a_classic_one(server, source):
    """Its buckets are sparse: one that the candidate has never filled is empty, not missing."""

    def native(*buckets):
        count = sum(n for _, n in buckets)
        listed = [[0, "0", high, str(n)] for high, n in buckets]
        return {"count": str(count), "sum": "1", "buckets": listed}

    server.native = {"h_s": native(("0.05", 500), ("0.1", 450), ("1", 50)), "h_c": native(("1", 2))}
    ask(source, SLOWER)
    await read_until(source, lambda *_: server.asked.count("h_c[10000ms]") >= 2)
    server.native = {"h_s": native(("0.05", 550), ("0.1", 490), ("1", 60)), "h_c": native(("0.05", 20), ("1", 82))}
    tallies, _, reading = await read_until(source, lambda tallies, *_: total(tallies, "v2")[0] >= 100)
    assert total(tallies, "v1") == (100, 10)
    assert total(tallies, "v2") == (100, 80)
    assert reading.unseen == ()


def where(server, tmp_path, **more):
    """Give an endpoint with secrets in files."""
    (tmp_path / "secret").write_text("s3cret-value\n")
    files = {name: str(tmp_path / value) for name, value in more.items() if name.endswith("_file")}
    return Endpoint(url=server.url, **{**more, **files})


@pytest.mark.parametrize(
    ("more", "header", "value"),
    [
        ({"token_file": "secret"}, "Authorization", "Bearer s3cret-value"),
        ({"username": "ada", "password_file": "secret"}, "Authorization", "Basic YWRhOnMzY3JldC12YWx1ZQ=="),
        ({"tenant": "shop"}, "X-Scope-OrgID", "shop"),
        ({"headers": (("x-from", "sternway"),)}, "x-from", "sternway"),
    ],
)
async def test_credentials_come_out_of_files(server, tmp_path, more, header, value):
    """Basic, bearer, tenant and further headers are sent with each request."""
    source = HttpSource("Prometheus", lambda: where(server, tmp_path, **more))
    await source.ask("/api/v1/query", {"query": "time()"})
    await source.close()
    assert {name.lower(): sent for name, sent in server.headers[0].items()}[header.lower()] == value


async def test_no_secret_is_ever_told(server, tmp_path):
    """Neither an error nor the endpoint's own text holds it; a missing file is named."""
    found = where(server, tmp_path, token_file="secret")
    source = HttpSource("Prometheus", lambda: found)
    with pytest.raises(SignalUnavailable) as refused:
        await source.ask("/nowhere")
    assert "s3cret" not in f"{refused.value}{refused.value!r}{found}"
    (tmp_path / "secret").unlink()
    with pytest.raises(SignalUnavailable, match="secret is not there"):
        await source.ask("/api/v1/query", {"query": "time()"})
    await source.close()


async def test_a_redirect_does_not_get_the_credentials(server, tmp_path):
    """It is an answer that is not understood, and nobody else is asked."""

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound(server.url + "/api/v1/query")

    app = web.Application()
    app.router.add_post("/api/v1/query", away)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    (tmp_path / "secret").write_text("s3cret")
    source = HttpSource("Prometheus", lambda: Endpoint(url=url, token_file=str(tmp_path / "secret")))
    with pytest.raises(SignalUnavailable, match="answered 302"):
        await source.ask("/api/v1/query", {"query": "time()"})
    await source.close()
    await runner.cleanup()
    assert server.asked == []


async def test_an_answer_without_end_is_cut_off(server, monkeypatch):
    """More than the limit is not read into memory."""
    monkeypatch.setattr(endpoint_module, "MOST_BYTES", 100)
    server.raw = {"all_s": [({"instance": "x" * 500}, 1)]}
    server.now_s = 0.0
    source = HttpSource("Prometheus", lambda: Endpoint(url=server.url))
    with pytest.raises(SignalUnavailable, match="larger than"):
        await source.ask("/api/v1/query", {"query": "all_s[1m]", "time": "0"})
    await source.close()


def test_a_scalar_is_a_value_and_a_range_is_not():
    """What a query may give."""
    assert single_value(json.loads('{"resultType": "scalar", "result": [1, "2.5"]}')) == 2.5
    with pytest.raises(SignalUnavailable, match="gives a matrix"):
        single_value({"resultType": "matrix", "result": []})
