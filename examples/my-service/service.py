"""A small HTTP service with a good and a bad version, on the standard library alone.

Version 1.1.0 is bad: one answer in five is an error. All others are healthy.
"""

import argparse
import json
import random
import signal
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

BAD_VERSION = "1.1.0"
BAD_SHARE = 0.2


class Handler(BaseHTTPRequestHandler):
    """Answers JSON; keeps connections open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    version = "dev"
    stopping = False
    under_way = 0
    changed = threading.Condition()

    def handle_one_request(self) -> None:
        """Count a request from its first byte to the end of its answer, so that none is cut off at the end."""
        try:
            first = self.rfile.peek(1)
        except ConnectionError:
            first = b""
        if not first:
            self.close_connection = True
            return
        with Handler.changed:
            Handler.under_way += 1
        try:
            super().handle_one_request()
        finally:
            with Handler.changed:
                Handler.under_way -= 1
                Handler.changed.notify_all()

    def do_GET(self) -> None:
        """Answer with our version, or with an error when this version is a bad one."""
        if self.path == "/healthz":
            self.answer(200, {"status": "ok", "version": self.version})
        elif self.version == BAD_VERSION and random.random() < BAD_SHARE:
            self.answer(500, {"error": "something broke", "version": self.version})
        else:
            self.answer(200, {"message": "hello", "path": self.path, "version": self.version})

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:
        """Read the body, so that the connection can be used again, then answer as for GET."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    do_PUT = do_DELETE = do_PATCH = do_POST  # noqa: N815 - http.server's names

    def answer(self, status: int, value: dict[str, str]) -> None:
        """Send a JSON answer."""
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if Handler.stopping:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request: the mesh keeps the access log."""


class Server(ThreadingHTTPServer):
    """One thread for each connection."""

    daemon_threads = True  # idle connections do not hold up the end
    block_on_close = False
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking for the machine's name, which can be slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "my-service", self.server_address[1]


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", default="dev")
    options = parser.parse_args()
    Handler.version = options.version
    server = Server(("127.0.0.1", options.port), Handler)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        Handler.stopping = True
        # shutdown() waits for serve_forever, which runs in this thread: so another one asks for it
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"my-service {options.version} listens on port {options.port}", file=sys.stderr, flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    with Handler.changed:
        Handler.changed.wait_for(lambda: Handler.under_way == 0, timeout=10)


if __name__ == "__main__":
    main()
