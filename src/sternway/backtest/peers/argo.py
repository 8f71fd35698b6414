"""Argo Rollouts' rule: a success rate measured at every interval, and a limit of failed measurements.

Facts from argoproj/argo-rollouts at 9f8d111d. A metric has failed when failed > failureLimit, cumulatively
(analysis/analysis.go:658-670): a limit of three needs four failures. The first measurement is made at once
(:204-223), then one at every interval (:230-247). The query's `irate` looks at the last two scrapes, which is
modelled as the last 15 s; so the first measurement that has data is 15 s after the candidate's first answer (one
without any series is an error that is tried again, not a failure: analysis.go:30, :233-236). NaN is no success, so a
window without requests fails (utils/evaluate/evaluate.go:40-42). The candidate alone is measured.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sternway.backtest.peers.rule import Said
from sternway.backtest.seconds import Second


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgoSettings:
    """The documented template: docs/features/analysis.md:77-96. success: the least share of good answers.

    window: two scrapes of a Prometheus with its usual 15 s between them stand behind `irate`.
    """

    interval_s: float = 300.0
    failure_limit: int = 3
    success: float = 0.95
    window_s: float = 15.0


class Argo:
    """The rule over one release."""

    def __init__(self, settings: ArgoSettings) -> None:
        self.decided_s: float | None = None
        self.reason = ""
        self._settings = settings
        self._window: deque[tuple[float, int, int]] = deque()
        self._next_s = 0.0
        self._failed = 0
        self._passed = False

    def begin(self, start_s: float) -> None:
        """Measure as soon as there are two scrapes."""
        self._next_s = start_s + self._settings.window_s

    def add(self, second: Second) -> None:
        """Keep the second's counts for the length of the window."""
        self._window.append((second.start_s, second.candidate.total, second.candidate.bad))
        while self._window[0][0] < second.end_s - self._settings.window_s:
            self._window.popleft()

    def advance(self, now_s: float) -> None:
        """Measure when it is time."""
        while self.decided_s is None and self._next_s <= now_s:
            self._measure(self._next_s)
            if self._failed > self._settings.failure_limit:
                self.decided_s = self._next_s
            self._next_s += self._settings.interval_s

    def ended(self) -> Said:
        """Healthy when the last measurement was a success."""
        return Said.HEALTHY if self._passed else Said.UNDECIDED

    def _measure(self, at_s: float) -> None:
        while self._window and self._window[0][0] < at_s - self._settings.window_s:
            self._window.popleft()
        total = sum(entry[1] for entry in self._window)
        bad = sum(entry[2] for entry in self._window)
        success = (total - bad) / total if total else None
        self._passed = success is not None and success >= self._settings.success
        if not self._passed:
            self._failed += 1
            why = "NaN, no requests" if success is None else f"{success:.4g} < {self._settings.success:g}"
            self.reason = f"{self._failed} failed measurements, the last: {why}"
