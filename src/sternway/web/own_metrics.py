"""What Sternway exports of itself: `GET /metrics`, in OpenMetrics or in Prometheus's own text. Served by `web.listeners`.

What is counted of releases comes from the journal, so it survives a restart; what passes take is this process's. Labels are
services and fixed words, never versions, callers or reasons: there are as many series as services.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sternway import __version__
from sternway.control.histograms import Durations, Histogram
from sternway.control.measures import By, Totals
from sternway.domain.releases import Phase, Progress, Release, Wanted
from sternway.domain.traffic import TrafficPlan
from sternway.errors import Temporary
from sternway.web import gather
from sternway.web.figures import Figures
from sternway.web.services import Services

NO_RELEASE = "none"
PHASES = (*(phase.value for phase in Phase if not phase.over), NO_RELEASE)
ENDS = (
    (Phase.PROMOTED, By.ENGINE),
    (Phase.PROMOTED, By.PERSON),
    (Phase.ROLLED_BACK, By.ENGINE),
    (Phase.ROLLED_BACK, By.PERSON),
    (Phase.SUPERSEDED, By.PERSON),
)
"""Every (outcome, by) that there is: all are exported, also at nought, so that the first one is an increase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNow:
    """One service as it is scraped. weight_percent: the candidate's share, by the proxies."""

    service: str
    totals: Totals
    release: Release | None
    weight_percent: float
    troubles: int
    wanted: Wanted | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """Everything that one scrape shows. troubles: those of no single service."""

    services: tuple[ServiceNow, ...]
    troubles: int
    durations: Durations
    queue_depth: int
    git_read_s: float | None


class OwnMetrics:
    """Answers scrapes; see `listeners.Part`."""

    name = "metrics"

    def __init__(self, services: Services, figures: Figures, *, where: Callable[[], str | None]) -> None:
        self._services = services
        self._figures = figures
        self._where = where

    def listen(self) -> str | None:
        """See Part."""
        return self._where()

    def routes(self) -> list[web.RouteDef]:
        """See Part."""
        return [web.get("/metrics", self._scrape)]

    async def _scrape(self, request: web.Request) -> web.Response:
        try:
            now = await self._read()
        except Temporary as trouble:  # a scrape that fails is seen by whoever scrapes; half the truth is not
            return web.Response(text=f"{trouble.message}\n", status=503)
        return await exposed(request, families(now))

    async def _read(self) -> Now:
        totals = await self._figures.totals()
        names = sorted({*await gather.names(self._services), *totals})
        found = [await self._service(name, totals.get(name) or Totals()) for name in names]
        everything = gather.troubles_now(self._services)
        return Now(
            services=tuple(found),
            troubles=len(everything) - sum(service.troubles for service in found),
            durations=self._services.reconciler.durations,
            queue_depth=self._services.queue.depth,
            git_read_s=self._services.history.read_at_s,
        )

    async def _service(self, name: str, totals: Totals) -> ServiceNow:
        progress = await self._services.reconciler.progress(name)
        return await service_now(
            progress,
            totals,
            observe=self._services.router.observe,
            troubles=len(gather.troubles_of(self._services, name, progress)),
            wanted=self._services.git.wanted(name),
        )


async def service_now(
    progress: Progress,
    totals: Totals,
    *,
    observe: Callable[[str], Awaitable[TrafficPlan | None]],
    troubles: int,
    wanted: Wanted | None,
) -> ServiceNow:
    """One service as it is scraped."""
    release = progress.release if progress.release and not progress.release.phase.over else None
    plan = await observe(progress.service) if release else None
    return ServiceNow(
        service=progress.service,
        totals=totals,
        release=release,
        weight_percent=plan.split.percent(release.candidate.id) if plan and release else 0.0,
        troubles=troubles,
        wanted=wanted,
    )


async def exposed(request: web.Request, found: Iterable[Metric]) -> web.Response:
    """Answer a scrape, in the format that it asks for."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    registry = CollectorRegistry()
    registry.register(_Families(found))
    body = await asyncio.to_thread(encode, registry)
    return web.Response(body=body, headers={"Content-Type": content_type})


class _Families(Collector):
    """Metrics that were read before: a registry of one scrape holds them."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = tuple(found)

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._found


def families(now: Now) -> Iterator[Metric]:
    """Every metric; its name and help stand here and in docs/observability.md, and a test compares them."""
    yield from _of_releases(now)
    yield from _of_harm(now)
    yield from _of_now(now)
    yield from _of_work(now)


def _of_releases(now: Now) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "sternway_releases",
        "Releases that ended, by outcome and by who decided it.",
        labels=("service", "outcome", "by"),
    )
    for one in now.services:
        for phase, by in ENDS:
            ended.add_metric((one.service, phase.value, by.value), one.totals.outcomes.get((phase, by), 0))
    yield ended
    yield _counter(now, "withdrawals", "Times that traffic was taken away on suspicion.", lambda t: t.withdrawals)
    yield _counter(
        now,
        "false_alarms",
        "Rollbacks by Sternway that were wrong, as people have said or shown.",
        lambda t: t.false_alarms,
    )
    yield _histogram(
        now,
        "time_to_detect",
        "From the first bad answer (else the first exposure) to the first decision that took traffic away.",
        lambda t: t.detect,
    )
    yield _histogram(
        now,
        "time_to_restore",
        "From the first bad answer until the proxies had all traffic back at stable for good.",
        lambda t: t.restore,
    )
    yield _histogram(
        now, "time_to_revert", "From the first bad answer until the revert was on the branch.", lambda t: t.revert
    )


def _of_harm(now: Now) -> Iterator[Metric]:
    yield _counter(now, "requests_hurt", "Requests that the candidate answered badly to a caller.", lambda t: t.hurt)
    yield _counter(now, "candidate_requests", "Requests that the candidate answered to callers.", lambda t: t.requests)
    yield _counter(
        now,
        "requests_rescued",
        "Requests that the candidate failed and whose caller got a good answer all the same.",
        lambda t: t.rescued,
    )
    yield _counter(now, "blind_seconds", "Time in which a release could not be judged in full.", lambda t: t.blind_s)


def _of_now(now: Now) -> Iterator[Metric]:
    blind = _gauge("blind", "Whether something is out of sight that the judge needs.")
    weight = _gauge("candidate_weight_percent", "The candidate's share of the traffic, by the proxies.")
    trouble = _gauge("trouble", "Troubles that `sternway status` shows; without a service: those of no single one.")
    phases = _gauge("release_phase", "1 for the phase of the release under way; `none` without one.", "phase")
    objectives = _gauge(
        "guard_objective", "Absolute objectives of the Guard: availability as a ratio, latency in seconds.", "objective"
    )
    trouble.add_metric(("",), now.troubles)
    for one in now.services:
        label, release = (one.service,), one.release
        blind.add_metric(label, bool(release and release.blind_since_s is not None))
        weight.add_metric(label, one.weight_percent)
        trouble.add_metric(label, one.troubles)
        present = release.phase.value if release else NO_RELEASE
        for phase in PHASES:
            phases.add_metric((one.service, phase), phase == present)
        for name, value in _objectives(one.wanted):
            objectives.add_metric((one.service, name), value)
    yield from (blind, weight, trouble, phases, objectives)


def _objectives(wanted: Wanted | None) -> Iterator[tuple[str, float]]:
    stated = wanted.guard.judge.objectives if wanted else None
    if stated is None:
        return
    if stated.availability_percent is not None:
        yield "availability", stated.availability_percent / 100
    for quantile, ms in stated.latency_ms:
        yield f"latency-p{quantile * 100:g}", ms / 1000


def _of_work(now: Now) -> Iterator[Metric]:
    for name, words, histogram in (
        ("judge", "What judging and deciding take.", now.durations.judge),
        ("act", "What carrying a decision out takes, until the proxies have acknowledged it.", now.durations.act),
        ("reconcile", "What a whole pass over a service takes.", now.durations.reconcile),
    ):
        family = HistogramMetricFamily(f"sternway_{name}_duration_seconds", words)
        family.add_metric((), histogram.buckets(), histogram.sum_s)
        yield family
    yield GaugeMetricFamily("sternway_queue_depth", "Services that wait to be looked at.", value=now.queue_depth)
    if now.git_read_s is not None:
        yield GaugeMetricFamily(
            "sternway_git_last_read_timestamp_seconds", "When the branch was read last.", value=now.git_read_s
        )
    yield InfoMetricFamily("sternway_build", "Which Sternway this is.", value={"version": __version__})


def _counter(now: Now, name: str, words: str, of: Callable[[Totals], float]) -> Metric:
    family = CounterMetricFamily(f"sternway_{name}", words, labels=("service",))
    for one in now.services:
        family.add_metric((one.service,), of(one.totals))
    return family


def _histogram(now: Now, name: str, words: str, of: Callable[[Totals], Histogram]) -> Metric:
    family = HistogramMetricFamily(f"sternway_{name}_seconds", words, labels=("service",))
    for one in now.services:
        family.add_metric((one.service,), of(one.totals).buckets(), of(one.totals).sum_s)
    return family


def _gauge(name: str, words: str, *more: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sternway_{name}", words, labels=("service", *more))
