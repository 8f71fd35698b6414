"""Flagger's rule: success rate and p99 over a window at every interval, a counter of failed checks, a threshold.

Facts from fluxcd/flagger at 15bd6ad5. At each tick the counter is compared before the analysis runs
(pkg/controller/scheduler.go:429-440, :449-467), so that the rollback comes one interval after the last failure: the
first possible one at (threshold + 1) x interval. The counter is never reset by a good check (:461-466). Without data
a check fails (pkg/controller/scheduler_metrics.go:153-163, :190-198).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sternway.backtest.peers.rule import Said
from sternway.backtest.seconds import Second


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggerSettings:
    """The documented canary: docs/gitbook/tutorials/istio-progressive-delivery.md:114-135.

    interval, threshold: :114-122. success: the least percentage of good answers; latency: p99 in ms (:123-135).
    window: what a check looks at, "1m" by default (pkg/apis/flagger/v1beta1/canary.go:36).
    """

    interval_s: float = 60.0
    threshold: int = 5
    success_percent: float = 99.0
    latency_ms: float = 500.0
    window_s: float = 60.0


SHORTEST_INTERVAL_S = 10.0
"""A shorter interval becomes this one: pkg/apis/flagger/v1beta1/canary.go:637-652."""
LEAST_THRESHOLD = 1
"""A threshold of 0 becomes this one: pkg/apis/flagger/v1beta1/canary.go:655-660."""
SLOW_SHARE = 0.01
"""p99 is above a limit when more than this share of the answers is (pkg/metrics/observers/istio.go:27-63)."""


class Flagger:
    """The rule over one release."""

    def __init__(self, settings: FlaggerSettings) -> None:
        self.decided_s: float | None = None
        self.reason = ""
        self._settings = settings
        self._interval_s = max(settings.interval_s, SHORTEST_INTERVAL_S)
        self._threshold = max(settings.threshold, LEAST_THRESHOLD)
        self._window: deque[tuple[float, int, int, int]] = deque()
        self._next_s = 0.0
        self._failed = 0
        self._passed = False

    def begin(self, start_s: float) -> None:
        """Take the first check one interval from now."""
        self._next_s = start_s + self._interval_s

    def add(self, second: Second) -> None:
        """Keep the second's counts for the length of the window."""
        candidate = second.candidate
        slow = sum(1 for ms in candidate.durations_ms if ms > self._settings.latency_ms)
        self._window.append((second.start_s, candidate.total, candidate.bad, slow))

    def advance(self, now_s: float) -> None:
        """Tick."""
        while self.decided_s is None and self._next_s <= now_s:
            if self._failed >= self._threshold:
                self.decided_s = self._next_s
                return
            self._check(self._next_s)
            self._next_s += self._interval_s

    def ended(self) -> Said:
        """Healthy when the last check was passed, and no rollback was due at the next tick."""
        return Said.HEALTHY if self._passed and self._failed < self._threshold else Said.UNDECIDED

    def _check(self, at_s: float) -> None:
        while self._window and self._window[0][0] < at_s - self._settings.window_s:
            self._window.popleft()
        total = sum(entry[1] for entry in self._window)
        bad = sum(entry[2] for entry in self._window)
        slow = sum(entry[3] for entry in self._window)
        self._passed = True
        settings = self._settings
        if not total:
            self._fail("no values found")
        elif (success := 100.0 * (total - bad) / total) < settings.success_percent:
            self._fail(f"success rate {success:.2f} % < {settings.success_percent:g} %")
        elif slow > SLOW_SHARE * total:
            self._fail(f"p99 above {settings.latency_ms:g} ms ({slow} of {total} answers)")

    def _fail(self, why: str) -> None:
        self._passed = False
        self._failed += 1
        self.reason = f"{self._failed} failed checks, the last: {why}"
