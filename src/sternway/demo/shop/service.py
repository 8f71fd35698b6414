"""One service of the sample shop: web, orders or stock. Started by the local platform, as `images.yaml` says.

    python -m sternway.demo.shop.service --role orders --port 8080 --version 1.0.0

A newcomer's first releases run this program, so it starts in a blink: the standard library alone, threads, HTTP/1.1.

What a version does: 1.0.0 and 1.1.0 are healthy; 1.2.0 fails 5 % of its requests; 1.3.0 takes half a second for 15 %
of them; 1.4.0 cannot start; web 1.5.0 answers as it should and loses four orders out of five, which only its figures show. Each
is bad by far more than a slow or busy machine adds.
What the environment says: ORDERS_URL and STOCK_URL (whom to call), SERVICE_TIME_MS (mean, 4), BASE_ERROR_RATE (0.001),
and http_proxy, through which the mesh sees every call.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, ClassVar

from sternway.demo.shop.calls import CallError, Calls

ERROR_RATES = {"1.2.0": 0.05}
SLOW_RATES = {"1.3.0": 0.15}
SLOW_S = (0.4, 0.6)
FORGETFUL = {"1.5.0": 5}
"""Of so many checkouts one reaches orders."""
BROKEN = {"1.4.0": "cannot read the price list: no column named 'currency'"}
HISTORY_S = (0.4, 0.5)
FORWARDED = ("x-user", "x-request-id", "traceparent")
DRAIN_S = 20.0
SETTLE_S = 0.2

_ITEMS = ("anchor", "bollard", "compass", "davit", "ensign", "fender", "gangway", "halyard", "jib", "keel")

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a handler gets: the path's number if it has one, the body, and the headers that travel on.

    versions: filled with who answered on the way.
    """

    number: int = 0
    body: Mapping[str, Any]
    forwarded: Mapping[str, str]
    versions: list[str]


class RequestError(Exception):
    """A request that is answered with an error. `sentence` goes to the log and to the caller."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Shop:
    """The business of one role at one version."""

    def __init__(self, role: str, version: str, environment: Mapping[str, str]) -> None:
        self.role = role
        self.version = version
        self._calls = Calls(environment)
        self._orders_url = environment.get("ORDERS_URL", "http://orders")
        self._stock_url = environment.get("STOCK_URL", "http://stock")
        self._mean_s = float(environment.get("SERVICE_TIME_MS", "4")) / 1000
        self._error_rate = float(environment.get("BASE_ERROR_RATE", "0.001")) + ERROR_RATES.get(version, 0.0)
        self._slow_rate = SLOW_RATES.get(version, 0.0)
        self._lock = threading.Lock()
        self._checkouts = self._accepted = 0
        routes: dict[str, tuple[tuple[str, str, Callable[[Request], Answer]], ...]] = {
            "web": (
                ("GET", r"/", self._page),
                ("GET", r"/orders/(\d+)", self._show_order),
                ("GET", r"/history", self._show_history),
                ("POST", r"/orders", self._check_out),
            ),
            "orders": (
                ("GET", r"/orders/(\d+)", self._order),
                ("GET", r"/orders/recent", self._recent),
                ("GET", r"/orders/history", self._history),
                ("POST", r"/orders", self._take_order),
            ),
            "stock": (
                ("GET", r"/stock/(\d+)", self._stock),
                ("POST", r"/stock/(\d+)/reserve", self._reserve),
            ),
        }
        self._routes = [(method, re.compile(path), answer) for method, path, answer in routes[role]]

    def answer(self, method: str, path: str, body: bytes, headers: Message, versions: list[str]) -> Answer:
        """Answer one request; `versions` collects who was asked for it. Raises RequestError."""
        path = path.partition("?")[0]
        if path == "/healthz":
            return 200, {"status": "ok"}
        for known, pattern, handle in self._routes:
            match = pattern.fullmatch(path)
            if match and known == method:
                self._work()
                forwarded = {name: headers[name] for name in FORWARDED if headers.get(name)}
                number = int(match.group(1)) if match.groups() else 0
                return handle(Request(number=number, body=_parsed(body), forwarded=forwarded, versions=versions))
        raise RequestError(404, f"{self.role} has no {method} {path}")

    def _work(self) -> None:
        """Take the time that this version takes, and fail as often as it fails."""
        slow = random.random() < self._slow_rate  # noqa: S311 - no secret
        took_s = random.uniform(*SLOW_S) if slow else random.uniform(0.5, 1.5) * self._mean_s  # noqa: S311
        time.sleep(took_s)
        if random.random() < self._error_rate:  # noqa: S311
            raise RequestError(500, f"{self.role} {self.version} failed: the cart has no currency")

    # web

    def _page(self, request: Request) -> Answer:
        return 200, {"shop": "Chandlery", "recent": self._call("GET", f"{self._orders_url}/orders/recent", request)}

    def _show_order(self, request: Request) -> Answer:
        return 200, {"order": self._call("GET", f"{self._orders_url}/orders/{request.number}", request)}

    def _show_history(self, request: Request) -> Answer:
        return 200, {"history": self._call("GET", f"{self._orders_url}/orders/history", request)}

    def _check_out(self, request: Request) -> Answer:
        every = FORGETFUL.get(self.version, 1)
        with self._lock:
            lost = self._checkouts % every != every - 1
        if lost:
            order = {"state": "thank you, we will let you know"}
        else:
            order = self._call("POST", f"{self._orders_url}/orders", request)
        with self._lock:  # both at once: who reads the figures never sees one without the other
            self._checkouts += 1
            self._accepted += not lost
        return 201, {"order": order}

    def figures(self) -> str:
        """What Prometheus reads: how many visitors checked out, and how many orders were accepted."""
        with self._lock:
            counted = {"shop_checkouts_total": self._checkouts, "shop_orders_accepted_total": self._accepted}
        return "".join(f"# TYPE {name} counter\n{name} {value}\n" for name, value in counted.items())

    # orders

    def _order(self, request: Request) -> Answer:
        item = request.number % len(_ITEMS)
        stock = self._call("GET", f"{self._stock_url}/stock/{item}", request)
        return 200, {"id": request.number, "item": _ITEMS[item], "left": stock.get("left")}

    def _recent(self, request: Request) -> Answer:
        item = random.randrange(len(_ITEMS))  # noqa: S311
        stock = self._call("GET", f"{self._stock_url}/stock/{item}", request)
        return 200, {"items": [stock]}

    def _history(self, _request: Request) -> Answer:
        """Add up a year: the one path that takes long, so that a time-out set too short breaks it."""
        time.sleep(random.uniform(*HISTORY_S))  # noqa: S311
        return 200, {"months": [{"month": month, "orders": 100 + month} for month in range(1, 13)]}

    def _take_order(self, request: Request) -> Answer:
        item = request.body.get("item", 0)
        if not isinstance(item, int) or not 0 <= item < len(_ITEMS):
            raise RequestError(400, f"there is no item {item!r}")
        self._call("POST", f"{self._stock_url}/stock/{item}/reserve", request)
        return 201, {"id": random.randrange(10**9), "item": _ITEMS[item]}  # noqa: S311

    # stock

    def _stock(self, request: Request) -> Answer:
        if request.number >= len(_ITEMS):
            raise RequestError(404, f"there is no item {request.number}")
        return 200, {"item": _ITEMS[request.number], "left": random.randrange(1, 500)}  # noqa: S311

    def _reserve(self, request: Request) -> Answer:
        return self._stock(request)

    def _call(self, method: str, url: str, request: Request) -> Any:
        """Call the next service; its failure is ours."""
        body = json.dumps(dict(request.body)).encode() if method == "POST" else None
        try:
            answered = self._calls.call(method, url, body, request.forwarded)
        except CallError as exc:
            raise RequestError(502, f"{method} {url} failed: {exc}") from exc
        status, text = answered.status, answered.body
        request.versions.append(answered.version)
        if status >= 500:
            raise RequestError(502, f"{method} {url} answered {status}: {text[:200].decode(errors='replace').strip()}")
        parsed = _parsed(text)
        if status >= 400:
            raise RequestError(status, str(parsed.get("error", f"{method} {url} answered {status}")))
        return parsed


class Handler(BaseHTTPRequestHandler):
    """HTTP around the shop. One write for each answer, so that no small packet waits for another."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    shop: ClassVar[Shop]
    server: Server

    def do_GET(self) -> None:
        """Answer a GET."""
        if self.path == "/metrics" and self.shop.role == "web":
            self._show_figures()
        else:
            self._serve()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent: only errors have a line in the log, written where they are known."""

    def _show_figures(self) -> None:
        payload = self.shop.figures().encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
        self.wfile.flush()

    def _serve(self) -> None:
        with self.server.in_flight():
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            versions = [f"{self.shop.role}/{self.shop.version}"]
            try:
                status, answer = self.shop.answer(self.command, self.path, body, self.headers, versions)
            except RequestError as exc:
                status, answer = exc.status, {"error": exc.sentence}
                if status >= 500:
                    _say(f"{self.command} {self.path} {status} {exc.sentence}")
            payload = json.dumps(answer).encode() + b"\n"
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(payload)))
            self.send_header("x-version", ", ".join(filter(None, versions)))
            if self.server.draining:
                self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(payload)
            self.wfile.flush()


class Server(ThreadingHTTPServer):
    """Counts the requests in flight, so that it can stop without losing one."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, shop: Shop) -> None:
        self.draining = False
        self._count = 0
        self._changed = threading.Condition()
        handler = type("ShopHandler", (Handler,), {"shop": shop})
        super().__init__(("127.0.0.1", port), handler)

    def in_flight(self) -> InFlight:
        """Mark a request as in flight, from its head until its answer is written."""
        return InFlight(self)

    def count(self, change: int) -> None:
        """Add to the number of requests in flight."""
        with self._changed:
            self._count += change
            self._changed.notify_all()

    def server_bind(self) -> None:
        """Bind without the reverse DNS look-up that the base class does, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Log one line, unless a caller hung up: that is no error of ours."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            _say(f"unexpected: {error!r}")

    def drain(self) -> None:
        """Finish what is under way, also what has arrived but is not read yet; then accept no more connections."""
        self.draining = True
        time.sleep(SETTLE_S)
        self.shutdown()
        self.server_close()
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, timeout=DRAIN_S)


class InFlight:
    """See Server.in_flight."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._server.count(1)

    def __exit__(self, *_: object) -> None:
        self._server.count(-1)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body) if body else {}
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise RequestError(400, "the body is not a JSON object")
    return parsed


def main() -> int:
    """Serve until SIGTERM or SIGINT, then finish what is in flight."""
    parser = argparse.ArgumentParser(description="One service of the sample shop.")
    parser.add_argument("--role", choices=("web", "orders", "stock"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    options = parser.parse_args()
    if options.version in BROKEN:
        _say(f"{options.role} {options.version}: {BROKEN[options.version]}")
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server = Server(options.port, Shop(options.role, options.version, os.environ))
    except OSError as exc:
        _say(f"{options.role} cannot listen on port {options.port}: {exc.strerror}")
        return 1
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    stop.wait()
    server.drain()
    return 0


if __name__ == "__main__":
    sys.exit(main())
