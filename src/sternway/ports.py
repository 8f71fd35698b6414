"""Every Protocol that the shell needs, over our own values alone.

Adapters implement them; only `sternway.bootstrap` names an adapter. A provider states what it can do as data (`capabilities`), and what it
cannot do is refused when a manifest is admitted, never skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sternway.domain.gates import GateOutcome, GateRun
from sternway.domain.gitops import TakeBack
from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import Message, StandingAlert
from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.domain.policies import Policy
from sternway.domain.releases import Command, Decision, Mark, Observation, Progress, Revert, Reverted, Wanted
from sternway.domain.tallies import Question, Reading
from sternway.domain.traffic import Can, TrafficPlan
from sternway.domain.versions import Version


class TrafficRouter(Protocol):
    """Puts traffic plans into force at the proxies."""

    capabilities: frozenset[Can]

    async def apply(self, plan: TrafficPlan) -> None:
        """Return once the proxies have acknowledged the plan. Raises NotApplied; the old plan stays then."""
        ...

    async def observe(self, service: str) -> TrafficPlan | None:
        """The plan that the proxies have acknowledged."""
        ...

    async def release(self, service: str) -> None:
        """Take everything of a service out of the proxies."""
        ...


class Platform(Protocol):
    """Runs workloads. Graceful: a replica leaves discovery, drains, then stops."""

    async def apply(self, service: str, runs: Sequence[WorkloadRun]) -> None:
        """Exactly these workloads shall run for a service: start, scale, stop. Returns before they are ready."""
        ...

    async def describe(self, service: str) -> tuple[WorkloadState, ...]:
        """What runs for a service now."""
        ...


class Gates(Protocol):
    """Runs what must succeed before a release goes on: Jobs of a cluster, commands on one machine."""

    async def run(self, service: str, runs: Sequence[GateRun]) -> None:
        """Exactly these shall run, or have run, each once for its release; others that still run are stopped. Idempotent."""
        ...

    async def outcomes(self, service: str) -> tuple[GateOutcome, ...]:
        """How those ended that have."""
        ...


class SignalSource(Protocol):
    """Where observations of traffic come from."""

    async def read(self, service: str) -> Reading:
        """Everything since the last read, counted by the question that was in force when it happened."""
        ...

    def ask(self, service: str, question: Question | None) -> None:
        """From now on count by this question; what was counted before is kept for the next read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The manifests at one commit: path (from the watched folder) -> text."""

    commit: str
    files: tuple[tuple[str, str], ...]
    subject: str = ""
    author: str = ""
    at_s: float = 0.0


class Desired(Protocol):
    """What people ask for, from wherever they say it (Git, a cluster), and what the ledger says of versions."""

    def wanted(self, service: str) -> Wanted | None:
        """What is asked for a service."""
        ...

    def policies(self, service: str) -> tuple[Policy, ...]:
        """The platform's rules that are about a service."""
        ...

    def bad(self, service: str) -> tuple[str, ...]:
        """Ids of the versions whose last word in the ledger is bad."""
        ...

    async def last_good(self, service: str) -> Version | None:
        """The version that the ledger called good last."""
        ...


class Undoing(Protocol):
    """What follows a rollback where desired state is kept: Git, or a cluster."""

    async def revert(self, revert: Revert) -> Reverted:
        """Give back what there was, never what somebody changed since. Idempotent."""
        ...

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Write to the ledger. Idempotent."""
        ...


class Repositories(Protocol):
    """Git repositories that others bring into a cluster."""

    async def take_back(self, asked: TakeBack) -> Reverted:
        """Push a revert, as `History.revert` does. Raises Refused or InvalidInput where it is a person's turn."""
        ...


class History(Undoing, Protocol):
    """Desired state in Git."""

    async def head(self) -> Snapshot:
        """The watched branch now. Raises HistoryUnavailable."""
        ...

    async def at(self, commit: str) -> Snapshot:
        """The manifests at an earlier commit."""
        ...

    async def revert(self, revert: Revert) -> Reverted:
        """Push the revert, retrying on a moved branch; a conflict goes to a branch of its own. Idempotent."""
        ...

    async def ledger(self) -> tuple[Mark, ...]:
        """Every mark, oldest first."""
        ...


ROLLED_UP = "rolled up: "
"""How the note begins that says that single passes of a release are gone."""
EVIDENCE = "evidence"
"""The kind of the line that keeps the evidence over time of a release whose single passes are gone, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal. kind: pass, applied, failed, note, evidence. `seq` rises with every line.

    progress: as it is after the line. Read back, only lines on which the release, its phase or its step changed have it.
    before: the progress that the first line of a release started from; the journal fills it in. Also of the first line after
        a gap, where lines are missing.
    """

    service: str
    release: str | None
    kind: str
    at_s: float
    observation: Observation | None = None
    decision: Decision | None = None
    progress: Progress | None = None
    before: Progress | None = None
    text: str = ""
    seq: int = 0


class Journal(Protocol):
    """The append-only record. `record` returns when the entries are durable (`sync`: against power loss too)."""

    async def record(self, entries: Sequence[Entry], *, sync: bool = False) -> None:
        """Append, and keep each entry's progress as the service's latest, in one transaction."""
        ...

    async def progress(self, service: str) -> Progress | None:
        """The latest progress of a service."""
        ...

    async def latest(self, service: str) -> Entry | None:
        """The last pass over a service, with its decision."""
        ...

    async def entries(
        self, *, service: str | None = None, release: str | None = None, kind: str | None = None
    ) -> tuple[Entry, ...]:
        """The lines of a service, a release or a kind, oldest first."""
        ...

    async def services(self) -> tuple[str, ...]:
        """Every service that has progress."""
        ...


class CommandQueue(Protocol):
    """People's commands, durable until the engine has answered."""

    async def add(
        self, service: str, verb: str, by: str, at_s: float, to: str | None, reason: str, *, asked: str | None = None
    ) -> Command:
        """Store a command and give it the next id; or give the one that is there, if the service was asked so before.

        asked: what who gives it calls it, never to be taken twice.
        """
        ...

    async def after(self, service: str, last: int) -> tuple[Command, ...]:
        """Commands to a service with an id above `last`."""
        ...


class AlertSink(Protocol):
    """Keeps alerts for people."""

    async def post(self, to: Endpoint, alerts: Sequence[StandingAlert]) -> None:
        """Bring what is known there up to date: alerts that stand until `ends_s`, or have ended. Raises SignalUnavailable."""
        ...


class Messenger(Protocol):
    """Tells people. The address, with its secrets, stands in a file, which is read anew each time."""

    async def check(self, url_file: str) -> str:
        """Say what kind of address the file holds, and no secret of it. Raises NotTold."""
        ...

    async def send(self, url_file: str, message: Message) -> None:
        """Return once the message was taken. Raises NotTold."""
        ...
