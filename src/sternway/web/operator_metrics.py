"""What `sternway operator` exports of itself: the metrics of one machine, and how it gets on with the API of the cluster.

Served beside the probes, by a replica that leads and by one that stands by; of releases only the leader knows, which has the
journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from aiohttp import web
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from sternway.clock import Clock
from sternway.control.histograms import Durations
from sternway.control.measures import Totals
from sternway.control.queue import WorkQueue
from sternway.domain.releases import Progress, Wanted
from sternway.domain.traffic import TrafficPlan
from sternway.errors import Temporary
from sternway.operator.stores import Followed
from sternway.web.figures import Figures
from sternway.web.own_metrics import Now, exposed, families, service_now
from sternway.web.services import Places, Records


class Wants(Protocol):
    """What the cluster asks for."""

    def services(self) -> tuple[str, ...]:
        """Every service that has a Guard."""
        ...

    def wanted(self, service: str) -> Wanted | None:
        """See ports.Desired."""
        ...


class Shares(Protocol):
    """The split in force."""

    async def observe(self, service: str) -> TrafficPlan | None:
        """See ports.TrafficRouter."""
        ...


class Works(Places, Protocol):
    """Takes the passes."""

    @property
    def durations(self) -> Durations:
        """What they take."""
        ...


class Follows(Protocol):
    """Follows the cluster."""

    def followed(self) -> Sequence[Followed]:
        """How each kind is followed."""
        ...


class Operating(Protocol):
    """What is scraped: `sternway.cluster.ClusterSternway` has this shape."""

    @property
    def leads(self) -> bool:
        """Whether this process acts."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def journal(self) -> Records:
        """The journal; open while it leads."""
        ...

    @property
    def reconciler(self) -> Works:
        """Takes the passes."""
        ...

    @property
    def queue(self) -> WorkQueue:
        """The services that wait for one."""
        ...

    @property
    def router(self) -> Shares:
        """The split in force."""
        ...

    @property
    def desired(self) -> Wants:
        """What the cluster asks for."""
        ...

    @property
    def stores(self) -> Follows:
        """Follows the cluster."""
        ...

    def troubles(self) -> dict[str, str]:
        """Everything that does not work now."""
        ...

    def troubles_of(self, progress: Progress) -> dict[str, str]:
        """Those about one service."""
        ...


class OperatorMetrics:
    """Answers scrapes; see `listeners.Part`. requests: how often each (verb, kinds, HTTP status) was."""

    name = "metrics"

    def __init__(self, sternway: Operating, requests: Mapping[tuple[str, str, str], int], *, listen: str) -> None:
        self._sternway = sternway
        self._requests = requests
        self._listen = listen
        self._figures: tuple[Records, Figures] | None = None

    def listen(self) -> str | None:
        """See Part."""
        return self._listen

    def routes(self) -> list[web.RouteDef]:
        """See Part."""
        return [web.get("/metrics", self._scrape)]

    async def _scrape(self, request: web.Request) -> web.Response:
        try:
            now = await self._read()
        except Temporary as trouble:  # see OwnMetrics
            return web.Response(text=f"{trouble.message}\n", status=503)
        return await exposed(request, [*families(now), *self._of_the_api()])

    async def _read(self) -> Now:
        sternway = self._sternway
        totals = await self._totals().totals() if sternway.leads else {}
        names = sorted({*sternway.desired.services(), *totals}) if sternway.leads else []
        found = []
        about = 0
        for name in names:
            progress = await sternway.reconciler.progress(name)
            troubles = len(sternway.troubles_of(progress))
            about += troubles
            found.append(
                await service_now(
                    progress,
                    totals.get(name) or Totals(),
                    observe=sternway.router.observe,
                    troubles=troubles,
                    wanted=sternway.desired.wanted(name),
                )
            )
        return Now(
            services=tuple(found),
            troubles=len(sternway.troubles()) - about,
            durations=sternway.reconciler.durations,
            queue_depth=sternway.queue.depth,
            git_read_s=None,
        )

    def _totals(self) -> Figures:
        """The figures of the journal that is open: a leader that comes again opens it anew."""
        journal = self._sternway.journal
        if self._figures is None or self._figures[0] is not journal:
            self._figures = journal, Figures(self._sternway)
        return self._figures[1]

    def _of_the_api(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("sternway_kubernetes_leader", "Whether this replica acts.", value=self._sternway.leads)
        asked = CounterMetricFamily(
            "sternway_kubernetes_requests",
            "Requests to the API server, by the answer's HTTP status; `none`: no answer came.",
            labels=("verb", "resource", "code"),
        )
        for labels, count in sorted(self._requests.items()):
            asked.add_metric(labels, count)
        lists = CounterMetricFamily(
            "sternway_kubernetes_lists", "Times that a kind was read whole.", labels=("resource",)
        )
        watches = CounterMetricFamily(
            "sternway_kubernetes_watches", "Watches of a kind that were begun.", labels=("resource",)
        )
        silent = GaugeMetricFamily(
            "sternway_kubernetes_silent_seconds",
            "How long the API server has said nothing of a kind; a bookmark comes once a minute.",
            labels=("resource",),
        )
        for one in self._sternway.stores.followed():
            lists.add_metric((one.plural,), one.lists)
            watches.add_metric((one.plural,), one.watches)
            silent.add_metric((one.plural,), one.silent_s)
        yield from (asked, lists, watches, silent)
