"""An open-loop load generator: visitors come whether or not the last ones were answered. Loopback only.

Used by the demo and the benches, as a task beside them; as a program:

    python -m sternway.demo.load http://127.0.0.1:8080 --rate 100 --for 10s
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sternway.demo.wire import Connection
from sternway.errors import Refused

_TICK_S = 0.002
_SWEEP_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One kind of request. `{n}` in the path becomes a number. `share`: how often, against the others' shares."""

    path: str
    share: float
    method: str = "GET"
    body: str = ""


SHOP = (
    Ask(path="/", share=50),
    Ask(path="/orders/{n}", share=35),
    Ask(path="/history", share=10),
    Ask(method="POST", path="/orders", share=5, body='{"item": 3}'),
)
"""What visitors of the sample shop do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request as its visitor saw it. at_s: when it was sent, seconds since the epoch.

    status: 0 when no whole answer came; `error` says why. version: the `x-version` of the answer.
    """

    at_s: float
    method: str
    path: str
    user: str
    status: int
    duration_ms: float
    version: str
    error: str = ""

    @property
    def failed(self) -> bool:
        """No answer, or a server's error."""
        return self.status == 0 or self.status >= 500


@dataclass(slots=True, kw_only=True)
class Second:
    """What was sent within one second, and what became of it."""

    sent: int = 0
    answered: int = 0
    failed: int = 0


class Load:
    """Ask `url` at `rate_per_s` (it may be changed at any time) until `duration_s` are over, or `stop` is called.

    answers: the latest `keep`. failures: the latest 10,000. seconds: by whole second since the epoch, the latest hour.
    held_back: requests that were due while `max_in_flight` were out; they were not sent.
    """

    def __init__(  # noqa: PLR0913 - a load has this many knobs, all but two with a default
        self,
        url: str,
        *,
        rate_per_s: float,
        duration_s: float | None = None,
        asks: Sequence[Ask] = SHOP,
        users: int = 100_000,
        max_in_flight: int = 2_000,
        timeout_s: float = 15.0,
        keep: int = 200_000,
        on_answer: Callable[[Answer], None] | None = None,
        seed: int | None = None,
    ) -> None:
        self._host, self._port, self._prefix = _loopback(url)
        self.rate_per_s = rate_per_s
        self.answers: deque[Answer] = deque(maxlen=keep)
        self.failures: deque[Answer] = deque(maxlen=10_000)
        self.seconds: dict[int, Second] = {}
        self.sent = self.answered = self.failed = self.held_back = 0
        self._duration_s = duration_s
        self._asks = asks
        self._shares = [ask.share for ask in asks]
        self._users = users
        self._max_in_flight = max_in_flight
        self._timeout_s = timeout_s
        self._on_answer = on_answer
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._stop = asyncio.Event()
        self._idle: list[Connection] = []
        self._out: dict[object, tuple[float, Connection | None]] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._epoch_s = time.time() - time.monotonic()

    @property
    def in_flight(self) -> int:
        """Requests without an answer yet."""
        return len(self._out)

    def stop(self) -> None:
        """Send no more; `run` returns when the last answer is there."""
        self._stop.set()

    async def run(self) -> None:
        """Send, until it is over; then wait for what is out, at most for the time-out."""
        begin = due = swept = time.monotonic()
        end = begin + self._duration_s if self._duration_s is not None else float("inf")
        while not self._stop.is_set() and (now := time.monotonic()) < end:
            # After a long pause of the machine, or at rate 0, no flood.
            due = max(due, now - 0.25) if self.rate_per_s > 0 else now + _TICK_S
            while due <= now:
                self._send(now)
                due += self._random.expovariate(self.rate_per_s)
            if now - swept > _SWEEP_S:
                swept = now
                self._sweep(now)
            await self._pause(min(max(due - now, _TICK_S), end - now, _SWEEP_S))
        while self._out:
            await asyncio.sleep(0.005)
            self._sweep(time.monotonic())
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _pause(self, seconds: float) -> None:
        if seconds > _TICK_S * 2:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stop.wait()
        else:
            await asyncio.sleep(seconds)

    def _send(self, now: float) -> None:
        if len(self._out) >= self._max_in_flight:
            self.held_back += 1
            return
        ask = self._random.choices(self._asks, self._shares)[0]
        path = ask.path.replace("{n}", str(self._random.randrange(10_000)))
        user = f"u{self._random.randrange(self._users)}"
        request = self._request(ask, path, user)
        key = object()

        def done(connection: Connection, status: int, version: str, error: str) -> None:
            self._done(
                key,
                Answer(
                    at_s=self._epoch_s + now,
                    method=ask.method,
                    path=path,
                    user=user,
                    status=status,
                    duration_ms=(time.monotonic() - now) * 1000,
                    version=version,
                    error=error,
                ),
            )
            if connection.usable:
                self._idle.append(connection)

        self.sent += 1
        self._second(now).sent += 1
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._out[key] = (now, connection)
                connection.ask(request, done)
                return
        self._out[key] = (now, None)
        task = asyncio.create_task(self._connect(key, now, request, done))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(
        self, key: object, now: float, request: bytes, done: Callable[[Connection, int, str, str], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await loop.create_connection(Connection, self._host, self._port)
        except (OSError, TimeoutError) as exc:
            done(Connection(), 0, "", f"no connection: {exc or 'time-out'}")
            return
        self._out[key] = (now, connection)
        connection.ask(request, done)

    def _request(self, ask: Ask, path: str, user: str) -> bytes:
        body = (
            f"content-type: application/json\r\ncontent-length: {len(ask.body)}\r\n\r\n{ask.body}"
            if ask.body
            else "\r\n"
        )
        head = f"{ask.method} {self._prefix}{path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\nx-user: {user}\r\n"
        return (head + body).encode()

    def _done(self, key: object, answer: Answer) -> None:
        del self._out[key]
        second = self._second(answer.at_s - self._epoch_s)
        self.answered += answer.status != 0
        second.answered += answer.status != 0
        self.answers.append(answer)
        if answer.failed:
            self.failed += 1
            second.failed += 1
            self.failures.append(answer)
        if self._on_answer is not None:
            self._on_answer(answer)

    def _second(self, now: float) -> Second:
        whole = int(self._epoch_s + now)
        found = self.seconds.get(whole)
        if found is None:
            found = self.seconds[whole] = Second()
            if len(self.seconds) > 3600:
                del self.seconds[next(iter(self.seconds))]
        return found

    def _sweep(self, now: float) -> None:
        """End what takes too long: one look over all is cheaper than a timer for each."""
        late = [connection for sent, connection in self._out.values() if now - sent > self._timeout_s]
        for connection in late:
            if connection is not None:
                connection.abandon(f"no answer within {self._timeout_s:g} s")


def _loopback(url: str) -> tuple[str, int, str]:
    """Split the address; anything but this machine is refused."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if parts.scheme != "http" or not here:
        raise Refused(
            f"load goes to this machine only, by http: not to {url}",
            hint="Give an address such as http://127.0.0.1:8080.",
        )
    return host, parts.port or 80, parts.path.rstrip("/")


def summary(load: Load) -> dict[str, object]:
    """Say in figures what became of a load."""
    took = sorted(answer.duration_ms for answer in load.answers if answer.status)

    def quantile(share: float) -> float | None:
        return round(took[min(len(took) - 1, int(share * len(took)))], 2) if took else None

    return {
        "sent": load.sent,
        "answered": load.answered,
        "failed": load.failed,
        "heldBack": load.held_back,
        "statuses": dict(sorted(Counter(answer.status for answer in load.answers).items())),
        "versions": dict(sorted(Counter(answer.version for answer in load.answers).items())),
        "milliseconds": {"p50": quantile(0.5), "p90": quantile(0.9), "p99": quantile(0.99), "max": quantile(1.0)},
    }


def _seconds(text: str) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    number = text.rstrip("msh")
    return float(number) * units[text[len(number) :] or "s"]


def main() -> int:
    """Load an address for a while and print what became of it."""
    parser = argparse.ArgumentParser(description="Load an address of this machine, at a fixed rate.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second (100)")
    parser.add_argument("--for", dest="duration", type=_seconds, default=10.0, help="how long: 10s, 2m (10s)")
    parser.add_argument("--path", action="append", help="ask for this path instead of the shop's; may be repeated")
    options = parser.parse_args()
    asks = [Ask(path=path, share=1) for path in options.path or ()] or SHOP

    async def run() -> Load:
        load = Load(options.url, rate_per_s=options.rate, duration_s=options.duration, asks=asks)
        await load.run()
        return load

    try:
        load = asyncio.run(run())
    except Refused as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    sys.stdout.write(json.dumps({**summary(load), "cpuSeconds": round(time.process_time(), 2)}, indent=2) + "\n")
    return 0 if load.answered and not load.failed else 1


if __name__ == "__main__":
    sys.exit(main())
