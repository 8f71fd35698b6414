"""Kayenta's rule: points of each minute, candidate against stable, by a rank test; a score of the metrics.

Facts from spinnaker/kayenta at a69573be. The window grows from the start at every interval
(SetupAndExecuteCanariesStage.java:117-156, :266-287), and a score at or below `marginal` ends it at once
(MonitorCanaryTask.java:116). A metric is High when the interval's lower limit of the Mann-Whitney test lies above
tolerance x |estimate| and the ratio of the means is at least `allowedIncrease`
(MannWhitneyClassifier.scala:72-79, :111-125; NetflixACAJudge.scala:112-146). Half of the metrics or more without data
give a score of 0 (WeightedSumScorer.scala:27, :84-88).

Three metrics, each a group of its own: the percentage of errors, the mean duration and p99. The control is stable's
own traffic, because a recording holds no baseline started afresh.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from math import ceil
from statistics import fmean

from sternway.backtest.peers.rank_test import shift_interval
from sternway.backtest.peers.rule import Said
from sternway.backtest.seconds import Second, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class KayentaSettings:
    """Lifetime and interval as Spinnaker's best practices recommend: enough points of a minute for the test.

    tolerance .25, confidence .98: NetflixACAJudge.scala:146. allowed_increase 1: :119-129. A score at or below
    `marginal` fails: with three equal groups, one High metric does.
    """

    interval_s: float = 3600.0
    lifetime_s: float = 3600.0
    tolerance: float = 0.25
    confidence: float = 0.98
    allowed_increase: float = 1.0
    marginal: float = 75.0


POINT_S = 60.0
ERRORS, MEAN, P99 = "error percentage", "mean duration", "p99"
TOO_MANY_WITHOUT_DATA = 0.5


@dataclass(slots=True)
class _Points:
    """One version's points, and the minute that is being filled."""

    by: dict[str, list[float]] = field(default_factory=lambda: {ERRORS: [], MEAN: [], P99: []})
    total: int = 0
    bad: int = 0
    durations_ms: array[float] = field(default_factory=lambda: array("d"))

    def add(self, side: Side) -> None:
        self.total += side.total
        self.bad += side.bad
        self.durations_ms.extend(side.durations_ms)

    def close(self) -> None:
        """Make a point of the minute; a minute without answers is NaN and left out."""
        if self.total:
            self.by[ERRORS].append(100.0 * self.bad / self.total)
        if self.durations_ms:
            ordered = sorted(self.durations_ms)
            self.by[MEAN].append(fmean(ordered))
            self.by[P99].append(ordered[ceil(0.99 * len(ordered)) - 1])
        self.total = self.bad = 0
        self.durations_ms = array("d")


class Kayenta:
    """The rule over one release."""

    def __init__(self, settings: KayentaSettings) -> None:
        self.decided_s: float | None = None
        self.reason = "no interval ended"
        self._settings = settings
        self._control, self._experiment = _Points(), _Points()
        self._start_s = 0.0
        self._next_s = 0.0
        self._point_s = 0.0
        self._timed = True
        self._passed = False

    def begin(self, start_s: float) -> None:
        """Judge first when an interval is over."""
        self._start_s = start_s
        self._next_s = start_s + min(self._settings.interval_s, self._settings.lifetime_s)
        self._point_s = start_s + POINT_S

    def add(self, second: Second) -> None:
        """Add to the minute, unless the lifetime is over."""
        if self._passed:
            return
        self._timed = second.timed
        self._control.add(second.stable)
        self._experiment.add(second.candidate)

    def advance(self, now_s: float) -> None:
        """Close minutes, and judge when an interval ends."""
        while self.decided_s is None and not self._passed and min(self._point_s, self._next_s) <= now_s:
            if self._point_s <= self._next_s:
                self._control.close()
                self._experiment.close()
                self._point_s += POINT_S
            else:
                self._judge(self._next_s)

    def ended(self) -> Said:
        """Healthy when the whole lifetime passed."""
        return Said.HEALTHY if self._passed else Said.UNDECIDED

    def _judge(self, at_s: float) -> None:
        settings = self._settings
        score, why = self._score()
        self.reason = f"score {score:.0f}{why}"
        if score <= settings.marginal:
            self.decided_s = at_s
        elif at_s >= self._start_s + settings.lifetime_s:
            self._passed = True
        self._next_s = min(at_s + settings.interval_s, self._start_s + settings.lifetime_s)

    def _score(self) -> tuple[float, str]:
        names = (ERRORS, MEAN, P99) if self._timed else (ERRORS,)
        known = [name for name in names if self._control.by[name] and self._experiment.by[name]]
        if len(names) - len(known) >= TOO_MANY_WITHOUT_DATA * len(names):
            return 0.0, ": no data"
        high = [name for name in known if self._is_high(self._control.by[name], self._experiment.by[name])]
        score = 100.0 * (len(known) - len(high)) / len(known)
        return score, f": {', '.join(high)} High" if high else ""

    def _is_high(self, control: list[float], experiment: list[float]) -> bool:
        if sorted(control) == sorted(experiment) or len({*control, *experiment}) == 1:
            return False
        found = shift_interval(experiment, control, confidence=self._settings.confidence)
        if found.low <= self._settings.tolerance * abs(found.estimate):
            return False
        usual = fmean(control)
        return not usual or fmean(experiment) / usual >= self._settings.allowed_increase
