"""In-memory platform, router, signals and history with the manners of the real ones, and faults on request.

They pass the same contract tests as the real adapters. Used by the property tests of the engine and the shell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sternway.domain.gates import GateOutcome, GateRun
from sternway.domain.metrics import Alert, Unseen
from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import Message, StandingAlert
from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.domain.releases import Mark, Revert, Reverted
from sternway.domain.tallies import Question, Reading
from sternway.domain.traffic import Can, TrafficPlan
from sternway.errors import HistoryUnavailable, NotApplied, NotTold, Refused, SignalUnavailable
from sternway.ports import Snapshot

Tap = Callable[[str], None]
"""Called with the name of a port call before and after its effect; may raise, to play a crash there."""


def no_tap(_: str) -> None:
    """Nothing happens."""


@dataclass
class FakeClock:
    """Time that moves when it is told to."""

    now_s: float = 1_000_000.0

    def now(self) -> float:
        """See Clock."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


@dataclass
class FakePlatform:
    """Workloads become ready `start_s` after they were asked for, unless `broken` or `unready` says otherwise."""

    clock: FakeClock
    start_s: float = 1.0
    tap: Tap = no_tap
    broken: dict[str, str] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)
    ready_at_most: dict[str, int] = field(default_factory=dict)
    _runs: dict[str, dict[str, tuple[WorkloadRun, float]]] = field(default_factory=dict)

    async def apply(self, service: str, runs: Sequence[WorkloadRun]) -> None:
        """See ports.Platform."""
        self.tap("platform.apply before")
        known = self._runs.setdefault(service, {})
        self._runs[service] = {
            run.workload.id: (run, known[run.workload.id][1] if run.workload.id in known else self.clock.now())
            for run in runs
            if run.replicas > 0
        }
        self.tap("platform.apply after")

    async def describe(self, service: str) -> tuple[WorkloadState, ...]:
        """See ports.Platform."""
        return tuple(
            WorkloadState(
                workload_id=id_,
                image=run.workload.image,
                desired=run.replicas,
                ready=self._ready(run, since_s),
                failure=self.broken.get(run.workload.image),
            )
            for id_, (run, since_s) in self._runs.get(service, {}).items()
        )

    def _ready(self, run: WorkloadRun, since_s: float) -> int:
        image = run.workload.image
        if image in self.broken or image in self.unready or 0 <= self.clock.now() - since_s < self.start_s:
            return 0
        return min(run.replicas, self.ready_at_most.get(image, run.replicas))


@dataclass
class FakeRouter:
    """Holds the plans that were applied. `refuse`: how many of the next plans the proxies reject."""

    capabilities: frozenset[Can] = frozenset(Can)
    tap: Tap = no_tap
    refuse: int = 0
    applied: list[TrafficPlan] = field(default_factory=list)
    _plans: dict[str, TrafficPlan] = field(default_factory=dict)

    async def apply(self, plan: TrafficPlan) -> None:
        """See ports.TrafficRouter."""
        self.tap("router.apply before")
        if self.refuse > 0:
            self.refuse -= 1
            raise NotApplied("the proxy said no", retry_in_s=0.2)
        self._plans[plan.service.name] = plan
        self.applied.append(plan)
        self.tap("router.apply after")

    async def observe(self, service: str) -> TrafficPlan | None:
        """See ports.TrafficRouter."""
        return self._plans.get(service)

    async def release(self, service: str) -> None:
        """See ports.TrafficRouter."""
        self.tap("router.release before")
        self._plans.pop(service, None)
        self.tap("router.release after")


@dataclass
class FakeSignals:
    """Readings that a test has put in; `blind_since_s` plays a stream that is down, `unseen` metrics that are missing.

    alerts: those that fire, for a service that asks for any. uncounted: nobody has set up anything that counts requests.
    """

    blind_since_s: float | None = None
    unseen: tuple[Unseen, ...] = ()
    alerts: tuple[Alert, ...] = ()
    uncounted: bool = False
    questions: dict[str, Question | None] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        reading = self.readings.pop(service, Reading())
        question = self.questions.get(service)
        if question is not None and question.metrics is not None:
            reading = replace(reading, unseen=self.unseen, alerts=self.alerts)
        if self.uncounted:
            return Reading(alerts=reading.alerts, uncounted=True)
        return replace(reading, blind_since_s=self.blind_since_s)

    def ask(self, service: str, question: Question | None) -> None:
        """See ports.SignalSource."""
        self.questions[service] = question


@dataclass
class FakeGates:
    """Gates that end when a test says how: `ends` by their name; "" is a success, anything else why they failed."""

    tap: Tap = no_tap
    ends: dict[str, str] = field(default_factory=dict)
    running: dict[str, tuple[GateRun, ...]] = field(default_factory=dict)
    started: list[tuple[str, str]] = field(default_factory=list)

    async def run(self, service: str, runs: Sequence[GateRun]) -> None:
        """See ports.Gates."""
        self.tap("gates.run before")
        self.running[service] = tuple(runs)
        for run in runs:
            if (run.release, run.gate.name) not in self.started:
                self.started.append((run.release, run.gate.name))
        self.tap("gates.run after")

    async def outcomes(self, service: str) -> tuple[GateOutcome, ...]:
        """See ports.Gates."""
        return tuple(
            GateOutcome(
                release=run.release,
                gate=run.gate.name,
                passed=not self.ends[run.gate.name],
                why=self.ends[run.gate.name],
            )
            for run in self.running.get(service, ())
            if run.gate.name in self.ends
        )


@dataclass
class FakeHistory:
    """A branch as a list of snapshots. `down` plays a Git server that does not answer."""

    tap: Tap = no_tap
    down: bool = False
    trouble: str = ""
    read_at_s: float | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    reverts: list[Revert] = field(default_factory=list)
    on_revert: Callable[[Revert], str] | None = None
    _commits: dict[str, str] = field(default_factory=dict)

    async def head(self) -> Snapshot:
        """See ports.History."""
        self._answer()
        return self.snapshots[-1]

    async def at(self, commit: str) -> Snapshot:
        """See ports.History."""
        found = next((snapshot for snapshot in self.snapshots if snapshot.commit == commit), None)
        if found is None:
            raise Refused(f"the commit {commit} is not there")
        return found

    async def revert(self, revert: Revert) -> Reverted:
        """See ports.History."""
        self.tap("history.revert before")
        self._answer()
        if revert.release not in self._commits:
            self.reverts.append(revert)
            self._commits[revert.release] = self.on_revert(revert) if self.on_revert else self._restore(revert)
        commit = self._commits[revert.release]
        self.tap("history.revert after")
        return Reverted(release=revert.release, commit=commit)

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See ports.History."""
        self.tap("history.mark before")
        self._answer()
        self.marks.extend(mark for mark in marks if mark not in self.marks)
        self.tap("history.mark after")

    async def ledger(self) -> tuple[Mark, ...]:
        """See ports.History."""
        return tuple(self.marks)

    def _restore(self, revert: Revert) -> str:
        """Commit the good text of the service's files (whole files: the fake knows no documents)."""
        commit = f"revert-{revert.release}"
        good = next((dict(known.files) for known in self.snapshots if known.commit == revert.restore), {})
        mine = {path for path, _, _ in revert.documents}
        if self.snapshots:
            now = dict(self.snapshots[-1].files)
            files = {path: good.get(path) if path in mine else now.get(path) for path in sorted({*now, *mine})}
            kept = tuple((path, text) for path, text in files.items() if text is not None)
            self.snapshots.append(Snapshot(commit=commit, files=kept, subject=revert.subject))
        return commit

    def _answer(self) -> None:
        if self.down:
            raise HistoryUnavailable("the Git server does not answer", retry_in_s=0.01)


@dataclass
class FakeSink:
    """Alerts as they were posted. `down` plays an Alertmanager that does not answer."""

    down: bool = False
    posted: list[tuple[StandingAlert, ...]] = field(default_factory=list)

    async def post(self, to: Endpoint, alerts: Sequence[StandingAlert]) -> None:
        """See ports.AlertSink."""
        if self.down:
            raise SignalUnavailable(f"{to.url} does not answer")
        self.posted.append(tuple(alerts))


@dataclass
class FakeMessenger:
    """Messages as they were taken. `refuses` plays an address that takes none, `missing` a file that is not there."""

    refuses: bool = False
    missing: bool = False
    sent: list[tuple[str, Message]] = field(default_factory=list)

    async def check(self, url_file: str) -> str:
        """See ports.Messenger."""
        if self.missing:
            raise NotTold(f"{url_file} is not there")
        return "Fake"

    async def send(self, url_file: str, message: Message) -> None:
        """See ports.Messenger."""
        await self.check(url_file)
        if self.refuses:
            raise NotTold("Fake did not take the message")
        self.sent.append((url_file, message))
