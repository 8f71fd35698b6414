"""The weight that was in force when the recording was made, told from counts alone. Used by `release`.

Placebo arms must be as large as the candidate. A live platform knows the weight that it set; a recording shows only
how many requests fell to each version. Outcomes are never looked at, so that the arms stay exchangeable.
"""

from __future__ import annotations

from collections import deque
from math import sqrt

LATELY = 5
"""Ticks that are compared with the weight so far."""
SURPRISE = 4.0
"""Standard deviations (and two requests) by which they must differ for the weight to be another one."""
SLACK = 0.05
"""The share by which the estimate must move before arms are cut anew."""
NO_CONTROL_PERCENT = 99.5
SURE_REQUESTS = 20


class RecordedWeight:
    """Estimates the candidate's share since it changed last."""

    def __init__(self) -> None:
        self._lately: deque[tuple[int, int]] = deque(maxlen=LATELY)
        self._candidate = 0
        self._total = 0
        self.percent = 0.0

    def add(self, candidate: int, stable: int) -> None:
        """Count the requests of a tick; `percent` holds for this tick and the next ones."""
        if not candidate + stable:
            return
        self._lately.append((candidate, candidate + stable))
        if self._total and self._changed():
            self._candidate = self._total = 0
            self._lately = deque([(candidate, candidate + stable)], maxlen=LATELY)
        self._candidate += candidate
        self._total += candidate + stable
        estimate = 100.0 * self._candidate / self._total
        if abs(estimate - self.percent) > SLACK * self.percent:
            self.percent = estimate

    @property
    def concurrent(self) -> bool:
        """Stable has traffic beside the candidate."""
        return self.percent < NO_CONTROL_PERCENT or self._candidate < SURE_REQUESTS

    def _changed(self) -> bool:
        share = self._candidate / self._total
        candidate = sum(ours for ours, _ in self._lately)
        total = sum(both for _, both in self._lately)
        usual = sqrt(total * share * (1.0 - share))
        return abs(candidate - share * total) > SURPRISE * usual + 2.0
