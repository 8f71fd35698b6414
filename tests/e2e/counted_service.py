"""The service that runs in the end-to-end tests, on the standard library alone: its tag says how it behaves.

`bad…` fails every request, `exit…` ends at once, all others answer well: `poor…` all the same turns every order down,
and `deep…` has ten times as many orders waiting, which only /metrics tells; with
`late` in it, it takes five seconds to start. Every request but a health check or a scrape
is counted: one line `TAG METHOD PATH` in the file --count.
"""

import argparse
import asyncio
import os
import signal
import sys


class Counted(asyncio.Protocol):
    """One connection: HTTP/1.1, kept open."""

    tag = ""
    count = -1
    stopping = False
    busy = 0
    orders = 0
    refused = 0

    def connection_made(self, transport):
        """See asyncio.Protocol."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        """Answer every whole request."""
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            fields = head.lower().split(b"\r\n")
            length = next((int(f.split(b":")[1]) for f in fields if f.startswith(b"content-length:")), 0)
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
            self.answer(method, path)

    def answer(self, method, path):
        """Answer as the tag says."""
        seen = path not in ("/healthz", "/metrics")
        good = not seen or not Counted.tag.startswith("bad")
        if seen:
            os.write(Counted.count, f"{Counted.tag} {method} {path}\n".encode())
            Counted.orders += 1
            Counted.refused += Counted.tag.startswith("poor")
        body = b"" if method == "HEAD" else metrics() if path == "/metrics" else f"{Counted.tag}\n".encode()
        close = "connection: close\r\n" if Counted.stopping else ""
        status = "200 OK" if good else "500 Internal Server Error"
        head = f"HTTP/1.1 {status}\r\nx-version: {Counted.tag}\r\ncontent-length: {len(body)}\r\n{close}\r\n"
        self.transport.write(head.encode() + body)


def metrics():
    """Tell of orders, as Prometheus reads it. A counter that has counted nothing is not there yet, as is usual."""
    version = f'{{version="{Counted.tag}"}}'
    waiting = 50 if Counted.tag.startswith("deep") else 5
    lines = [f"orders_total{version} {Counted.orders}", f"orders_waiting{version} {waiting + Counted.orders % 3}"]
    lines += [f"orders_refused_total{version} {Counted.refused}"] if Counted.refused else []
    return ("\n".join(lines) + "\n").encode()


async def main():
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--count", required=True)
    options = parser.parse_args()
    if options.tag.startswith("exit"):
        sys.exit(f"{options.tag} does not start")
    if "late" in options.tag:
        await asyncio.sleep(5)
    Counted.tag = options.tag
    Counted.count = os.open(options.count, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Counted, "127.0.0.1", options.port)
    ended = asyncio.Event()

    def end():
        Counted.stopping = True
        ended.set()

    loop.add_signal_handler(signal.SIGTERM, end)
    print(f"{options.tag} listens on {options.port}", flush=True)  # noqa: T201  its log is what is tested
    await ended.wait()
    server.close()
    await asyncio.sleep(0.1)


asyncio.run(main())
