"""What the API needs of the running platform. `sternway.bootstrap.Sternway` has the shape of `Services`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Protocol

from sternway.clock import Clock
from sternway.control.commands import Commands
from sternway.control.follow_git import GitFollower
from sternway.control.outbox import Outbox
from sternway.control.queue import WorkQueue
from sternway.control.reconcile import Reconciler
from sternway.control.status import MonitoringView
from sternway.domain.catalogue import Edge, VersionTraffic
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Progress
from sternway.domain.traffic import TrafficPlan
from sternway.ports import Entry, Snapshot


class Running(Protocol):
    """What runs, and what it writes."""

    async def describe(self, service: str) -> tuple[WorkloadState, ...]:
        """See ports.Platform."""
        ...

    def logs(
        self, service: str, *, replica: str | None = None, lines: int = 100, follow: bool = False
    ) -> AsyncIterator[tuple[str, str]]:
        """(replica, line): the last lines of each replica, then, if followed, what comes. Raises Refused."""
        ...


class Mesh(Protocol):
    """Where services are reached, and the split in force."""

    @property
    def connected(self) -> bool:
        """Whether a proxy is there and listens to us."""
        ...

    @property
    def trouble(self) -> str:
        """Why no proxy is connected, where that is known, or ''."""
        ...

    async def observe(self, service: str) -> TrafficPlan | None:
        """See ports.TrafficRouter."""
        ...

    def address(self, service: str) -> str | None:
        """`127.0.0.1:PORT` for callers outside the mesh; None without an address."""
        ...

    def preview_address(self, service: str) -> str | None:
        """Where a blue-green candidate is looked at before the switch."""
        ...


class Watched(Protocol):
    """What runs through the mesh."""

    def edges(self) -> tuple[Edge, ...]:
        """Who calls whom."""
        ...

    def traffic(self) -> tuple[VersionTraffic, ...]:
        """How each version and replica does."""
        ...


class Repository(Protocol):
    """Git, for reading about a commit and for changing an image. trouble: why it cannot be reached now, or ''.

    read_at_s: when the branch was read last.
    """

    @property
    def trouble(self) -> str:
        """Shown."""
        ...

    @property
    def read_at_s(self) -> float | None:
        """Exported."""
        ...

    async def head(self) -> Snapshot:
        """See ports.History."""
        ...

    async def at(self, commit: str) -> Snapshot:
        """See ports.History."""
        ...

    async def commit(
        self, changes: Mapping[str, str], message: str, *, author: str | None = None, base: str | None = None
    ) -> str:
        """Commit changed files, which were read at `base`, on top of the head; gives the commit. Raises Refused."""
        ...


class Records(Protocol):
    """The journal, read page by page."""

    async def services(self) -> tuple[str, ...]:
        """See ports.Journal."""
        ...

    async def entries(
        self,
        *,
        service: str | None = None,
        release: str | None = None,
        after: int = 0,
        limit: int | None = None,
        checkpoints: bool = False,
    ) -> tuple[Entry, ...]:
        """See ports.Journal. `after`: only a higher seq. `checkpoints`: only lines that hold progress."""
        ...

    async def milestones(self, *, after: int = 0, limit: int | None = None) -> tuple[Entry, ...]:
        """The lines that hold progress and those that say what was applied, without what was observed and decided."""
        ...


class Places(Protocol):
    """Where services stand."""

    async def progress(self, service: str) -> Progress:
        """Where a service stands."""
        ...


class Commits(Protocol):
    """Commits, for reading about one."""

    async def at(self, commit: str) -> Snapshot:
        """See ports.History."""
        ...


class Journaled(Protocol):
    """The journal of whoever leads, and where its services stand."""

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def reconciler(self) -> Places:
        """Where every service stands."""
        ...

    @property
    def journal(self) -> Records:
        """The journal."""
        ...


class Recorded(Journaled, Protocol):
    """What is known of releases: by a running platform, or by the journal of one that does not run."""

    @property
    def history(self) -> Commits:
        """Git."""
        ...


class Alarmed(Protocol):
    """Whoever takes alerts."""

    def take(self, alerts: Iterable[Mapping[str, Any]]) -> int:
        """Take in a webhook's alerts; gives how many were news. Raises ValueError, LookupError, TypeError."""
        ...


class Services(Protocol):
    """The running platform, as the API sees it."""

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def reconciler(self) -> Reconciler:
        """Where every service stands."""
        ...

    @property
    def commands(self) -> Commands:
        """Takes people's commands."""
        ...

    @property
    def git(self) -> GitFollower:
        """What Git asks for."""
        ...

    @property
    def queue(self) -> WorkQueue:
        """Its troubles are shown."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Its troubles are shown."""
        ...

    @property
    def platform(self) -> Running:
        """What runs."""
        ...

    @property
    def router(self) -> Mesh:
        """The mesh."""
        ...

    @property
    def signals(self) -> Watched:
        """What runs through the mesh."""
        ...

    @property
    def journal(self) -> Records:
        """The journal."""
        ...

    @property
    def history(self) -> Repository:
        """Git."""
        ...

    def monitors(self) -> tuple[MonitoringView, ...]:
        """The monitoring systems that there are, and Envoy's figures."""
        ...
