"""The access log service over a real gRPC server, fed with Envoy's own messages."""

import asyncio

import grpc.aio
import pytest
import pytest_asyncio
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from outcomes_by_hand import QUESTION, counts, look

from sternway.domain.tallies import ClusterKey, Question
from sternway.signals.envoy_access_log import COALESCE_S, EnvoyAccessLog
from sternway.signals.naming import Named, OwnNames

START = 1_000.0


class Time:
    """A clock that a test moves, and the machine's clock beside it."""

    def __init__(self):
        self.now_s = START
        self.wall_s = START

    def now(self):
        """See Clock."""
        return self.now_s

    def wall(self):
        """Tell what the machine's clock shows."""
        return self.wall_s


@pytest.fixture
def time():
    """Both clocks agree at first."""
    return Time()


@pytest.fixture
def woken():
    """Collect the services woken."""
    return []


@pytest.fixture
def source(time, woken):
    """Know one caller, `web`, and the outside."""
    callers = {20_000: "", 20_001: "web"}
    return EnvoyAccessLog(time, OwnNames(callers.get), woken.append, wall=time.wall)


def fill(entry, route="split|orders|v2", cluster="orders|v2", status=200, start_s=START - 0.05, duration_s=0.05):
    """Write one entry as Envoy does."""
    common = entry.common_properties
    common.route_name = route
    common.upstream_cluster = cluster
    common.start_time.FromNanoseconds(round(start_s * 1e9))
    common.duration.FromNanoseconds(round(duration_s * 1e9))
    common.downstream_local_address.socket_address.port_value = 20_001
    common.upstream_remote_address.socket_address.address = "127.0.0.1"
    common.upstream_remote_address.socket_address.port_value = 30_000
    common.upstream_request_attempt_count = 1
    entry.request.request_id = "3f0c"
    entry.response.response_code.value = status
    return entry


def message(*entries):
    """Build a message of entries, each given as the arguments of `fill`."""
    built = als_pb2.StreamAccessLogsMessage()
    for entry in entries:
        fill(built.http_logs.log_entry.add(), **entry)
    return built


FAILURE = message({"status": 500})


async def counted(source, question=QUESTION):
    """Read the tallies."""
    return counts(await look(source, "orders", question))


@pytest_asyncio.fixture
async def envoy(source):
    """Speak like Envoy to a real server: give a function that opens a stream."""
    server = grpc.aio.server()
    source.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield als_pb2_grpc.AccessLogServiceStub(channel).StreamAccessLogs
    await server.stop(None)


async def until(condition):
    """Wait for something that must come true."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


async def test_messages_on_the_wire_become_tallies(source, envoy):
    """Two workers' streams are counted together, from serialized messages."""
    await look(source, "orders", QUESTION)
    streams = [envoy(), envoy()]
    for stream in streams:
        await stream.write(message({"status": 200}, {"status": 503}))
        await stream.write(message({"route": "split|orders|v1", "cluster": "orders|v1"}))
    await until(lambda: sum(one.figures.requests for one in source.traffic()) == 6)
    tallies = await counted(source)
    assert tallies["errors", "v2", "request"] == (4, 2)
    assert tallies["errors", "v1", "request"] == (2, 0)
    for stream in streams:
        await stream.done_writing()


async def test_blindness_lasts_from_the_loss_of_the_last_stream_to_the_next_one(source, envoy, time):
    """One of two workers is enough to see; the time of the loss is kept."""
    assert (await look(source, "orders", QUESTION)).blind_since_s == START
    first, second = envoy(), envoy()
    for stream in (first, second):
        await stream.write(als_pb2.StreamAccessLogsMessage())
    await until(lambda: source._streams == 2)
    assert (await look(source, "orders", QUESTION)).blind_since_s is None
    first.cancel()
    await until(lambda: source._streams == 1)
    assert (await look(source, "orders", QUESTION)).blind_since_s is None
    time.now_s = START + 7.0
    second.cancel()
    await until(lambda: source._streams == 0)
    time.now_s = START + 9.0
    assert (await look(source, "orders", QUESTION)).blind_since_s == START + 7.0
    assert (await look(source, "a service first seen now", QUESTION)).blind_since_s == START + 7.0
    third = envoy()
    await third.write(als_pb2.StreamAccessLogsMessage())
    await until(lambda: source._streams == 1)
    assert (await look(source, "orders", QUESTION)).blind_since_s is None
    third.cancel()


async def test_an_idle_envoy_that_is_connected_otherwise_is_no_blindness(time):
    """Envoy opens its log stream with the first entry only: until then the configuration stream vouches for it."""
    connected = [True]
    source = EnvoyAccessLog(time, OwnNames({}.get), lambda _: None, connected=lambda: connected[0], wall=time.wall)
    assert (await look(source, "orders", QUESTION)).blind_since_s is None
    connected[0] = False
    time.now_s = START + 3.0
    assert (await look(source, "orders", QUESTION)).blind_since_s == START + 3.0


async def test_a_failing_candidate_wakes_at_once_and_then_once_in_10_ms(source, woken):
    """The first failure wakes without delay; those that follow share one later wake; then there is silence."""
    await look(source, "orders", QUESTION)
    source.take(FAILURE)
    assert woken == ["orders"]
    for _ in range(50):
        source.take(FAILURE)
    assert woken == ["orders"]
    for _ in range(6):  # one after the other: a busy machine may be late, but not out of order
        await asyncio.sleep(COALESCE_S)
    assert woken == ["orders", "orders"]
    source.take(FAILURE)
    assert woken == ["orders"] * 3


async def test_nothing_wakes_but_failures_of_a_candidate_in_question(source, woken):
    """Good answers, stable's failures and versions that nobody asks about leave the loop to its own pace."""
    source.take(FAILURE)
    await look(source, "orders", QUESTION)
    source.take(message({"status": 200}, {"status": 500, "route": "split|orders|v1", "cluster": "orders|v1"}))
    source.take(message({"status": 500, "route": "split|stock|v2", "cluster": "stock|v2"}))
    source.take(message({"status": 500, "route": "preview|orders|v2"}))
    await asyncio.sleep(COALESCE_S * 2)
    assert woken == []


@pytest.mark.parametrize(
    ("route", "cluster", "expected"),
    [
        pytest.param("split|orders|v2", "orders|v2", ("v2", 0), id="by the candidate itself"),
        pytest.param("split|orders|v2|shield", "orders|v1", ("v2", 1), id="by stable in its place"),
        pytest.param("split|orders|v2", "", ("v2", 0), id="by nobody"),
        pytest.param("pin|orders|v2", "orders|v2", ("v2", 0), id="to a pinned request"),
        pytest.param("split", "orders|v2", ("v2", 0), id="on a route without a version"),
        pytest.param("split", "orders|v2|shield", ("v2", 0), id="by an aggregate at the first attempt"),
        pytest.param("split", "", None, id="on no route to a version"),
        pytest.param("", "control", None, id="by a cluster of another kind"),
        pytest.param("", "orders|v2|local", None, id="behind a version's own fault injection"),
    ],
)
async def test_the_route_says_who_was_asked_and_the_cluster_who_answered(source, route, cluster, expected):
    """A good answer is counted for the version asked, and is its failure when another version gave it."""
    await look(source, "orders", QUESTION)
    source.take(message({"route": route, "cluster": cluster}))
    tallies = await counted(source)
    if expected is None:
        assert tallies == {}
    else:
        version, failures = expected
        assert tallies == {("errors", version, "request"): (1, failures), ("hurt", version, "request"): (1, 0)}


async def test_two_attempts_behind_an_aggregate_are_a_rescue(source):
    """Where the log names the aggregate, the replica that answered is not the candidate's."""
    await look(source, "orders", QUESTION)
    rescued = message({"route": "split", "cluster": "orders|v2|shield"})
    rescued.http_logs.log_entry[0].common_properties.upstream_request_attempt_count = 2
    source.take(rescued)
    assert (await counted(source))["errors", "v2", "request"] == (1, 1)
    (version,) = source.traffic()
    assert version.replicas == ()


@pytest.mark.parametrize(("itself", "failures"), [(True, 0), (False, 1)], ids=["by the candidate", "by stable"])
async def test_a_slow_answer_that_stable_was_asked_for_too_is_judged_by_who_gave_it(time, woken, itself, failures):
    """A candidate that answers by itself after a while has not failed, though there were two attempts."""
    source = EnvoyAccessLog(time, OwnNames({}.get), woken.append, wall=time.wall, answered_itself=lambda *_: itself)
    await look(source, "orders", QUESTION)
    slow = message({"route": "split|orders|v2", "cluster": "orders|v2|shield"})
    common = slow.http_logs.log_entry[0].common_properties
    common.upstream_request_attempt_count = 2
    common.upstream_remote_address.socket_address.address = "127.0.0.1"
    common.upstream_remote_address.socket_address.port_value = 9000
    source.take(slow)
    assert (await counted(source))["errors", "v2", "request"] == (1, failures)


@pytest.mark.parametrize(
    ("headers", "key", "same"),
    [
        ({"x-user": "ada"}, ClusterKey(header="X-User"), True),
        ({"x-user": ""}, ClusterKey(header="x-user"), False),
        ({}, ClusterKey(header="x-user"), False),
        ({"cookie": "a=b; user=ada;c=d"}, ClusterKey(cookie="user"), True),
        ({"cookie": "user=ada=x=="}, ClusterKey(cookie="user"), True),
        ({"cookie": "superuser=ada; user="}, ClusterKey(cookie="user"), False),
        ({"cookie": ";;=;user"}, ClusterKey(cookie="user"), False),
        ({}, ClusterKey(cookie="user"), False),
    ],
)
async def test_the_cluster_key_is_found_in_a_header_or_a_cookie(source, headers, key, same):
    """An empty or missing value is no key."""
    question = Question(stable="v1", candidate="v2", cluster_key=key)
    await look(source, "orders", question)
    for _ in range(2):
        failed = message({"status": 500})
        failed.http_logs.log_entry[0].request.request_headers.update(headers)
        source.take(failed)
    tallies = await counted(source, question)
    assert tallies.get(("errors", "v2", "cluster")) == ((1, 1) if same else None)


async def test_the_headers_to_log_are_those_that_the_questions_need(source):
    """One cookie header serves every cookie; a question that is over needs nothing."""
    keys = {
        "a": ClusterKey(cookie="user"),
        "b": ClusterKey(cookie="id"),
        "c": ClusterKey(header="X-Trace"),
        "d": None,
    }
    for service, key in keys.items():
        await look(source, service, Question(stable="v1", cluster_key=key))
    assert source.logged_headers() == ("cookie", "x-trace")
    await look(source, "c", None)
    source.forget("a")
    source.forget("b")
    assert source.logged_headers() == ()


@pytest.mark.parametrize("place", ["response_headers", "response_trailers"])
async def test_a_grpc_status_is_read_from_trailers_and_from_headers(source, place):
    """An immediate failure has no trailers of its own; nonsense in their place is no status."""
    await look(source, "orders", QUESTION)
    for text in ("14", "0", "nonsense", ""):
        answered = message({})
        getattr(answered.http_logs.log_entry[0].response, place)["grpc-status"] = text
        source.take(answered)
    assert (await counted(source))["errors", "v2", "request"] == (4, 1)


@pytest.mark.parametrize(
    ("flag", "status", "bad"),
    [
        ("upstream_connection_termination", 200, 1),
        ("upstream_remote_reset", 200, 1),
        ("upstream_request_timeout", 200, 1),
        ("upstream_protocol_error", 200, 1),
        ("upstream_connection_termination", 101, 0),
        ("downstream_connection_termination", 200, 0),
    ],
)
async def test_an_answer_that_the_server_broke_off_is_bad(source, flag, status, bad):
    """The caller's own leaving is not, and an upgraded connection may end as it likes."""
    await look(source, "orders", QUESTION)
    cut = message({"status": status})
    setattr(cut.http_logs.log_entry[0].common_properties.response_flags, flag, True)
    source.take(cut)
    assert (await counted(source))["errors", "v2", "request"] == (1, bad)


async def test_times_are_told_by_our_own_clock_when_the_machines_clock_jumps(source, time):
    """Envoy stamps by the machine's clock; the difference between the two clocks is taken out."""
    await look(source, "orders", QUESTION)
    time.now_s = START + 1.0
    time.wall_s = START + 1.0 + 3_600.0
    source.take(message({"status": 500, "start_s": time.wall_s - 0.5, "duration_s": 0.25}))
    reading = await look(source, "orders", QUESTION)
    assert reading.last_candidate_s == pytest.approx(time.now_s - 0.5, abs=1e-5)
    assert reading.first_bad_s == pytest.approx(time.now_s - 0.25, abs=1e-5)


@pytest.mark.parametrize("start_s", [START - 500.0, START + 500.0, 0.0])
async def test_an_impossible_time_is_replaced_by_now(source, start_s):
    """A request that ended in the future, or long ago, was stamped by a clock in the middle of a jump."""
    await look(source, "orders", QUESTION)
    source.take(message({"status": 500, "start_s": start_s}))
    assert (await look(source, "orders", QUESTION)).first_bad_s == START


async def test_an_entry_with_nothing_in_it_counts_nothing(source):
    """Missing fields are no failure and no exception."""
    await look(source, "orders", QUESTION)
    empty = als_pb2.StreamAccessLogsMessage()
    empty.http_logs.log_entry.add()
    empty.http_logs.log_entry.add().common_properties.upstream_cluster = "orders|v2"
    source.take(empty)
    assert await counted(source) == {}


async def test_edges_name_the_caller_by_the_port_it_used(source):
    """An unknown port names nobody; mirrored requests have no caller."""
    await look(source, "orders", QUESTION)
    entries = message({}, {}, {}, {"route": "mirror|orders|v2"})
    for entry, port in zip(entries.http_logs.log_entry, (20_000, 20_001, 9, 20_001), strict=True):
        entry.common_properties.downstream_local_address.socket_address.port_value = port
    source.take(entries)
    assert [(edge.caller, edge.callee, edge.figures.requests) for edge in source.edges()] == [
        ("", "orders", 1),
        ("web", "orders", 1),
    ]
    assert [(one.version, one.figures.requests) for one in source.traffic()] == [("v2", 4)]


async def test_a_listener_that_changes_hands_has_a_new_caller(time):
    """Ports are given out again: who holds one is asked anew for each message."""
    callers = {20_001: "web"}
    source = EnvoyAccessLog(time, OwnNames(callers.get), lambda _: None, wall=time.wall)
    source.take(message({}, {}))
    callers[20_001] = "shop"
    source.take(message({}))
    assert [(edge.caller, edge.figures.requests) for edge in source.edges()] == [("shop", 1), ("web", 2)]


async def test_names_seen_once_do_not_pile_up(source, monkeypatch):
    """Versions come and go; what is remembered of their names stays bounded."""
    monkeypatch.setattr("sternway.signals.naming._NAMES_KEPT", 5)
    for number in range(20):
        source.take(message({"route": f"split|orders|v{number}"}))
    assert len(source._attribution._names) <= 5


class Proxied:
    """Names every version by its cluster, and remembers which proxies told of one."""

    def __init__(self):
        self.proxies = []

    def named(self, sent):
        """See Attribution."""
        self.proxies.append(sent.proxy)
        return Named(service="orders", version=sent.cluster, mixed=sent.cluster == "mixed")

    def caller(self, sent):
        """See Attribution."""
        return sent.proxy


@pytest.mark.parametrize(("version", "failures"), [("v2", 1), ("mixed", 0)])
async def test_where_any_version_may_be_asked_again_attempts_tell_nothing(time, version, failures):
    """A good answer at a second attempt speaks against a version only where both attempts were its own."""
    source = EnvoyAccessLog(time, Proxied(), lambda _: None, wall=time.wall)
    question = Question(stable="v1", candidate=version)
    await look(source, "orders", question)
    again = message({"cluster": version})
    again.http_logs.log_entry[0].common_properties.upstream_request_attempt_count = 2
    source.take(again)
    assert (await counted(source, question))["errors", version, "request"] == (1, failures)


async def test_a_version_is_spoken_of_while_a_stream_that_told_of_it_is_open(time):
    """The first message of a stream says whose it is; silence on an open stream is no loss, its end is."""
    names = Proxied()
    heard = []
    source = EnvoyAccessLog(time, names, lambda _: None, wall=time.wall, heard=heard.append)
    server = grpc.aio.server()
    source.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = als_pb2_grpc.AccessLogServiceStub(channel).StreamAccessLogs()
        first = message({"cluster": "v1"})
        first.identifier.node.id = "sidecar~1"
        await stream.write(first)
        await stream.write(message({"cluster": "v2"}))
        await until(lambda: source.spoken_of("orders") == {"v1", "v2"})
        assert names.proxies == ["sidecar~1", "sidecar~1"]
        assert [edge.caller for edge in source.edges()] == ["sidecar~1"]
        assert source.lost_s("orders") is None
        time.now_s = START + 5.0
        stream.cancel()
        await until(lambda: not source.spoken_of("orders"))
        assert source.lost_s("orders") == START + 5.0
        await until(lambda: heard == ["orders", "orders"])
    await server.stop(None)
