"""A range of Prometheus's past, counted as the present is. Called by `sternway prometheus record` through `sternway.bootstrap`.

Each query is asked once an hour of the past, with everything that was scraped in it; the instants at which the metric would have
been looked at are played over these samples, by the counting that counts live ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sternway.domain.metrics import MetricAsk, MetricQuestion
from sternway.domain.tallies import Tally
from sternway.endpoint import HttpSource
from sternway.signals.prometheus import MOST_RANGE_S, Counted, instant

CHUNK_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was counted of both versions, oldest first. missing: (version, why nothing of it was there), at the end."""

    tallies: tuple[Tally, ...]
    missing: tuple[tuple[str, str], ...]


async def count_past(source: HttpSource, question: MetricQuestion, *, start_s: float, end_s: float) -> Past:
    """Count ratios and histograms between two instants of Prometheus's clock, in s since 1970. Raises SignalUnavailable.

    The samples at `start_s` are where counting begins; a tally's times are Prometheus's too.
    """
    tallies: list[Tally] = []
    missing: dict[str, str] = {}
    for ask in question.asks:
        counted = Counted(ask, question)
        last = None
        for chunk in _chunks(source, ask, start_s, end_s):
            for at_s in chunk.instants():
                more, last = await counted.count(_Then(chunk, at_s), at_s)
                tallies += more
        for version in (question.stable, question.candidate):
            if last is not None and not any((one.version, one.criterion) == (version, ask.name) for one in tallies):
                missing.setdefault(version, last[1])
    return Past(tallies=tuple(sorted(tallies, key=lambda one: one.end_s)), missing=tuple(missing.items()))


def _chunks(source: HttpSource, ask: MetricAsk, start_s: float, end_s: float) -> Iterator[_Chunk]:
    """Cut at the metric's own instants, so that none falls between two pieces."""
    steps = max(1, int(CHUNK_S // ask.interval_s))
    first, last = 0, int((end_s - start_s) // ask.interval_s)
    while first <= last:
        until = min(last, first + steps - 1)
        yield _Chunk(source, start_s, ask.interval_s, first, until)
        first = until + 1


class _Chunk:
    """Some instants, `interval_s` apart, and all samples that a look at one of them can reach back to."""

    def __init__(self, source: HttpSource, origin_s: float, interval_s: float, first: int, last: int) -> None:
        self._source = source
        self._origin_s = origin_s
        self._interval_s = interval_s
        self._numbers = range(first, last + 1)
        self._known: dict[str, list[_Samples]] = {}

    def instants(self) -> Iterator[float]:
        """When it is looked, in s."""
        return (self._at_s(number) for number in self._numbers)

    async def samples(self, selector: str) -> list[_Samples]:
        """All that was scraped."""
        if selector not in self._known:
            until_s = self._at_s(self._numbers[-1])
            range_s = until_s - self._at_s(self._numbers[0]) + MOST_RANGE_S
            found = await instant(self._source, f"{selector}[{round(range_s * 1000)}ms]", at=f"{until_s:.3f}")
            self._known[selector] = [_Samples(one) for one in found["result"]]
        return self._known[selector]

    def _at_s(self, number: int) -> float:
        return self._origin_s + number * self._interval_s


class _Samples:
    """One series, and when each of its samples was scraped."""

    def __init__(self, series: Mapping[str, Any]) -> None:
        self._metric = series["metric"]
        self._kinds = {name: series[name] for name in ("values", "histograms") if series.get(name)}
        self._times = {name: [float(one[0]) for one in kind] for name, kind in self._kinds.items()}

    def between(self, after_s: float, until_s: float) -> Mapping[str, Any]:
        """Give the series as Prometheus would, with the samples of a range that is open at its left."""
        cut: dict[str, Sequence[Any]] = {}
        for name, kind in self._kinds.items():
            times = self._times[name]
            cut[name] = kind[bisect_right(times, after_s) : bisect_right(times, until_s)]
        return {"metric": self._metric, **cut}


class _Then:
    """An instant of the past; see `prometheus.Instant`."""

    def __init__(self, chunk: _Chunk, at_s: float) -> None:
        self._chunk = chunk
        self.at_s = at_s

    async def query(self, query: str) -> Any:
        """Answer `SELECTOR[RANGE ms]`."""
        selector, _, within = query.rpartition("[")
        after_s = self.at_s - float(within.removesuffix("ms]")) / 1000
        found = await self._chunk.samples(selector)
        return {"resultType": "matrix", "result": [one.between(after_s, self.at_s) for one in found]}
