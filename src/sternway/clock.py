"""Time as a port: the shell asks a Clock, the core is given seconds. Used by control and the adapters."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch that never go back, and a sleep that follows them."""

    def now(self) -> float:
        """Seconds since the epoch, never less than at an earlier call."""
        ...


class SystemClock:
    """Wall time fixed at start plus the monotonic clock, so that a jump of the machine's clock moves nothing."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """See Clock."""
        return self._offset + time.monotonic()
