"""Tries a Guard's queries before a release needs them. Called by `sternway check` through `sternway.bootstrap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sternway.domain.monitoring import Endpoint
from sternway.endpoint import HttpSource
from sternway.errors import SignalUnavailable
from sternway.signals.prometheus import instant, raw_series, single_value

_RANGE = "5m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One filled-in query of a metric. counter: it is a selector of counters."""

    service: str
    metric: str
    text: str
    counter: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of it. ok: an answer of the right kind, which may be empty."""

    service: str
    metric: str
    query: str
    found: str
    ok: bool


async def try_queries(endpoint: Endpoint, queries: Sequence[Query]) -> tuple[Tried, ...]:
    """Ask each query once. Nobody there is not the queries' fault: then one line says so, and they are not tried."""
    source = HttpSource("Prometheus", lambda: endpoint)
    try:
        await instant(source, "time()")
    except SignalUnavailable as trouble:
        await source.close()
        return (Tried(service="", metric="", query="", found=trouble.message, ok=True),)
    try:
        return tuple([await _try(source, query) for query in queries])
    finally:
        await source.close()


async def _try(source: HttpSource, query: Query) -> Tried:
    try:
        if query.counter:
            series = raw_series(await instant(source, f"{query.text}[{_RANGE}]"))
            total = sum(one.samples[-1][1] for one in series)
            found = f"{len(series)} series, {total:g} in all" if series else "no series yet"
        else:
            value = single_value(await instant(source, query.text))
            found = "no value yet" if value is None else f"{value:g}"
        ok = True
    except SignalUnavailable as trouble:
        found, ok = trouble.message, False
    except (ValueError, LookupError, TypeError):
        found, ok = "Prometheus answered with what cannot be read", False
    return Tried(service=query.service, metric=query.metric, query=query.text, found=found, ok=ok)
