"""How callers reach services: by port from outside, by name through the proxy of their own service."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
import pytest_asyncio
from mesh_world import plan, version

from free_ports import free_port
from sternway.errors import Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS, STOCK = version("1.0.0"), version("1.0.0", service="stock")


@pytest_asyncio.fixture(loop_scope="module")
async def shop(mesh):
    """Two services: orders by the stable replica, stock by the other one."""
    mesh.router.set_endpoints(ORDERS.workload.id, [mesh.stable.endpoint])
    mesh.router.set_endpoints(STOCK.workload.id, [mesh.candidate.endpoint])
    await mesh.router.apply(plan(ORDERS))
    await mesh.router.apply(plan(STOCK))
    await mesh.proxy("web")
    return mesh


async def through(mesh, caller: str, url: str, **more):
    """Send a request as a process of `caller` makes it, with http_proxy set."""
    proxy = await mesh.proxy(caller)
    async with mesh.client.session.get(url, proxy=proxy, **more) as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    "host",
    ["stock", "stock:8080", "stock:80", "stock.default", "stock.default.svc:8080", "stock.default.svc.cluster.local"],
)
async def test_a_service_is_reached_by_each_of_its_names(shop, host):
    """The names of Kubernetes, with and without a port, lead to the service; the log tells who called."""
    assert (await through(shop, "web", f"http://{host}/x")) == (200, "candidate")

    (entry,) = await shop.log.of(1)
    port = entry.common_properties.downstream_local_address.socket_address.port_value
    assert shop.router.caller_of_port()[port] == "web"
    assert entry.common_properties.upstream_cluster == f"stock|{STOCK.id}"
    assert shop.candidate.requests[-1][2]["Host"] == host.removesuffix(":80")


async def test_an_unknown_name_is_answered_502_with_the_name(shop):
    """A misspelt host is told apart from a service that fails."""
    status, text = await through(shop, "web", "http://stcok:8080/x")
    assert status == 502
    assert text == "no service named stcok:8080 in this mesh\n"


async def test_callers_from_outside_have_no_name(shop):
    """A request to the service's own port is logged under a port that belongs to nobody."""
    assert await shop.client(shop.router.address("orders")) == (200, "stable")
    (entry,) = await shop.log.of(1)
    port = entry.common_properties.downstream_local_address.socket_address.port_value
    assert shop.router.caller_of_port()[port] == ""


async def test_the_environment_names_every_service(shop):
    """Kubernetes' variables lead to the services' ports; loopback is never proxied."""
    environment = shop.router.environment("my-web")
    host, port = environment["ORDERS_SERVICE_HOST"], environment["ORDERS_SERVICE_PORT"]
    assert f"{host}:{port}" == shop.router.address("orders")
    assert environment["HTTP_PROXY"] == environment["http_proxy"]
    assert "127.0.0.1" in environment["no_proxy"].split(",")
    assert shop.router.environment("my-web") == environment
    assert shop.router.environment("other")["http_proxy"] != environment["http_proxy"]


async def test_a_request_id_is_kept_and_made_where_it_is_missing(shop):
    """The caller's x-request-id reaches the service unchanged; without one the service gets one."""
    address = shop.router.address("orders")
    await shop.client(address, headers={"x-request-id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"})
    await shop.client(address)
    sent = [{k.lower(): v for k, v in headers.items()} for _, _, headers in shop.stable.requests]
    assert sent[0]["x-request-id"] == "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    assert len(sent[1]["x-request-id"]) == 36
    assert "x-forwarded-for" not in sent[0]
    logged = [dict(e.request.request_headers)["x-request-id"] for e in await shop.log.of(2)]
    assert logged == [headers["x-request-id"] for headers in sent]


async def test_a_caller_cannot_change_time_outs_and_retries_by_envoys_headers(shop):
    """x-envoy-* headers of a request are not obeyed."""
    shop.stable.delay_s = 0.1
    headers = {"x-envoy-upstream-rq-timeout-ms": "10", "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3"}
    address = shop.router.address("orders")
    assert await shop.client(address, headers=headers) == (200, "stable")
    shop.stable.status = 500
    await shop.client(address, headers=headers)
    assert len(shop.stable.requests) == 2


async def test_headers_asked_for_later_are_logged(shop):
    """The judge's cluster key: after set_logged_headers new connections are logged with it, none is lost."""
    address = shop.router.address("orders")
    shop.router.set_logged_headers(["X-User"])
    async with asyncio.timeout(60):
        while True:
            shop.log.entries.clear()
            assert await shop.client(address, headers={"x-user": "u1"}) == (200, "stable")
            (entry,) = await shop.log.of(1)
            if dict(entry.request.request_headers).get("x-user") == "u1":
                break


async def test_a_service_keeps_its_own_port_and_a_taken_one_is_refused(shop):
    """A free port is used as stated; one of another program is refused with its number and the service."""
    port = free_port()
    billing = version("1.0.0", service="billing")
    shop.router.set_endpoints(billing.workload.id, [shop.stable.endpoint])
    await shop.router.apply(plan(billing, port=port))
    assert shop.router.address("billing") == f"127.0.0.1:{port}"
    assert await shop.client(f"127.0.0.1:{port}") == (200, "stable")

    taken = version("1.0.0", service="taken")
    with pytest.raises(Refused, match=rf"port {shop.stable.port} of service taken") as refused:
        await shop.router.apply(plan(taken, port=shop.stable.port))
    assert refused.value.hint

    same = version("1.0.0", service="same")
    shop.router.set_endpoints(same.workload.id, [shop.stable.endpoint])
    await shop.router.apply(plan(same, port=port))
    assert shop.router.address("same") != f"127.0.0.1:{port}"
    assert await shop.client(shop.router.address("same")) == (200, "stable")
    remembered = json.loads((shop.folder / "state" / "ports.json").read_text())
    assert remembered["inbound/billing"] == port


async def test_a_service_moves_when_its_port_is_changed(shop):
    """Another port in the manifest: the service answers there, and no longer on the old one."""
    mover = version("1.0.0", service="mover")
    shop.router.set_endpoints(mover.workload.id, [shop.stable.endpoint])
    old, new = free_port(), free_port()
    await shop.router.apply(plan(mover, port=old))
    assert await shop.client(f"127.0.0.1:{old}") == (200, "stable")

    await shop.router.apply(plan(mover, port=new))

    assert shop.router.address("mover") == f"127.0.0.1:{new}"
    assert await shop.client(f"127.0.0.1:{new}") == (200, "stable")
    assert (await shop.router.observe("mover")).service.port == new


async def test_a_released_service_is_gone_and_the_others_are_not(shop):
    """Its port is closed, its name unknown, its clusters removed; another service does not notice."""
    gone = version("1.0.0", service="gone")
    shop.router.set_endpoints(gone.workload.id, [shop.stable.endpoint])
    address = await shop.apply(plan(gone))
    assert (await through(shop, "web", "http://gone/"))[0] == 200

    await shop.router.release("gone")

    assert (await through(shop, "web", "http://gone/"))[0] == 502
    assert (await through(shop, "web", "http://stock/"))[0] == 200
    assert await shop.router.observe("gone") is None
    clusters = await shop.router.process.ask("/clusters?format=json")
    assert not [c["name"] for c in clusters["cluster_statuses"] if c["name"].startswith("gone|")]
    with pytest.raises(aiohttp.ClientConnectorError):
        await shop.client(address)


async def test_a_service_without_a_port_needs_no_envoy(shop):
    """A worker that nobody calls: its plan holds at once, and there is no address."""
    worker = version("1.0.0", service="worker")
    await shop.router.apply(plan(worker, port=None))
    assert (await shop.router.observe("worker")).versions == (worker,)
    assert shop.router.address("worker") is None


async def test_http2_without_tls_is_understood(shop):
    """A client that speaks HTTP/2 from the start (h2c, as gRPC does) is answered in HTTP/2."""
    host, port = shop.router.address("orders").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
    frame = await asyncio.wait_for(reader.readexactly(9), 30)
    writer.close()
    assert frame[3] == 4  # a SETTINGS frame


async def test_prometheus_reads_the_figures_and_nothing_else_of_the_admin_interface(shop):
    """The door leads to `/stats/prometheus` by GET alone: nobody ends Envoy, reads its configuration or changes a thing."""
    await shop.client.many(5, shop.router.address("orders"))
    door = f"http://{shop.router.statistics_address()}"

    async def asked(method: str, path: str) -> tuple[int, str]:
        async with shop.client.session.request(method, door + path) as response:
            return response.status, await response.text()

    status, text = await asked("GET", "/stats/prometheus?usedonly=")
    assert status == 200
    assert 'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="orders|1_0_0-' in text
    others = ["/", "/stats", "/config_dump", "/stats/prometheus/../../config_dump", "/stats/prometheus/x", "/clusters"]
    assert {path: (await asked("GET", path))[0] for path in others} == dict.fromkeys(others, 404)
    for path in ("/quitquitquit", "/stats/prometheus", "/reset_counters"):
        assert (await asked("POST", path))[0] == 404
    assert await shop.client(shop.router.address("orders")) == (200, "stable")
