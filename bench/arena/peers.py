"""Flagger, Argo Rollouts and Kayenta over R releases at once. Used by `bench` and `tuning`.

The facts, with their sources, and the settings stand in `sternway.backtest.peers`; these do the same for arrays, and
tests hold them equal. A peer looks at whole seconds. Its weight is fixed, or rises as its documentation has it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from bench.arena import ranks
from bench.arena.chance import Bools, Floats, Ints
from bench.arena.durations import MIDDLES_MS, above
from bench.arena.rules import CANDIDATE_BAD, CANDIDATE_TOTAL, Said, Seen, Setup
from sternway.backtest.peers.argo import ArgoSettings
from sternway.backtest.peers.flagger import LEAST_THRESHOLD, SHORTEST_INTERVAL_S, SLOW_SHARE, FlaggerSettings
from sternway.backtest.peers.kayenta import POINT_S, KayentaSettings


class Seconds:
    """Whole seconds out of ticks: running sums [R, fields] at each second's end, as far back as a window reaches."""

    def __init__(self, size: int, fields: int, reach_s: float) -> None:
        self._kept = np.zeros((int(reach_s) + 1, size, fields), dtype=np.int64)
        self._open = np.zeros((size, fields), dtype=np.int64)
        self.second = 0

    def add(self, counts: Ints, end_s: float) -> bool:
        """Add a tick; True when it ends a second."""
        self._open += counts
        if abs(end_s - round(end_s)) > 1e-6:
            return False
        self.second = round(end_s)
        self._kept[self.second % len(self._kept)] = self._open
        return True

    def last(self, seconds: float) -> Ints:
        """[R, fields] The sums of so many seconds until now, or of all when there are not so many."""
        now = self._kept[self.second % len(self._kept)]
        if seconds >= self.second:
            return now.copy()
        return now - self._kept[(self.second - int(seconds)) % len(self._kept)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How a peer's weight goes. percents: one after the other. every_s: how long one holds at least, if not `earned`.

    earned: a passed check raises it, as with Flagger. looks_from: the index from which it is analysed. Beyond the last
    weight it is promoted; a path of one weight that is not `ends` stays.
    """

    percents: tuple[float, ...] = (10.0,)
    every_s: float = 0.0
    earned: bool = False
    looks_from: int = 0
    ends: bool = False


def steady(percent: float) -> Path:
    """The same weight to the end."""
    return Path(percents=(percent,))


FLAGGER_PATH = Path(percents=(10.0, 20.0, 30.0, 40.0, 50.0), earned=True, ends=True)
"""stepWeight 10, maxWeight 50: docs/gitbook/tutorials/istio-progressive-delivery.md:114-122."""
ARGO_PATH = Path(percents=(20.0, 40.0, 60.0, 80.0), every_s=600.0, looks_from=1, ends=True)
"""setWeight 20, 40, 60, 80 with pauses of 10 m, startingStep 2: docs/features/analysis.md, background analysis."""
KAYENTA_PATH = Path(percents=(10.0,), ends=True)
"""One weight for its lifetime, then promoted."""


class _Peer(ABC):
    """What peers have in common: seconds, when checks are due, the weight, the last word."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, setup: Setup) -> Floats:
        """Begin; `_begin` adds what a rule remembers."""
        size = setup.size
        self._setup = setup
        self._index = np.zeros(size, dtype=np.int64)
        self._began_s = np.full(size, np.nan)
        self._stepped_s = np.zeros(size)
        self._condemned, self._shipped = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        self._never = np.zeros(size, dtype=bool)
        self._waits = self._path.looks_from > 0
        self._begin(size)
        return self._share()

    def step(self, seen: Seen) -> Said:
        """Take a tick in; at the end of a second see what is due."""
        if self._seconds.add(self._fields(seen), seen.end_s):
            now_s = float(self._seconds.second)
            self._look(now_s)
            self._climb(now_s)
        return Said(
            share=np.where(self._shipped, 1.0, self._share()),
            condemned=self._condemned,
            withdrawn=self._never,
            shipped=self._shipped,
            asked=self._never,
        )

    _seconds: Seconds

    @abstractmethod
    def _begin(self, size: int) -> None:
        """Make `_seconds`, and what the rule remembers."""

    @abstractmethod
    def _fields(self, seen: Seen) -> Ints:
        """[R, fields] What the rule counts; the candidate's answers first."""

    @abstractmethod
    def _look(self, now_s: float) -> None:
        """See what is due at the end of a second."""

    def _starts(self, now_s: float) -> Bools:
        """[R] Whose analysis begins with the second that ends now: the candidate answers, at a weight that is analysed."""
        if not np.isnan(self._began_s).any():
            return self._never
        begins = np.isnan(self._began_s) & (self._index >= self._path.looks_from)
        begins &= self._seconds.last(1.0)[:, 0] > 0
        self._began_s = np.where(begins, now_s - 1.0, self._began_s)
        return begins

    def _climb(self, now_s: float) -> None:
        path = self._path
        if not path.every_s:
            return
        up = ~self._condemned & ~self._shipped & (now_s - self._stepped_s >= path.every_s)
        self._raise(up, now_s)

    def _raise(self, up: Bools, now_s: float) -> None:
        last = self._index + 1 >= len(self._path.percents)
        self._shipped |= up & last & self._path.ends
        self._index = np.where(up & ~last, self._index + 1, self._index)
        self._stepped_s = np.where(up, now_s, self._stepped_s)

    def _share(self) -> Floats:
        return np.array(self._path.percents)[self._index] / 100.0


class Flagger(_Peer):
    """Success rate and p99 over a window at every interval; a counter of failed checks."""

    def __init__(self, settings: FlaggerSettings, path: Path) -> None:
        super().__init__(path)
        self._settings = settings
        self._interval_s = max(settings.interval_s, SHORTEST_INTERVAL_S)
        self._threshold = max(settings.threshold, LEAST_THRESHOLD)

    def _begin(self, size: int) -> None:
        self._seconds = Seconds(size, 3, max(self._settings.window_s, 1.0))
        self._next_s = np.full(size, np.inf)
        self._failed = np.zeros(size, dtype=np.int64)
        self._slow_at = above(self._settings.latency_ms)

    def _fields(self, seen: Seen) -> Ints:
        ours = seen.errors[:, [CANDIDATE_TOTAL, CANDIDATE_BAD, CANDIDATE_BAD]]
        ours[:, 2] = 0 if seen.slower is None else seen.slower[:, 0, self._slow_at]
        return ours

    def _look(self, now_s: float) -> None:
        self._next_s = np.where(self._starts(now_s), self._began_s + self._interval_s, self._next_s)
        due = (self._next_s <= now_s) & ~self._condemned & ~self._shipped
        if not due.any():
            return
        over = due & (self._failed >= self._threshold)
        self._condemned |= over
        checked = due & ~over
        total, bad, slow = np.moveaxis(self._seconds.last(self._settings.window_s), 1, 0)
        success = 100.0 * (total - bad) / np.maximum(total, 1)
        fails = (total == 0) | (success < self._settings.success_percent) | (slow > SLOW_SHARE * total)
        self._failed += checked & fails
        if self._path.earned:
            self._raise(checked & ~fails, now_s)
        self._next_s = np.where(due, self._next_s + self._interval_s, self._next_s)


class Argo(_Peer):
    """A success rate measured at every interval, and a limit of failed measurements."""

    def __init__(self, settings: ArgoSettings, path: Path) -> None:
        super().__init__(path)
        self._settings = settings

    def _begin(self, size: int) -> None:
        self._seconds = Seconds(size, 2, max(self._settings.window_s, 1.0))
        self._next_s = np.full(size, np.inf)
        self._failed = np.zeros(size, dtype=np.int64)

    def _fields(self, seen: Seen) -> Ints:
        return seen.errors[:, [CANDIDATE_TOTAL, CANDIDATE_BAD]]

    def _look(self, now_s: float) -> None:
        settings = self._settings
        self._next_s = np.where(self._starts(now_s), self._began_s + settings.window_s, self._next_s)
        due = (self._next_s <= now_s) & ~self._condemned & ~self._shipped
        if not due.any():
            return
        total, bad = np.moveaxis(self._seconds.last(settings.window_s), 1, 0)
        fails = (total == 0) | ((total - bad) / np.maximum(total, 1) < settings.success)
        self._failed += due & fails
        self._condemned |= due & (self._failed > settings.failure_limit)
        self._next_s = np.where(due, self._next_s + settings.interval_s, self._next_s)


class Kayenta(_Peer):
    """Points of each minute, candidate against stable, by a rank test."""

    def __init__(self, settings: KayentaSettings, path: Path) -> None:
        super().__init__(path)
        self._settings = settings

    def _begin(self, size: int) -> None:
        self._buckets = len(MIDDLES_MS)
        self._seconds = Seconds(size, 4 + 2 * self._buckets, POINT_S)
        self._next_s, self._point_s = np.full(size, np.inf), np.full(size, np.inf)
        points = int(np.ceil(self._settings.lifetime_s / POINT_S)) + 1
        self._points = np.full((2, 3, size, points), np.nan)
        self._count = np.zeros(size, dtype=np.int64)
        self._passed = np.zeros(size, dtype=bool)
        self._timed = True

    def _fields(self, seen: Seen) -> Ints:
        self._timed = seen.slower is not None
        between = np.zeros((len(seen.share), 2 * self._buckets), dtype=np.int64)
        if seen.slower is not None:
            totals = seen.errors[:, ::2, None]
            above_ = np.concatenate((totals, seen.slower, np.zeros_like(totals)), axis=2)
            between = -np.diff(above_, axis=2).reshape(len(seen.share), -1)
        return np.concatenate((seen.errors, between), axis=1)

    def _look(self, now_s: float) -> None:
        settings = self._settings
        begins = self._starts(now_s)
        if begins.any():
            first_s = min(settings.interval_s, settings.lifetime_s)
            self._next_s = np.where(begins, self._began_s + first_s, self._next_s)
            self._point_s = np.where(begins, self._began_s + POINT_S, self._point_s)
        open_ = ~self._condemned & ~self._passed
        points = open_ & (self._point_s <= now_s)
        if points.any():
            self._add_points(points)
            self._point_s = np.where(points, self._point_s + POINT_S, self._point_s)
        due = open_ & (self._next_s <= now_s)
        if due.any():
            rows = np.nonzero(due)[0]
            self._condemned[rows] = self._scores(rows) <= settings.marginal
            self._passed |= due & ~self._condemned & (now_s >= self._began_s + settings.lifetime_s)
            self._next_s = np.where(
                due, np.minimum(now_s + settings.interval_s, self._began_s + settings.lifetime_s), self._next_s
            )
            self._shipped |= self._passed & self._path.ends

    def _add_points(self, which: Bools) -> None:
        sums = self._seconds.last(POINT_S)
        rows = np.nonzero(which)[0]
        at = self._count[rows]
        for version, column in ((0, CANDIDATE_TOTAL), (1, 2)):
            total, bad = sums[rows, column], sums[rows, column + 1]
            some = total > 0
            percent = 100.0 * bad / np.maximum(total, 1)
            self._points[version, 0, rows, at] = np.where(some, percent, np.nan)
            if self._timed:
                counts = sums[rows, 4 + version * self._buckets : 4 + (version + 1) * self._buckets]
                mean, p99 = _figures(counts)
                self._points[version, 1, rows, at], self._points[version, 2, rows, at] = mean, p99
        self._count += which

    def _scores(self, rows: Ints) -> Floats:
        high, known = np.zeros(len(rows)), np.zeros(len(rows))
        metrics = 3 if self._timed else 1
        for metric in range(metrics):
            experiment, control = self._points[0, metric, rows], self._points[1, metric, rows]
            here = ~np.isnan(experiment).all(axis=1) & ~np.isnan(control).all(axis=1)
            known += here
            high[here] += self._high(control[here], experiment[here])
        enough = metrics - known < 0.5 * metrics
        return np.where(enough, 100.0 * (known - high) / np.maximum(known, 1.0), 0.0)

    def _high(self, control: Floats, experiment: Floats) -> Bools:
        found = np.zeros(len(control), dtype=bool)
        if not len(control):
            return found
        at = np.nonzero(~ranks.alike(control, experiment))[0]
        if not at.size:
            return found
        control, experiment = control[at], experiment[at]
        low, estimate = ranks.shift_low(experiment, control, confidence=self._settings.confidence)
        usual, ours = np.nanmean(control, axis=1), np.nanmean(experiment, axis=1)
        ratio = ours / np.where(usual == 0.0, 1.0, usual)
        enough = (usual == 0.0) | (ratio >= self._settings.allowed_increase)
        found[at] = (low > self._settings.tolerance * np.abs(estimate)) & enough
        return found


def _figures(counts: Ints) -> tuple[Floats, Floats]:
    """Mean and p99 of histograms [R, between edges]; NaN where nothing was counted."""
    total = counts.sum(axis=1)
    some = total > 0
    mean = (counts * MIDDLES_MS).sum(axis=1) / np.maximum(total, 1)
    rank = np.ceil(0.99 * total).astype(np.int64)
    p99 = MIDDLES_MS[(np.cumsum(counts, axis=1) >= np.maximum(rank, 1)[:, None]).argmax(axis=1)]
    return np.where(some, mean, np.nan), np.where(some, p99, np.nan)
