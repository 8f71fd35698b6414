"""What people are shown: views of services and releases, made from where everything stands. Pure.

Called by `sternway.web`, rendered by `sternway.cli.render`. A view holds plain words and numbers alone, so that its
JSON is the same for a terminal, a script and a dashboard. Fields ending in `_s` are seconds (`at_s`: since the epoch).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sternway import judgement
from sternway.control.gating import GateView, gate_views
from sternway.domain.blame import which_answers
from sternway.domain.catalogue import Edge, Figures, VersionTraffic
from sternway.domain.guards import ABTest, BlueGreen, Canary
from sternway.domain.judgements import Criterion, Otherwise
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Phase, Progress, Release, Wanted
from sternway.domain.tallies import BadAnswers
from sternway.domain.traffic import TrafficPlan
from sternway.domain.versions import Version
from sternway.engine.exposure import looks_again_s
from sternway.engine.uncounted import uncounted

OUTCOMES = {
    Phase.PROMOTED: "promoted",
    Phase.ROLLED_BACK: "rolled back",
    Phase.SUPERSEDED: "superseded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that does not work now. `about`: the service, or the part (`git`, `revert orders-3`)."""

    about: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One version of a service. role: stable, candidate, fallback or leaving. percent: its share of the traffic now."""

    id: str
    role: str
    image: str
    commit: str
    percent: float = 0.0
    ready: int = 0
    desired: int = 0
    restarts: int = 0
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """One release. outcome: promoted, rolled back, superseded or under way.

    detect_s: from the first bad answer (a slow one, when it was judged by latency) to the first decision that took
    traffic away, at detected_s. switch_s: from the decision to the last request that the
    candidate got. bake_percent: how much of the bake has passed. rounds: see Judgement.
    decided_by: which answers the judgement rests on, bad_answers in words. otherwise: what would have changed the
    judge's mind when it decided, or would bring it to a decision now. unanswered: what happens when
    nobody answers in time. awaits_promote: nothing moves before a person promotes it. waits: which policy keeps it from
    going on now. uncounted: what it does while nothing counts its requests.
    """

    name: str
    service: str
    from_version: str
    from_commit: str
    to_version: str
    to_commit: str
    phase: str
    step: str
    percent: float
    outcome: str
    reason: str
    strategy: str
    mode: str
    started_s: float
    entered_s: float
    ended_s: float | None = None
    verdict: str | None = None
    judgement: str = ""
    criteria: tuple[Criterion, ...] = ()
    rounds: tuple[int, int] = (0, 0)
    decided_by: str = ""
    bad_answers: tuple[BadAnswers, ...] = ()
    otherwise: Otherwise | None = None
    common_trouble: str | None = None
    withdrawals: int = 0
    looks_again_in_s: float | None = None
    answers_within_s: float | None = None
    unanswered: str | None = None
    awaits_promote: bool = False
    blind_s: float | None = None
    blind_to: str = ""
    hold: str = ""
    paused: bool = False
    waits: str = ""
    uncounted: str = ""
    gates: tuple[GateView, ...] = ()
    bake_percent: float | None = None
    requests: int = 0
    hurt: int = 0
    first_bad_s: float | None = None
    first_slow_s: float | None = None
    detected_s: float | None = None
    decided_s: float | None = None
    detect_s: float | None = None
    switch_s: float | None = None
    reverts: bool = False
    revert_commit: str | None = None
    revert_branch: str | None = None
    revert_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """One service. release: the one under way, or the last one. implicit_guard: no Guard was written for it.

    ready: the stable version runs as it should. stable_answers, stable_bad: how it answered lately while it had all traffic.
    """

    service: str
    address: str | None
    preview: str | None
    stable: str | None
    wanted: str | None
    versions: tuple[VersionView, ...]
    release: ReleaseView | None
    rate_per_s: float | None
    ready: bool
    stable_answers: int = 0
    stable_bad: int = 0
    reason: str = ""
    note: str = ""
    held: tuple[str, ...] = ()
    implicit_guard: bool = False
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringView:
    """A monitoring system and where it is. own: Sternway started it."""

    name: str
    url: str
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformStatus:
    """Everything at one moment. problems: why the latest commit is not in force. troubles: of no single service."""

    at_s: float
    commit: str
    subject: str
    connected: bool
    services: tuple[ServiceStatus, ...]
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    monitoring: tuple[MonitoringView, ...] = ()

    @property
    def ready(self) -> bool:
        """Every service runs as it should."""
        return self.connected and all(service.ready for service in self.services)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """One replica: its state, and what it answered lately."""

    name: str
    version: str
    phase: str
    address: str | None
    pid: int | None
    restarts: int
    cpu_percent: float | None
    memory_bytes: int | None
    rate_per_s: float = 0.0
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """Requests of one caller to one service lately. An empty name is the world outside the mesh."""

    caller: str
    callee: str
    rate_per_s: float
    requests: int
    bad: int
    p50_ms: float | None
    p99_ms: float | None
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One service of the catalogue."""

    service: str
    namespace: str
    port: int | None
    address: str | None
    preview: str | None
    versions: tuple[VersionView, ...]
    replicas: tuple[ReplicaView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueView:
    """Every service, and who calls whom."""

    services: tuple[ServiceEntry, ...]
    calls: tuple[CallView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a service's views are made from, read once."""

    service: str
    progress: Progress
    wanted: Wanted | None
    workloads: tuple[WorkloadState, ...]
    traffic: TrafficPlan | None
    now_s: float
    address: str | None = None
    preview: str | None = None
    reason: str = ""
    troubles: tuple[Trouble, ...] = ()
    gates: Mapping[str, str] = field(default_factory=dict)
    """What keeps a gate that runs from getting on, by its name."""
    closely: bool = True
    """Also what takes long to work out and few look at: what else the evidence might have said."""


def service_status(facts: Facts) -> ServiceStatus:
    """Show where a service stands."""
    progress, wanted = facts.progress, facts.wanted
    release, answered = progress.release, progress.answered
    versions = version_views(facts)
    stable = next((view for view in versions if view.role == "stable"), None)
    return ServiceStatus(
        service=facts.service,
        address=facts.address,
        preview=facts.preview if release and release.phase is Phase.PREVIEW else None,
        stable=progress.stable.id if progress.stable else None,
        wanted=wanted.version.id if wanted else None,
        versions=versions,
        release=release_view(release, facts.now_s, closely=facts.closely, gates=facts.gates) if release else None,
        rate_per_s=progress.rate_per_s,
        stable_answers=answered.total if answered else 0,
        stable_bad=answered.bad if answered else 0,
        ready=stable is not None and stable.failure is None and stable.ready >= max(1, stable.desired),
        reason=facts.reason,
        note=progress.note or progress.waits,
        held=progress.held,
        implicit_guard=wanted is not None and wanted.guard.implicit,
        troubles=facts.troubles,
    )


def version_views(facts: Facts) -> tuple[VersionView, ...]:
    """Every version that a service knows now, each with the replicas that run it and its share of the traffic."""
    progress, wanted = facts.progress, facts.wanted
    release = progress.release
    roles: dict[str, tuple[str, Version]] = {}
    if release is not None and not release.phase.over:
        roles[release.stable.id] = ("stable", release.stable)
        roles.setdefault(release.candidate.id, ("candidate", release.candidate))
    elif progress.stable is not None:
        roles[progress.stable.id] = ("stable", progress.stable)
    if wanted is not None and wanted.fallback is not None:
        roles.setdefault(wanted.fallback.id, ("fallback", wanted.fallback))
    for retired in progress.retired:
        roles.setdefault(retired.version.id, ("leaving", retired.version))
    return tuple(_version_view(role, version, facts) for role, version in roles.values())


def _version_view(role: str, version: Version, facts: Facts) -> VersionView:
    state = next((w for w in facts.workloads if w.workload_id == version.workload.id), None)
    return VersionView(
        id=version.id,
        role=role,
        image=version.workload.image,
        commit=version.commit,
        percent=facts.traffic.split.percent(version.id) if facts.traffic else 0.0,
        ready=state.ready if state else 0,
        desired=state.desired if state else 0,
        restarts=state.restarts if state else 0,
        failure=state.failure if state else None,
    )


def release_view(
    release: Release, now_s: float, *, closely: bool = True, gates: Mapping[str, str] = MappingProxyType({})
) -> ReleaseView:
    """Show a release. closely: with what would have changed the judge's mind. gates: see Facts."""
    judged, reverted = release.judgement, release.reverted
    over = release.phase.over
    return ReleaseView(
        name=release.name,
        service=release.candidate.service,
        from_version=release.stable.id,
        from_commit=release.stable.commit,
        to_version=release.candidate.id,
        to_commit=release.candidate.commit,
        phase=release.phase.value,
        step=_step(release),
        percent=release.percent if release.phase in (Phase.EXPOSED, Phase.BAKING) else 0.0,
        outcome=OUTCOMES.get(release.phase, "under way"),
        reason=release.reason,
        strategy=_strategy(release),
        mode=release.guard.mode.value,
        started_s=release.started_s,
        entered_s=release.entered_s,
        ended_s=release.ended_s,
        verdict=judged.verdict.value if judged else None,
        judgement=judged.sentence if judged else "",
        criteria=judged.criteria if judged else (),
        rounds=judged.rounds if judged else (0, 0),
        decided_by=which_answers(release.bad_answers, judged.criterion if judged else None),
        bad_answers=release.bad_answers,
        otherwise=_otherwise(release) if closely else None,
        common_trouble=judged.common_trouble if judged else None,
        withdrawals=release.withdrawals,
        looks_again_in_s=_left(release, Phase.WITHDRAWN, looks_again_s(release, now_s) - release.entered_s, now_s),
        answers_within_s=_left(release, Phase.ASKING, release.guard.ask_timeout_s, now_s),
        unanswered=release.guard.ask_then.value if release.phase is Phase.ASKING else None,
        awaits_promote=_awaits_promote(release),
        blind_s=None if over or release.blind_since_s is None else max(0.0, now_s - release.blind_since_s),
        blind_to="" if over else release.blind_to,
        hold=judged.hold if judged and not over else "",
        paused=release.paused,
        waits="" if over else release.waits,
        uncounted=uncounted(release),
        gates=gate_views(release, gates),
        bake_percent=_bake_percent(release),
        requests=release.requests,
        hurt=release.hurt,
        first_bad_s=release.first_bad_s,
        first_slow_s=release.first_slow_s,
        detected_s=release.detected_s,
        decided_s=release.decided_s,
        detect_s=_between(harm_began_s(release), release.detected_s),
        switch_s=_between(release.decided_s, release.last_candidate_s),
        reverts=release.revert is not None,
        revert_commit=reverted.commit if reverted else None,
        revert_branch=reverted.branch if reverted else None,
        revert_message=reverted.message if reverted else "",
    )


def _otherwise(release: Release) -> Otherwise | None:
    """What would have changed the judge's mind; while it is undecided, what would bring it to a decision."""
    if release.judgement is not None and release.judgement.otherwise is not None:
        return release.judgement.otherwise
    if release.phase not in (Phase.EXPOSED, Phase.BAKING):
        return None
    return judgement.to_come(release.guard.judge, release.evidence, candidate_percent=release.percent)


def _step(release: Release) -> str:
    """Where a release stands in its strategy: `2 of 3: 10 %`."""
    guard = release.guard
    if release.phase is Phase.EXPOSED:
        return _exposure(release)
    if release.phase is Phase.MIRRORING and guard.mirror is not None:
        return f"copies of {guard.mirror.percent:g} % of the requests"
    if release.phase is Phase.PREVIEW:
        return "preview address only"
    if release.phase is Phase.BAKING:
        return f"{release.percent:g} %, bake of {guard.bake_s:g} s"
    return ""


def _exposure(release: Release) -> str:
    strategy = release.guard.strategy
    if isinstance(strategy, Canary):
        step = strategy.steps[release.index]
        kept = step.percent is not None and not release.second_look and release.percent > step.percent
        more = f" ({release.percent:g} % kept from the step before)" if kept else ""
        if step.users_hurt is not None:
            more = f" ({release.percent:g} %)"
        return f"{release.index + 1} of {len(strategy.steps)}: {step}{more}"
    if isinstance(strategy, ABTest):
        return f"requests with {_group(strategy)}"
    return f"a share of {release.percent:g} %"  # blue-green, looked at again beside stable


def _awaits_promote(release: Release) -> bool:
    strategy = release.guard.strategy
    return release.phase is Phase.PREVIEW and isinstance(strategy, BlueGreen) and not strategy.automatic_switch


def _strategy(release: Release) -> str:
    strategy = release.guard.strategy
    if isinstance(strategy, Canary):
        words = "canary: " + ", ".join(str(step) for step in strategy.steps)
    elif isinstance(strategy, ABTest):
        words = f"A/B: {_group(strategy)}"
    else:
        words = "blue-green"
    return f"{words}, mirrored first" if release.guard.mirror else words


def _group(strategy: ABTest) -> str:
    if strategy.header is not None:
        return "header {}={}".format(*strategy.header)
    return "cookie {}={}".format(*(strategy.cookie or ("", "")))


def _left(release: Release, phase: Phase, after_s: float, now_s: float) -> float | None:
    return max(0.0, release.entered_s + after_s - now_s) if release.phase is phase else None


def _bake_percent(release: Release) -> float | None:
    baking = Phase.BAKING in (release.phase, release.returns_to)
    if release.phase.over or not baking:
        return None
    return 100.0 if release.guard.bake_s <= 0 else min(100.0, round(100.0 * release.baked_s / release.guard.bake_s, 1))


def harm_began_s(release: Release) -> float | None:
    """Since when the candidate answered badly, or slowly, when it was judged by latency."""
    by_latency = release.judgement is not None and (release.judgement.criterion or "").startswith("latency")
    return release.first_slow_s if by_latency else release.first_bad_s


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else max(0.0, end_s - start_s)


def troubles(found: Mapping[str, str]) -> tuple[Trouble, ...]:
    """Read what a queue or an outbox holds as texts: a message, then an indented hint; or a traceback."""
    return tuple(_trouble(about, text) for about, text in sorted(found.items()))


def _trouble(about: str, text: str) -> Trouble:
    if text.startswith("Traceback"):
        last = text.strip().splitlines()[-1]
        hint = "this is a mistake in Sternway; the service stays as it is and is looked at again in a few seconds"
        return Trouble(about=about, message=f"unexpected: {last}", hint=hint)
    message, _, hint = text.partition("\n  ")
    return Trouble(about=about, message=message, hint=hint)


def catalogue_view(facts: Sequence[Facts], edges: Iterable[Edge], traffic: Iterable[VersionTraffic]) -> CatalogueView:
    """Show every service with its replicas, and who calls whom."""
    answered = {
        (version.service, replica.replica): replica.figures for version in traffic for replica in version.replicas
    }
    entries = []
    for service in facts:
        views = version_views(service)
        wanted = service.wanted.service if service.wanted else None
        entry = ServiceEntry(
            service=service.service,
            namespace=wanted.namespace if wanted else "default",
            port=wanted.port if wanted else None,
            address=service.address,
            preview=service.preview,
            versions=views,
            replicas=tuple(_replicas(service, answered)),
        )
        entries.append(entry)
    calls = tuple(
        CallView(
            caller=edge.caller,
            callee=edge.callee,
            rate_per_s=edge.figures.rate_per_s,
            requests=edge.figures.requests,
            bad=edge.figures.bad,
            p50_ms=edge.figures.p50_ms,
            p99_ms=edge.figures.p99_ms,
            last_s=edge.last_s,
        )
        for edge in sorted(edges, key=lambda edge: (edge.callee, edge.caller))
    )
    return CatalogueView(services=tuple(entries), calls=calls)


def _replicas(facts: Facts, answered: Mapping[tuple[str, str], Figures]) -> Iterable[ReplicaView]:
    names = _version_names(facts)
    for state in facts.workloads:
        for replica in state.replicas:
            address = f"127.0.0.1:{replica.port}" if replica.port else None
            figures = answered.get((facts.service, address or ""), Figures())
            yield ReplicaView(
                name=replica.name,
                version=names.get(state.workload_id, state.image),
                phase=replica.phase,
                address=address,
                pid=replica.pid,
                restarts=replica.restarts,
                cpu_percent=replica.cpu_percent,
                memory_bytes=replica.memory_bytes,
                rate_per_s=figures.rate_per_s,
                p99_ms=figures.p99_ms,
            )


def _version_names(facts: Facts) -> dict[str, str]:
    """Workload id -> version id. Versions that differ in mesh policy alone share their workload."""
    progress = facts.progress
    release = progress.release
    known = [retired.version for retired in progress.retired]
    known += [release.candidate, release.stable] if release else []
    known += [facts.wanted.fallback] if facts.wanted and facts.wanted.fallback else []
    known += [progress.stable] if progress.stable else []
    return {version.workload.id: version.id for version in known}
