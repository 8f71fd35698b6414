"""One kept HTTP/1.1 connection that asks one thing at a time. Used by `load`.

Written by hand because the load shares two cores with what it measures: a full client takes several times the work.
It repeats nothing: a connection that closes before its answer is a failed request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

_NO_BODY = frozenset({204, 304})
_HEAD_LIMIT = 65_536

Done = Callable[["Connection", int, str, str], None]
"""Called once for each request: status (0: no answer), the version that answered, what went wrong."""


class Connection(asyncio.Protocol):
    """Connect with `loop.create_connection`; then `ask`, again and again, while `usable`."""

    def __init__(self) -> None:
        self.usable = False
        self._transport: asyncio.Transport | None = None
        self._done: Done | None = None
        self._buffer = bytearray()
        self._head: Head | None = None

    def ask(self, request: bytes, done: Done) -> None:
        """Send a request; `done` follows."""
        assert self._transport is not None
        self._done = done
        self._transport.write(request)

    def abandon(self, error: str) -> None:
        """Give up on the answer, and on the connection."""
        self._finish(0, "", error)
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.usable = False
        if self._head is not None and self._head.until_close and exc is None:
            self._finish(self._head.status, self._head.version, "")
        else:
            self._finish(0, "", str(exc) if exc else "the connection was closed before the answer was whole")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        try:
            whole = self._answered()
        except ValueError as error:
            self.abandon(f"the answer is not HTTP: {error}")
            return
        if whole and self._head is not None:
            head, self._head = self._head, None
            left = bool(self._buffer)
            if head.closes or left:  # what nobody asked for cannot be trusted
                self.close()
            self._finish(head.status, head.version, "")

    def _answered(self) -> bool:
        """Consume the buffer; whether the answer is whole. Raises ValueError."""
        while self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    msg = "its head does not end"
                    raise ValueError(msg)
                return False
            head = Head(bytes(self._buffer[: end + 2]))
            del self._buffer[: end + 4]
            if head.status >= 200:  # 1xx goes before the answer
                self._head = head
        return self._head.consume(self._buffer)

    def _finish(self, status: int, version: str, error: str) -> None:
        done, self._done, self._head = self._done, None, None
        if done is not None:
            done(self, status, version, error)


class Head:
    """Status, version and framing of an answer; `consume` eats its body."""

    def __init__(self, raw: bytes) -> None:
        if not raw.startswith(b"HTTP/1."):
            msg = f"it begins with {raw[:20]!r}"
            raise ValueError(msg)
        self.status = int(raw[9:12])
        lower = raw.lower()
        self.version = _field(raw, lower, b"\r\nx-version:").decode("latin-1")
        length = _field(raw, lower, b"\r\ncontent-length:")
        connection = _field(raw, lower, b"\r\nconnection:").lower()
        self._chunked = b"chunked" in _field(raw, lower, b"\r\ntransfer-encoding:").lower()
        self._left = 0 if self.status in _NO_BODY else int(length or b"0")
        self._trailers = False
        self.until_close = not (self._chunked or length or self.status in _NO_BODY)
        self.closes = b"close" in connection or self.until_close

    def consume(self, buffer: bytearray) -> bool:
        """Eat what belongs to the body; whether it is whole."""
        if self.until_close:
            buffer.clear()
            return False
        if not self._chunked:
            eaten = min(self._left, len(buffer))
            del buffer[:eaten]
            self._left -= eaten
            return self._left == 0
        return self._consume_chunks(buffer)

    def _consume_chunks(self, buffer: bytearray) -> bool:
        """Eat chunks: a size in hexadecimal, a line end, the data, a line end; then trailers and an empty line."""
        while True:
            eaten = min(self._left, len(buffer))
            del buffer[:eaten]
            self._left -= eaten
            end = buffer.find(b"\r\n")
            if self._left or end < 0:
                return False
            line = bytes(buffer[:end])
            if self._trailers:
                del buffer[: end + 2]
                if not line:
                    return True
                continue
            size = int(line.partition(b";")[0], 16)
            del buffer[: end + 2]
            self._trailers = size == 0
            self._left = size + 2 if size else 0


def _field(raw: bytes, lower: bytes, name: bytes) -> bytes:
    """Give the value of a header field, empty when it is missing. `name` is lower case, from line end to colon."""
    start = lower.find(name)
    if start < 0:
        return b""
    start += len(name)
    return raw[start : lower.find(b"\r\n", start)].strip()
