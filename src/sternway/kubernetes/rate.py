"""How often we ask an API server. Used by `client`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Rate:
    """A bucket of tokens: `burst` at once, `per_s` from then on, in the order of asking.

    What is urgent (a rollback's traffic) does not queue: it borrows up to another `burst` from those that wait.
    """

    def __init__(self, *, per_s: float = 50.0, burst: int = 100, now: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._now = per_s, burst, now
        self._tokens, self._at, self._held_until = float(burst), now(), now()
        self._queue = asyncio.Lock()

    async def take(self, *, urgent: bool = False) -> None:
        """Wait for leave to send one request."""
        if urgent:
            self._refill()
            self._tokens -= 1
            while self._tokens < -self._burst:
                await asyncio.sleep((-self._burst - self._tokens) / self._per_s)
                self._refill()
            return
        async with self._queue:
            self._refill()
            while (wait_s := max((1 - self._tokens) / self._per_s, self._held_until - self._at)) > 0:
                await asyncio.sleep(wait_s)
                self._refill()
            self._tokens -= 1

    def hold(self, seconds: float) -> None:
        """Let the queue wait: the server said that it has too much to do. What is urgent goes on."""
        self._held_until = max(self._held_until, self._now() + seconds)

    def _refill(self) -> None:
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
