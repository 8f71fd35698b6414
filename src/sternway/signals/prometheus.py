"""Prometheus as a signal source: ratios and histograms become tallies, values become samples. Used by `together`.

Every system that speaks Prometheus's HTTP API will do: Thanos, Mimir, VictoriaMetrics.

Each service under release has a task that asks at the intervals of its metrics. One round begins with `time()`: all its queries are
evaluated at this instant of the server's clock, so two clocks that differ do no harm, and counters that belong together
are read together. Counters are read raw, as they were scraped (a selector with a range), and counted by `counters`.

What is slow, wrong, empty or gone is `Unseen`, with the reason; it is never a bad value.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sternway.clock import Clock
from sternway.domain.metrics import MetricAsk, MetricQuestion, Sample, Unseen
from sternway.domain.monitoring import Endpoint
from sternway.domain.tallies import Question, Reading, Tally
from sternway.endpoint import HttpSource
from sternway.errors import SignalUnavailable
from sternway.signals.counters import Growth, Labels, Series

AT_ONCE = 4
"""So many queries of a service are under way at the same time."""
LEAST_RANGE_S, MOST_RANGE_S = 10.0, 300.0
"""How far back raw samples are read: further and further while there are none; 300 s is where Prometheus stops too."""
FROZEN_AFTER = 4.0
"""A source is frozen when its last sample is so many scrapes old."""
ENOUGH_ANSWERS = 100
"""So many answers of stable fix the bucket that divides quick from slow."""


class Prometheus:
    """Implements ports.SignalSource for metrics alone. wake: called with a service's name when something came in."""

    def __init__(
        self, *, clock: Clock, where: Callable[[], Endpoint | None], wake: Callable[[str], None] = lambda _: None
    ) -> None:
        self._clock = clock
        self._wake = wake
        self.source = HttpSource("Prometheus", where)
        self._watched: dict[str, _Watched] = {}

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        watched = self._watched.get(service)
        return watched.read() if watched else Reading()

    def ask(self, service: str, question: Question | None) -> None:
        """See ports.SignalSource."""
        metrics = question.metrics if question and question.metrics and question.metrics.asks else None
        watched = self._watched.get(service)
        if watched is not None and metrics == watched.question:
            return
        if watched is not None:
            watched.stop()
            del self._watched[service]
        if metrics is not None:
            self._watched[service] = _Watched(self._clock, self.source, metrics, lambda: self._wake(service))

    async def close(self) -> None:
        """Stop asking."""
        for watched in self._watched.values():
            watched.stop()
        self._watched.clear()
        await self.source.close()


class Instant(Protocol):
    """An instant of Prometheus's clock, at which queries are evaluated."""

    @property
    def at_s(self) -> float:
        """When."""
        ...

    async def query(self, query: str) -> Any:
        """Give resultType and result. Raises SignalUnavailable."""
        ...


@dataclass(slots=True)
class _Round:
    """Now, by the server's clock; the same query is asked once."""

    source: HttpSource
    at: str
    at_s: float
    gate: asyncio.Semaphore
    asked: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    async def query(self, query: str) -> Any:
        if query not in self.asked:
            self.asked[query] = asyncio.create_task(self._ask(query))
        return await self.asked[query]

    async def _ask(self, query: str) -> Any:
        async with self.gate:
            return await instant(self.source, query, at=self.at)


class _Watched:
    """What is asked of one service, and what has come in since it was last read."""

    def __init__(self, clock: Clock, source: HttpSource, question: MetricQuestion, wake: Callable[[], None]) -> None:
        self.question = question
        self._clock = clock
        self._source = source
        self._wake = wake
        self._tallies: list[Tally] = []
        self._samples: list[Sample] = []
        began_s = clock.now()
        self._unseen = {ask.name: Unseen(criterion=ask.name, since_s=began_s, why=NOT_YET) for ask in question.asks}
        self._counted = {ask.name: Counted(ask, question) for ask in question.asks if ask.counts_requests}
        self._task = asyncio.create_task(self._run(), name="ask Prometheus")

    def read(self) -> Reading:
        """Everything since the last read."""
        tallies, self._tallies = tuple(self._tallies), []
        samples, self._samples = tuple(self._samples), []
        return Reading(tallies=tallies, samples=samples, unseen=tuple(self._unseen.values()))

    def stop(self) -> None:
        """Ask no more."""
        self._task.cancel()

    async def _run(self) -> None:
        due_s = dict.fromkeys((ask.name for ask in self.question.asks), self._clock.now())
        while True:
            now_s = self._clock.now()
            due = [ask for ask in self.question.asks if due_s[ask.name] <= now_s]
            try:
                await self._round(due)
            except Exception as mistake:  # noqa: BLE001  a bug here must not look like a release without harm
                for ask in due:
                    self._missed(ask, f"unexpected {type(mistake).__name__}: {mistake}")
            for ask in due:
                due_s[ask.name] = max(due_s[ask.name] + ask.interval_s, now_s + ask.interval_s / 2)
            self._wake()
            await asyncio.sleep(max(0.0, min(due_s.values()) - self._clock.now()))

    async def _round(self, due: list[MetricAsk]) -> None:
        try:
            _, text = (await instant(self._source, "time()"))["result"]
            at_s = float(text)
        except (SignalUnavailable, ValueError, LookupError, TypeError) as trouble:
            for ask in due:
                self._missed(ask, _said(trouble))
            return
        now = _Round(source=self._source, at=text, at_s=at_s, gate=asyncio.Semaphore(AT_ONCE))
        await asyncio.gather(*(self._measure(now, ask) for ask in due))

    async def _measure(self, now: _Round, ask: MetricAsk) -> None:
        try:
            if ask.name in self._counted:
                tallies, missing = await self._counted[ask.name].count(now, self._clock.now())
                self._tallies += tallies
            else:
                sample, missing = await _values(now, ask, self._clock.now())
                self._samples.append(sample)
        except (SignalUnavailable, ValueError, LookupError, TypeError) as trouble:
            self._missed(ask, _said(trouble))
            return
        if missing:
            self._missed(ask, missing[1], role=missing[0], sampled=True)
        else:
            self._unseen.pop(ask.name, None)

    def _missed(self, ask: MetricAsk, why: str, *, role: str = "", sampled: bool = False) -> None:
        before = self._unseen.get(ask.name)
        since_s = before.since_s if before is not None and before.role in ("", role) else self._clock.now()
        self._unseen[ask.name] = Unseen(criterion=ask.name, since_s=since_s, why=why, role=role)
        if not sampled and ask.name not in self._counted:
            self._samples.append(Sample(criterion=ask.name, at_s=self._clock.now()))


NOT_YET = "not measured yet"
Missing = tuple[str, str] | None
"""Whose values are missing (`candidate`, `stable`, or `` for all), and why."""


class Counted:
    """A ratio or a histogram, for both versions: counted live, and by `past`."""

    def __init__(self, ask: MetricAsk, question: MetricQuestion) -> None:
        self._ask = ask
        self._sides = {
            "stable": _Side(ask, question.stable, ask.stable),
            "candidate": _Side(ask, question.candidate, ask.candidate, fresh=True),
        }
        self._before_s: float | None = None
        self._edge: str = ""
        self._range_s = max(LEAST_RANGE_S, 2 * ask.interval_s)

    async def count(self, now: Instant, our_s: float) -> tuple[list[Tally], Missing]:
        """Count one interval. our_s: the instant by our own clock."""
        if self._ask.stable == self._ask.candidate:
            return [], ("", "the queries are the same for both versions: use $(version) or a label that differs")
        range_s = f"{math.ceil(self._range_s * 1000)}ms"
        if self._before_s is None:
            for side in self._sides.values():
                side.count_from(now.at_s)
        await asyncio.gather(*(side.take(now, range_s, self._edge) for side in self._sides.values()))
        missing = self._missing(now)
        if self._ask.kind == "slower" and not self._edge:
            self._edge = self._sides["stable"].edge(self._ask.quantile)
        start_s, self._before_s = self._before_s, our_s
        if self._ask.kind == "slower" and not self._edge:
            return [], missing or (
                "",
                f"stable has given fewer than {ENOUGH_ANSWERS} answers, or slower than any bucket",
            )
        tallies = [side.tally(self._edge, start_s, our_s) for side in self._sides.values()] if start_s else []
        return [tally for tally in tallies if tally is not None], missing

    def _missing(self, now: Instant) -> Missing:
        said = {role: side.missing(now.at_s) for role, side in self._sides.items()}
        if not any(said.values()):
            return None
        if any("no series" in (text or "") for text in said.values()) and self._range_s < MOST_RANGE_S:
            self._range_s = min(MOST_RANGE_S, 2 * self._range_s)  # scrapes may be further apart
        if all(said.values()):
            return "", said["candidate"] or ""
        role = "candidate" if said["candidate"] else "stable"
        return role, said[role] or ""


class _Side:
    """One version's counters."""

    def __init__(self, ask: MetricAsk, version: str, queries: tuple[str, ...], *, fresh: bool = False) -> None:
        self._ask = ask
        self._version = version
        self._queries = queries
        targets: dict[Labels, float] = {}
        self._growth = [Growth(targets=targets, fresh=fresh) for _ in queries]
        self._seen = False
        self._open = [0.0] * len(queries)
        self._buckets: dict[str, float] = {}

    def count_from(self, at_s: float) -> None:
        """What was scraped until then is not counted."""
        for growth in self._growth:
            growth.since_s = at_s

    async def take(self, now: Instant, range_s: str, edge: str) -> None:
        """Read the counters. The bad ones first: the targets that they are at are told by all of them."""
        for at, query in enumerate(self._queries):
            found = raw_series(await now.query(f"{query}[{range_s}]"), edge=edge)
            grown = self._growth[at].take(found)
            self._seen = bool(found)
            self._open[at] += sum(grown.values())
            for labels, value in grown.items() if self._ask.kind == "slower" else ():
                edge = dict(labels).get("le", "")
                self._buckets[edge] = self._buckets.get(edge, 0.0) + value

    def missing(self, at_s: float) -> str | None:
        """Why nothing can be seen of this version, or None."""
        growth = self._growth[-1]
        if not self._seen or growth.newest_s is None:
            return f"no series for {self._version}: {self._queries[-1]}"
        age_s = at_s - growth.newest_s
        if growth.spacing_s is not None and age_s > FROZEN_AFTER * growth.spacing_s + self._ask.interval_s:
            return f"the last sample of {self._version} is {age_s:.0f} s old"
        return None

    def edge(self, quantile: float) -> str:
        """The end of the bucket that holds the quantile; "" while there are too few answers, or when it has none."""
        sums: dict[str, float] = {}
        for labels, value in self._growth[0].values().items():
            edge = dict(labels).get("le", "")
            sums[edge] = sums.get(edge, 0.0) + value
        total = max(sums.values(), default=0.0)
        if total < ENOUGH_ANSWERS:
            return ""
        finite = sorted((edge for edge in sums if _number(edge) < math.inf), key=_number)
        return next((edge for edge in finite if sums[edge] >= quantile * total), "")

    def tally(self, edge: str, start_s: float, end_s: float) -> Tally | None:
        """Everything since the last one, in whole numbers; what is over waits for the next."""
        if self._ask.kind == "slower":
            total = self._buckets.get("+Inf", 0.0)
            bad = max(0.0, total - self._buckets.get(edge, 0.0))
            self._buckets = {}
            self._open = [bad, total]
        whole = int(self._open[-1])
        bad_whole = min(int(self._open[0]), whole)
        self._open = [self._open[0] - bad_whole, self._open[-1] - whole]
        if not whole:
            return None
        return Tally(
            version=self._version, criterion=self._ask.name, start_s=start_s, end_s=end_s, total=whole, bad=bad_whole
        )


async def instant(source: HttpSource, query: str, *, at: str | None = None) -> Mapping[str, Any]:
    """Evaluate a query at one instant; gives resultType and result. Raises SignalUnavailable."""
    form = {"query": query, "partial_response": "false"} | ({"time": at} if at else {})
    found = await source.ask("/api/v1/query", form)
    if not isinstance(found, dict) or found.get("status") != "success" or not isinstance(found.get("data"), dict):
        raise SignalUnavailable("Prometheus answered with something else than a result")
    return dict(found["data"])


def single_value(data: Mapping[str, Any]) -> float | None:
    """The one value of a result; None when there is none, or none that is a finite number. Raises SignalUnavailable."""
    result = data["result"]
    if data["resultType"] == "scalar":
        value = float(result[1])
    elif data["resultType"] != "vector":
        raise SignalUnavailable(f"the query gives a {data['resultType']}, not a value")
    elif not result:
        return None
    elif len(result) > 1:
        raise SignalUnavailable(f"the query gives {len(result)} series instead of one: aggregate them, say with sum()")
    else:
        value = float(result[0]["value"][1])
    return value if math.isfinite(value) else None


async def _values(now: _Round, ask: MetricAsk, our_s: float) -> tuple[Sample, Missing]:
    if ask.kind == "versus" and ask.stable == ask.candidate:
        said = "the queries are the same for both versions: use $(version) or a label that differs"
        return Sample(criterion=ask.name, at_s=our_s), ("", said)
    candidate = single_value(await now.query(ask.candidate[0]))
    stable = None
    if ask.stable != ask.candidate:
        stable = single_value(await now.query(ask.stable[0]))
    sample = Sample(criterion=ask.name, at_s=our_s, candidate=candidate, stable=stable)
    if candidate is None and (stable is None or ask.stable == ask.candidate):
        return sample, ("", "the query gives no value")
    if candidate is None:
        return sample, ("candidate", f"the query gives no value: {ask.candidate[0]}")
    if stable is None and ask.kind == "versus":
        return sample, ("stable", f"the query gives no value: {ask.stable[0]}")
    return sample, None


def raw_series(data: Mapping[str, Any], *, edge: str = "") -> list[Series]:
    """The samples of a selector with a range. Raises SignalUnavailable.

    A native histogram becomes the series of a classic one, with every edge that has a bucket, and with `edge`.
    """
    if data["resultType"] != "matrix":
        raise SignalUnavailable(f"a selector gave a {data['resultType']} instead of samples")
    found: list[Series] = []
    for one in data["result"]:
        samples = [(float(at_s), float(value)) for at_s, value in one.get("values", ())]
        samples = [(at_s, value) for at_s, value in samples if math.isfinite(value)]
        if samples:
            found.append(Series(one["metric"], samples))
        found += _classic(one["metric"], one.get("histograms", ()), edge)
    return found


def _classic(labels: Mapping[str, str], histograms: Sequence[Any], edge: str) -> list[Series]:
    """Buckets are [which ends belong to it, low, high, count]; empty ones are left out."""
    edges = {str(bucket[2]) for _, one in histograms for bucket in one.get("buckets", ())} | ({edge} if edge else set())
    series: dict[str, list[tuple[float, float]]] = {text: [] for text in ("+Inf", *sorted(edges))}
    for at_s, one in histograms:
        buckets = [(_number(str(bucket[2])), float(bucket[3])) for bucket in one.get("buckets", ())]
        series["+Inf"].append((float(at_s), float(one["count"])))
        for text in edges - {"+Inf"}:
            below = sum(count for high, count in buckets if high <= _number(text))
            series[text].append((float(at_s), below))
    return [Series({**labels, "le": text}, samples) for text, samples in series.items() if samples]


def _number(edge: str) -> float:
    try:
        return float(edge)
    except ValueError:
        return math.inf


def _said(trouble: Exception) -> str:
    if isinstance(trouble, SignalUnavailable):
        return trouble.message
    return f"Prometheus answered with what cannot be read: {type(trouble).__name__}"
