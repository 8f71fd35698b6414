"""Releases: where each one stands, what was observed, and what was decided. All of it goes into the journal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sternway.domain.evidence import Evidence
from sternway.domain.gates import GateOutcome, GateRun
from sternway.domain.guards import Guard
from sternway.domain.judgements import Judgement
from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.domain.policies import Bar, Consent
from sternway.domain.tallies import BadAnswers, Question, Reading
from sternway.domain.traffic import TrafficPlan
from sternway.domain.versions import Service, Version


class Phase(StrEnum):
    """Where a release stands. The transitions between phases are data: `sternway.engine.transitions`."""

    STARTING = "starting"
    MIRRORING = "mirroring"
    EXPOSED = "exposed"
    PREVIEW = "preview"
    WITHDRAWN = "withdrawn"
    ASKING = "asking"
    BAKING = "baking"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    PROMOTED = "promoted"
    SUPERSEDED = "superseded"

    @property
    def over(self) -> bool:
        """Nothing happens to a release in this phase any more."""
        return self in (Phase.ROLLED_BACK, Phase.PROMOTED, Phase.SUPERSEDED)


class Verb(StrEnum):
    """What a person may ask for."""

    PROMOTE = "promote"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    RETRY = "retry"
    ROLLBACK = "rollback"
    FALSE_ALARM = "false-alarm"
    APPROVE = "approve"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A person's word. `id` rises by one with each command to the platform.

    to: a version for rollback, a release for a false alarm.
    """

    id: int
    service: str
    verb: Verb
    by: str
    at_s: float
    to: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The engine's answer to a command."""

    command: int
    accepted: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revert:
    """The Git part of a rollback: give the documents of `service` back the text that they had at `restore`.

    bad: the commit whose state is taken back. trailers: ("Sternway-Release", "orders-17"), …
    documents: (path, kind, name) of every manifest that belongs to the service at either commit.
    """

    release: str
    service: str
    bad: str
    restore: str
    documents: tuple[tuple[str, str, str], ...]
    subject: str
    body: str
    trailers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """What became of a revert. `branch` is set when it could not be applied to the watched branch."""

    release: str
    commit: str | None
    branch: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line of the ledger: a version proven good or bad, and why. Kept in Git notes on `commit`."""

    service: str
    version: str
    commit: str
    verdict: str
    release: str
    why: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What Git says of one service at one commit, which was made at `committed_s`.

    in_place: its versions share the replicas of one workload, and stand side by side within it.
    """

    service: Service
    version: Version
    replicas: int
    guard: Guard
    commit: str
    documents: tuple[tuple[str, str, str], ...] = ()
    fallback: Version | None = None
    fallback_replicas: int = 0
    committed_s: float | None = None
    in_place: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One attempt to replace the stable version of a service by a candidate.

    index: which step of the strategy. step_requests: the candidate's requests since the step began.
    entered_s: when the phase was entered; step_s: when the step (or the exposure) began.
    returns_to: the phase from which a withdrawal or a question came.
    percent: the candidate's share when it is exposed, 0..100. baked_s: sighted seconds of the bake until
        looked_s.
    requests, hurt: the candidate's answers to callers, and the bad ones that the shield did not catch.
    second_look: exposed again with a small share after harm was suspected at (nearly) all traffic.
    rescued: bad answers of the candidate that no caller got, because stable or a retry answered.
    committed_s: when the commit was made that began it. exposed_s: when the candidate first got traffic.
    blind_since_s, blind_to: since when something cannot be seen that the judge needs, and which metric; "" means all.
    blind_s, blind_from_s: how long it was blind to anything before, and since when it is now, without a gap.
    first_bad_s, first_slow_s, detected_s: the first bad answer, the first slow one, and the first decision that took
        traffic away. waits: which policy keeps it from going on now, and until when. bad_answers: the candidate's, by what they look like. decided_s, last_candidate_s: the last such decision, and the start of the candidate's last request.
    uncounted: nothing is there that counts its requests (Reading.uncounted).
    gates: how those ended that have. gates_running, gated_s: what it waits for now, and since when.
    """

    name: str
    candidate: Version
    stable: Version
    guard: Guard
    documents: tuple[tuple[str, str, str], ...]
    phase: Phase
    started_s: float
    entered_s: float
    step_s: float
    index: int = 0
    step_requests: int = 0
    returns_to: Phase | None = None
    paused: bool = False
    second_look: bool = False
    withdrawals: int = 0
    evidence: Evidence
    judgement: Judgement | None = None
    stable_ms: tuple[tuple[float, float], ...] = ()
    percent: float = 0.0
    baked_s: float = 0.0
    looked_s: float = 0.0
    requests: int = 0
    hurt: int = 0
    blind_since_s: float | None = None
    first_bad_s: float | None = None
    first_slow_s: float | None = None
    detected_s: float | None = None
    decided_s: float | None = None
    last_candidate_s: float | None = None
    ended_s: float | None = None
    reason: str = ""
    revert: Revert | None = None
    reverted: Reverted | None = None
    bad_answers: tuple[BadAnswers, ...] = ()
    blind_to: str = ""
    rescued: int = 0
    committed_s: float | None = None
    exposed_s: float | None = None
    blind_s: float = 0.0
    blind_from_s: float | None = None
    gates: tuple[GateOutcome, ...] = ()
    gates_running: tuple[str, ...] = ()
    gated_s: float | None = None
    waits: str = ""
    uncounted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A version that carries no traffic any more and is stopped at `until_s`."""

    version: Version
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How a version answered lately while it carried all traffic; what is old counts less and less."""

    version: str
    total: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """All that is known of one service: enough to go on after a crash at any point.

    good: versions proven good, latest first: the only rollback targets. held: version ids that were taken back.
    pardoned: versions that a person took off the hold although the ledger may still call them bad.
    marks: lines for the ledger that are not written yet. note: why what Git asks for is not being released.
    waits: which policy keeps what Git asks for from being released now. consents: what people let pass.
    false_alarms: releases of which a person said that they should not have been rolled back.
    """

    service: str
    stable: Version | None = None
    stable_replicas: int = 1
    stable_documents: tuple[tuple[str, str, str], ...] = ()
    release: Release | None = None
    releases: int = 0
    good: tuple[Version, ...] = ()
    held: tuple[str, ...] = ()
    pardoned: tuple[str, ...] = ()
    retired: tuple[Retired, ...] = ()
    marks: tuple[Mark, ...] = ()
    note: str = ""
    last_command: int = 0
    rate_per_s: float | None = None
    stable_ms: tuple[tuple[float, float], ...] = ()
    answered: Answered | None = None
    false_alarms: tuple[str, ...] = ()
    waits: str = ""
    consents: tuple[Consent, ...] = ()


NOTHING_READ = Reading()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that a pass may know, read once, then frozen. The engine asks nothing more.

    traffic: the plan that the proxies have acknowledged; None when they hold none.
    ledger_bad: ids of versions that the ledger in Git holds as bad (known even to a fresh store).
    recovered: the last version that the ledger calls good, looked up when there is no stable version yet.
    resumed: the first pass over the service in this process; nobody looked before it.
    gates: how the gates ended that ran for the service.
    bars: what policies say against going forward at this moment.
    """

    now_s: float
    wanted: Wanted | None
    workloads: tuple[WorkloadState, ...] = ()
    traffic: TrafficPlan | None = None
    reading: Reading = NOTHING_READ
    commands: tuple[Command, ...] = ()
    reverted: Reverted | None = None
    marked: tuple[Mark, ...] = ()
    ledger_bad: tuple[str, ...] = ()
    recovered: Version | None = None
    resumed: bool = False
    gates: tuple[GateOutcome, ...] = ()
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The desired world and the reason: split, workloads, Git action, when to look again. Never a delta.

    traffic None: leave the proxies as they are, unless `gone`: then take the service out of them.
    gates: those that shall run now; any other that runs is stopped.
    """

    service: str
    release: str | None = None
    phase: Phase | None = None
    traffic: TrafficPlan | None = None
    gone: bool = False
    workloads: tuple[WorkloadRun, ...] = ()
    revert: Revert | None = None
    marks: tuple[Mark, ...] = ()
    question: Question | None = None
    look_at_s: float | None = None
    reason: str = ""
    replies: tuple[Reply, ...] = ()
    gates: tuple[GateRun, ...] = ()
