"""The sample shop: real processes, and what each version and setting does to their answers."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from free_ports import free_port
from sternway.demo.shop import service
from sternway.demo.shop.service import RequestError, Shop
from sternway.domain.guards import Canary
from sternway.manifests.load import load

MANIFESTS = Path(service.__file__).parent / "manifests"
Start = Callable[..., "Program"]


class Program:
    """One service of the shop, as a process."""

    def __init__(self, role: str, version: str, log: Path, environment: dict[str, str], port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        argv = [sys.executable, "-m", "sternway.demo.shop.service"]
        argv += ["--role", role, "--port", str(self.port), "--version", version]
        calm = {"BASE_ERROR_RATE": "0", "SERVICE_TIME_MS": "1"}
        keep = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        with log.open("w") as stderr:
            self.process = subprocess.Popen(argv, env={**keep, **calm, **environment}, stderr=stderr)

    def wait_ready(self) -> None:
        """Wait until it answers its probe."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self.ask("GET", "/healthz")[0] == 200:
                    return
            except OSError:
                time.sleep(0.02)
        pytest.fail(f"not ready: {self.log.read_text()}")

    def ask(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, object], str]:
        """Give status, body and who answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers["x-version"]
        finally:
            connection.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services; end them with the test."""
    programs: list[Program] = []

    def begin(role: str, version: str = "1.0.0", *, ready: bool = True, port: int = 0, **environment: str) -> Program:
        log = tmp_path / f"{role}-{len(programs)}.log"
        program = Program(role, version, log, environment, port or free_port())
        programs.append(program)
        if ready:
            program.wait_ready()
        return program

    yield begin
    for program in programs:
        program.process.kill()
        program.process.wait()


@pytest.fixture
def next_service() -> Iterator[tuple[str, list[tuple[str, str, dict[str, str]]]]]:
    """Stand in for the next service: an address, and every request line with its headers."""
    seen: list[tuple[str, str, dict[str, str]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", seen
        server.shutdown()


def test_a_visitor_is_served_by_all_three(start: Start) -> None:
    """The page, an order and a checkout each pass web, orders and stock; the answer names every version."""
    stock = start("stock", "1.1.0")
    orders = start("orders", STOCK_URL=stock.url)
    web = start("web", ORDERS_URL=orders.url)

    page = web.ask("GET", "/")
    order = web.ask("GET", "/orders/42")
    bought = web.ask("POST", "/orders", body='{"item": 3}')

    assert page[0] == 200
    assert order[0] == 200
    assert order[1]["order"]["id"] == 42  # type: ignore[index]
    assert bought[0] == 201
    assert {page[2], order[2], bought[2]} == {"web/1.0.0, orders/1.0.0, stock/1.1.0"}
    assert stock.log.read_text() == orders.log.read_text() == web.log.read_text() == ""


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("GET", "/stock/99", None, 404),
        ("POST", "/orders", '{"item": "x"}', 400),
        ("POST", "/orders", "not JSON", 400),
    ],
)
def test_a_visitors_mistake_is_not_the_shops_failure(
    start: Start, method: str, path: str, body: str | None, status: int
) -> None:
    """A wrong path or body is answered with 4xx and logged by nobody."""
    program = start("stock" if "stock" in path else "orders")

    answered = program.ask(method, path, body)

    assert answered[0] == status
    assert answered[1]["error"]
    assert program.log.read_text() == ""


@pytest.mark.parametrize(("version", "accepted"), [("1.0.0", 10), ("1.5.0", 2)])
def test_a_forgetful_version_thanks_for_every_order_and_keeps_one_in_five(
    start: Start, version: str, accepted: int
) -> None:
    """Every checkout is answered with 201; only the figures of web tell how many orders became of it."""
    orders = start("orders", STOCK_URL=start("stock").url)
    web = start("web", version, ORDERS_URL=orders.url)

    answers = [web.ask("POST", "/orders", body='{"item": 3}') for _ in range(10)]
    with urllib.request.urlopen(f"{web.url}/metrics", timeout=60) as answer:
        figures = answer.read().decode()

    assert [status for status, _, _ in answers] == [201] * 10
    assert "shop_checkouts_total 10\n" in figures
    assert f"shop_orders_accepted_total {accepted}\n" in figures
    assert sum("orders/1.0.0" in version for _, _, version in answers) == accepted


def test_a_wrong_address_in_the_configuration_fails_requests(start: Start) -> None:
    """With STOCK_URL pointing nowhere, orders answers 502 and logs one line for each; what needs no stock works."""
    orders = start("orders", STOCK_URL=f"http://127.0.0.1:{free_port()}")

    assert [orders.ask("GET", "/orders/1")[0] for _ in range(3)] == [502, 502, 502]
    assert orders.ask("GET", "/orders/history")[0] == 200
    assert len(orders.log.read_text().splitlines()) == 3


def test_headers_travel_on(start: Start, next_service: tuple[str, list[tuple[str, str, dict[str, str]]]]) -> None:
    """The visitor, the request id and the trace reach the next service; other headers do not."""
    address, seen = next_service
    web = start("web", ORDERS_URL=f"http://{address}")
    sent = {"x-user": "u7", "x-request-id": "r-1", "traceparent": "00-ab-cd-01", "cookie": "secret"}

    assert web.ask("GET", "/orders/5", headers=sent)[0] == 200

    method, path, headers = seen[0]
    assert (method, path) == ("GET", "/orders/5")
    assert {name: headers.get(name) for name in sent} == {**sent, "cookie": None}


def test_calls_go_through_the_mesh(
    start: Start, next_service: tuple[str, list[tuple[str, str, dict[str, str]]]]
) -> None:
    """With http_proxy set, the proxy is asked for the whole URL, and the host names the service."""
    address, seen = next_service
    web = start("web", http_proxy=f"http://{address}")

    assert web.ask("GET", "/orders/5")[0] == 200
    assert web.ask("POST", "/orders", body='{"item": 1}')[0] == 201

    assert [(method, path) for method, path, _ in seen] == [
        ("GET", "http://orders/orders/5"),
        ("POST", "http://orders/orders"),
    ]
    assert {headers["host"] for _, _, headers in seen} == {"orders"}


def test_a_kept_connection_that_was_closed_fails_nobody(start: Start) -> None:
    """The next service restarts between two requests: the second one is answered over a new connection."""
    stock = start("stock")
    orders = start("orders", STOCK_URL=stock.url)
    assert orders.ask("GET", "/orders/1")[0] == 200
    stock.process.kill()
    stock.process.wait()
    assert orders.ask("GET", "/orders/1")[0] == 502

    start("stock", port=stock.port)

    assert orders.ask("GET", "/orders/1")[0] == 200


def test_stopping_finishes_what_is_in_flight(start: Start) -> None:
    """On SIGTERM the answer that takes long is still whole, nobody new is let in, and the status is 0."""
    orders = start("orders", SERVICE_TIME_MS="4000")
    connection = http.client.HTTPConnection("127.0.0.1", orders.port, timeout=60)
    connection.request("GET", "/orders/history")
    time.sleep(1)  # its head is read by now, and its answer takes two seconds at least
    orders.process.send_signal(signal.SIGTERM)

    answer = connection.getresponse()

    assert answer.status == 200
    assert json.loads(answer.read())["months"]
    assert answer.headers["connection"] == "close"
    assert orders.process.wait(timeout=60) == 0
    with pytest.raises(ConnectionRefusedError):
        orders.ask("GET", "/healthz")


def test_the_broken_version_exits_at_start(start: Start) -> None:
    """1.4.0 ends with status 1 and says why."""
    orders = start("orders", "1.4.0", ready=False)

    assert orders.process.wait(timeout=60) == 1
    assert orders.log.read_text() == "orders 1.4.0: cannot read the price list: no column named 'currency'\n"


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    """A second program on the port ends with status 1 and names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        argv = [
            sys.executable,
            "-m",
            "sternway.demo.shop.service",
            "--role",
            "web",
            "--version",
            "1.0.0",
            "--port",
            port,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert f"cannot listen on port {port}" in done.stderr


def test_the_service_imports_little() -> None:
    """It starts in a blink: nothing but the standard library is loaded, not even asyncio."""
    code = "import sternway.demo.shop.service, sys; print(sorted({'asyncio', 'aiohttp', 'pydantic', 'yaml'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def failures(shop: Shop, count: int) -> int:
    """Ask a shop so many times, and count what it answers with 500."""
    statuses = []
    for _ in range(count):
        try:
            shop.answer("GET", "/stock/1", b"", http.client.HTTPMessage(), [])
        except RequestError as error:
            statuses.append(error.status)
    return statuses.count(500)


@pytest.mark.parametrize(
    ("version", "base", "least", "most"),
    [
        ("1.0.0", "0", 0, 0),
        ("1.1.0", "0", 0, 0),
        ("1.0.0", "0.001", 1, 60),  # mean 20 of 20,000, deviation 4.5
        ("1.2.0", "0.001", 840, 1200),  # mean 1020, deviation 31
    ],
)
def test_a_version_fails_as_often_as_it_says(version: str, base: str, least: int, most: int) -> None:
    """1.2.0 fails 5 % of its requests, healthy ones only the base rate (bounds: over four deviations)."""
    shop = Shop("stock", version, {"SERVICE_TIME_MS": "0", "BASE_ERROR_RATE": base})

    assert least <= failures(shop, 20_000) <= most


@pytest.mark.parametrize(("version", "least", "most"), [("1.0.0", 0, 0), ("1.3.0", 2690, 3310)])
def test_the_slow_version_is_slow_at_the_tail(
    monkeypatch: pytest.MonkeyPatch, version: str, least: int, most: int
) -> None:
    """1.3.0 takes half a second for 15 % of its answers (mean 3000 of 20,000, deviation 51); its median is the same."""
    slept: list[float] = []
    monkeypatch.setattr(service.time, "sleep", slept.append)
    failures(Shop("stock", version, {"SERVICE_TIME_MS": "4", "BASE_ERROR_RATE": "0"}), 20_000)

    slow = [s for s in slept if s > 0.006]
    assert least <= len(slow) <= most
    assert all(0.4 <= s <= 0.6 for s in slow)
    assert 0.0035 < sorted(slept)[10_000] < 0.005


def test_the_history_alone_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second: the time-out of 100 ms that the demo commits breaks it on any machine, one of 3 s does not."""
    slept: list[float] = []
    monkeypatch.setattr(service.time, "sleep", slept.append)
    shop = Shop("orders", "1.0.0", {"SERVICE_TIME_MS": "4", "BASE_ERROR_RATE": "0"})

    shop.answer("GET", "/orders/history", b"", http.client.HTTPMessage(), [])

    assert slept[0] <= 0.006
    assert 0.4 <= slept[1] <= 0.5


def test_the_manifests_are_valid_and_complete() -> None:
    """Sternway accepts them without a remark, and every image has its command and every service its guard."""
    catalogue = load(
        {path.name: path.read_text() for path in MANIFESTS.glob("*.yaml")}, commit="c" * 40, origin="/shop"
    )

    assert catalogue.notices == ()
    assert sorted(wanted.service.name for wanted in catalogue.wanted) == ["orders", "stock", "web"]
    for wanted in catalogue.wanted:
        guard = wanted.guard
        assert not guard.implicit
        assert wanted.replicas == 2
        assert isinstance(guard.strategy, Canary)
        first, *rest = guard.strategy.steps
        assert first.requests_per_second == 5
        assert all(step.percent for step in rest)
        assert (guard.bake_s, guard.withdraw_s) == (3, 2)
        assert guard.judge.cluster_key is not None
        assert guard.judge.cluster_key.header == "x-user"
        assert catalogue.images.find(wanted.version.workload.image) is not None
        assert wanted.version.workload.readiness is not None
        assert wanted.version.policy.timeout_ms >= 2000
