"""Running figures that need no question: the rate, recent durations, and who called whom. No I/O.

Used by `sternway.signals.counting`. Everything here is bounded in memory and costs well under a microsecond a request.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import ceil, floor, log2
from typing import TypeVar

from sternway.domain.catalogue import Edge, Figures, ReplicaTraffic, VersionTraffic

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


class RecentRate:
    """Requests per second over the last ten seconds, in half-second buckets; unknown until one second was seen."""

    _BUCKETS = 20
    _PER_S = 2

    def __init__(self) -> None:
        self._counts = [0] * self._BUCKETS
        self._head = 0
        self._since_s: float | None = None

    def start(self, at_s: float) -> None:
        """Look from now on; what was counted before is forgotten."""
        self._counts = [0] * self._BUCKETS
        self._head = int(at_s * self._PER_S)
        self._since_s = at_s

    def add(self, at_s: float) -> None:
        """Count a request."""
        if self._since_s is None:
            self.start(at_s)
        bucket = int(at_s * self._PER_S)
        if bucket > self._head:
            self._advance(bucket)
        if bucket > self._head - self._BUCKETS:
            self._counts[bucket % self._BUCKETS] += 1

    def per_s(self, now_s: float) -> float | None:
        """Return the rate; it falls to zero when traffic stops."""
        if self._since_s is None:
            self.start(now_s)
            return None
        seen_s = now_s - self._since_s
        if seen_s < 1.0:
            return None
        self._advance(int(now_s * self._PER_S))
        oldest_s = (self._head - self._BUCKETS + 1) / self._PER_S
        return sum(self._counts) / min(seen_s, now_s - oldest_s)

    def _advance(self, bucket: int) -> None:
        for passed in range(max(self._head + 1, bucket - self._BUCKETS + 1), bucket + 1):
            self._counts[passed % self._BUCKETS] = 0
        self._head = max(self._head, bucket)


class RecentDurations:
    """The last good durations of one version, in milliseconds."""

    KEPT = 5_000
    NEEDED = 200

    def __init__(self) -> None:
        self._values = array("d")
        self._next = 0

    def add(self, duration_ms: float) -> None:
        """Keep a duration; the oldest gives way."""
        if len(self._values) < self.KEPT:
            self._values.append(duration_ms)
            return
        self._values[self._next] = duration_ms
        self._next = (self._next + 1) % self.KEPT

    def quantiles(self) -> tuple[tuple[float, float], ...]:
        """Nearest-rank quantiles (a share q of the values is at or below); empty when there are too few values."""
        count = len(self._values)
        if count < self.NEEDED:
            return ()
        ordered = sorted(self._values)
        return tuple((q, ordered[ceil(q * count) - 1]) for q in QUANTILES)


class _Cell:
    """Requests of one caller to one replica of one version, in one generation."""

    __slots__ = ("bad", "durations", "failed", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.bad = 0
        self.durations: dict[int, int] = {}


_Key = tuple[str | None, str, str | None]  # caller, version, replica
_T = TypeVar("_T", str, str | None, tuple[str, str])


class RecentTraffic:
    """Who called which replica of which version in the last 30 to 60 seconds: two generations of 30 seconds."""

    GENERATION_S = 30.0
    CALLERS_KEPT = 1_000
    _PER_OCTAVE = 8
    _SHORTEST_MS = 0.01

    def __init__(self, service: str) -> None:
        self._service = service
        self._generation = 0
        self._current: dict[_Key, _Cell] = {}
        self._previous: dict[_Key, _Cell] = {}
        self._since_s: float | None = None
        self._last_s: OrderedDict[str, float] = OrderedDict()

    def add(self, key: _Key, at_s: float, duration_ms: float, *, failed: bool, bad: bool) -> None:
        """Count a request. failed: its first attempt did; bad: so was the answer."""
        if self._since_s is None:
            self._since_s = at_s
        self._turn(at_s)
        cell = self._current.get(key)
        if cell is None:
            cell = self._current[key] = _Cell()
        cell.requests += 1
        cell.failed += failed
        cell.bad += bad
        bucket = floor(self._PER_OCTAVE * log2(max(duration_ms, self._SHORTEST_MS)))
        cell.durations[bucket] = cell.durations.get(bucket, 0) + 1
        caller = key[0]
        if caller is not None:
            self._last_s[caller] = at_s
            self._last_s.move_to_end(caller)
            if len(self._last_s) > self.CALLERS_KEPT:
                self._last_s.popitem(last=False)

    def edges(self, now_s: float) -> tuple[Edge, ...]:
        """Everyone who ever called the service, by name: of more than a thousand, those who called last."""
        recent = self._by(now_s, lambda key: key[0])
        return tuple(
            Edge(
                caller=caller,
                callee=self._service,
                figures=self._figures(recent.get(caller, ()), now_s, lambda cell: cell.bad),
                last_s=last_s,
            )
            for caller, last_s in sorted(self._last_s.items())
        )

    def versions(self, now_s: float) -> tuple[VersionTraffic, ...]:
        """Every version that had requests lately, with the replicas that answered."""
        replicas: dict[str, list[ReplicaTraffic]] = {}
        for (version, replica), cells in sorted(self._by(now_s, lambda key: (key[1], key[2] or "")).items()):
            if replica:
                figures = self._figures(cells, now_s, lambda cell: cell.bad)
                replicas.setdefault(version, []).append(ReplicaTraffic(replica=replica, figures=figures))
        return tuple(
            VersionTraffic(
                service=self._service,
                version=version,
                figures=self._figures(cells, now_s, lambda cell: cell.failed),
                replicas=tuple(replicas.get(version, ())),
            )
            for version, cells in sorted(self._by(now_s, lambda key: key[1]).items())
        )

    def _turn(self, at_s: float) -> None:
        generation = int(at_s / self.GENERATION_S)
        if generation > self._generation:
            self._previous = self._current if generation == self._generation + 1 else {}
            self._current = {}
            self._generation = generation

    def _by(self, now_s: float, part: Callable[[_Key], _T]) -> dict[_T, list[_Cell]]:
        self._turn(now_s)
        groups: dict[_T, list[_Cell]] = {}
        for generation in (self._previous, self._current):
            for key, cell in generation.items():
                groups.setdefault(part(key), []).append(cell)
        return groups

    def _figures(self, cells: Iterable[_Cell], now_s: float, bad: Callable[[_Cell], int]) -> Figures:
        durations: dict[int, int] = {}
        requests = bads = 0
        for cell in cells:
            requests += cell.requests
            bads += bad(cell)
            for bucket, count in cell.durations.items():
                durations[bucket] = durations.get(bucket, 0) + count
        if not requests:
            return Figures()
        oldest_s = max((self._generation - 1) * self.GENERATION_S, self._since_s or 0.0)
        return Figures(
            requests=requests,
            bad=bads,
            rate_per_s=requests / max(1.0, now_s - oldest_s),
            p50_ms=self._quantile(durations, ceil(0.5 * requests)),
            p99_ms=self._quantile(durations, ceil(0.99 * requests)),
        )

    def _quantile(self, durations: dict[int, int], rank: int) -> float:
        bucket = 0
        for bucket, count in sorted(durations.items()):  # noqa: B007 - the bucket where the rank falls is the answer
            rank -= count
            if rank <= 0:
                break
        return float(2.0 ** ((bucket + 0.5) / self._PER_OCTAVE))
