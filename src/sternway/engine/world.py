"""The desired world that follows from where a service stands. Pure; called last by `engine.step`."""

from __future__ import annotations

from sternway import judgement
from sternway.domain.guards import ABTest, Guard
from sternway.domain.platform import WorkloadRun
from sternway.domain.releases import Decision, Observation, Phase, Progress, Release
from sternway.domain.tallies import Question
from sternway.domain.traffic import MirrorTo, Pin, ShieldPlan, Split, TrafficPlan
from sternway.domain.versions import Version
from sternway.engine.exposure import ready, split_back

TICK_S = 1.0
"""How often a release is looked at when nothing wakes it earlier."""
REST_S = 30.0
"""How often a service without a release is looked at."""

_CARRIES = (Phase.EXPOSED, Phase.BAKING)


def decide(progress: Progress, seen: Observation) -> Decision:
    """The whole desired world of a service, and when to look again."""
    if progress.stable is None:
        return Decision(service=progress.service, gone=seen.wanted is None, reason=progress.note or "nothing to run")
    release = _under_way(progress)
    return Decision(
        service=progress.service,
        release=progress.release.name if progress.release else None,
        phase=progress.release.phase if progress.release else None,
        traffic=_traffic(progress, seen),
        workloads=_workloads(progress, seen),
        revert=release.revert if release and release.reverted is None else None,
        marks=progress.marks,
        question=_question(progress),
        look_at_s=_look_at(progress, seen),
        reason=_reason(progress),
    )


def _under_way(progress: Progress) -> Release | None:
    return progress.release if progress.release and not progress.release.phase.over else None


def _traffic(progress: Progress, seen: Observation) -> TrafficPlan | None:
    stable, release = progress.stable, _under_way(progress)
    assert stable is not None
    if seen.wanted is None or seen.wanted.service.port is None:
        return None
    service = seen.wanted.service
    if release is None:
        return _at_rest(progress, seen)
    candidate = release.candidate
    split = _split(progress, release, seen)
    versions = tuple({v.id: v for v in (release.stable, candidate)}.values())
    if release.phase is Phase.STARTING:
        versions = (release.stable,)
    exposed = release.phase in _CARRIES and release.stable.id != candidate.id
    return TrafficPlan(
        service=service,
        versions=versions,
        split=split,
        pins=_pins(release) if release.phase is Phase.EXPOSED and not release.second_look else (),
        mirror=_mirror(release),
        shield=_shield(release.guard, release) if exposed else None,
        preview=candidate.id if release.phase is Phase.PREVIEW else None,
    )


def _at_rest(progress: Progress, seen: Observation) -> TrafficPlan:
    """All to stable; a version that was left a moment ago stays known until its last requests are answered."""
    stable, wanted = progress.stable, seen.wanted
    assert stable is not None
    assert wanted is not None
    versions = {v.id: v for v in (stable, *(r.version for r in progress.retired))}
    if not ready(seen, stable) and wanted.fallback and ready(seen, wanted.fallback):
        versions[wanted.fallback.id] = wanted.fallback
        split = Split.all_to(wanted.fallback.id)
    else:
        split = Split.all_to(stable.id)
    return TrafficPlan(service=wanted.service, versions=tuple(versions.values()), split=split)


def _split(progress: Progress, release: Release, seen: Observation) -> Split:
    stable, candidate = release.stable, release.candidate
    if release.phase in _CARRIES:
        return Split.between(stable.id, candidate.id, release.percent)
    if release.phase is Phase.STARTING:
        return Split.all_to(stable.id)
    return split_back(stable, candidate, seen, desired=progress.stable_replicas, since_s=release.entered_s)


def _pins(release: Release) -> tuple[Pin, ...]:
    strategy = release.guard.strategy
    if not isinstance(strategy, ABTest):
        return ()
    return (Pin(version=release.candidate.id, header=strategy.header, cookie=strategy.cookie),)


def _mirror(release: Release) -> MirrorTo | None:
    if release.phase is not Phase.MIRRORING or release.guard.mirror is None:
        return None
    return MirrorTo(version=release.candidate.id, percent=release.guard.mirror.percent)


def _shield(guard: Guard, release: Release) -> ShieldPlan | None:
    if not guard.shield.enabled:
        return None
    return ShieldPlan(version=release.candidate.id, by=release.stable.id, budget_percent=guard.shield.budget_percent)


def _workloads(progress: Progress, seen: Observation) -> tuple[WorkloadRun, ...]:
    """Every workload that should run: stable, the candidate, the fallback, and what is being left."""
    stable, release, wanted = progress.stable, _under_way(progress), seen.wanted
    assert stable is not None
    runs: dict[str, WorkloadRun] = {}

    def run(version: Version, replicas: int) -> None:
        known = runs.get(version.workload.id)
        runs[version.workload.id] = WorkloadRun(
            workload=version.workload,
            replicas=max(replicas, known.replicas if known else 0),
            commit=known.commit if known else version.commit,
        )

    run(stable, progress.stable_replicas)
    if release is not None:
        run(release.stable, progress.stable_replicas)
        run(release.candidate, wanted.replicas if wanted else progress.stable_replicas)
    if wanted is not None and wanted.fallback is not None:
        run(wanted.fallback, wanted.fallback_replicas)
    for retired in progress.retired:
        run(retired.version, progress.stable_replicas)
    return tuple(runs.values())


def _question(progress: Progress) -> Question:
    stable, release = progress.stable, _under_way(progress)
    assert stable is not None
    if release is None or release.phase is Phase.STARTING:
        return Question(stable=stable.id)
    return judgement.question(release.guard.judge, release.evidence, candidate_percent=release.percent)


def _look_at(progress: Progress, seen: Observation) -> float:
    times = [seen.now_s + (TICK_S if _under_way(progress) else REST_S)]
    times += [retired.until_s for retired in progress.retired]
    release = progress.release
    if release and release.phase is Phase.WITHDRAWN:
        times.append(release.entered_s + release.guard.withdraw_s)
    return max(seen.now_s, min(times))


def _reason(progress: Progress) -> str:
    release = _under_way(progress)
    if progress.note and release is None:
        return progress.note
    if release is None:
        return f"{progress.stable.id} serves" if progress.stable else ""
    if release.blind_since_s is not None and release.phase in _CARRIES:
        return "blind: no access log arrives; the split holds"
    return release.reason
