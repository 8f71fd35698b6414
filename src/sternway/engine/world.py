"""The desired world that follows from where a service stands. Pure; called last by `engine.step`."""

from __future__ import annotations

from dataclasses import replace

from sternway import judgement
from sternway.domain.guards import ABTest, Guard
from sternway.domain.platform import WorkloadRun
from sternway.domain.releases import Decision, Observation, Phase, Progress, Release
from sternway.domain.tallies import Question
from sternway.domain.traffic import MirrorTo, Pin, ShieldPlan, Split, TrafficPlan
from sternway.domain.versions import Version
from sternway.engine import gates
from sternway.engine.asking import metric_question
from sternway.engine.exposure import able, looks_again_s, reachable, ready, split_back, standing_by
from sternway.engine.side_by_side import candidates, carrying, side_by_side
from sternway.engine.uncounted import uncounted

TICK_S = 1.0
"""How often a release is looked at when nothing wakes it earlier."""
PATIENT_S = 10.0
"""The same while nothing but a person or Git is waited for."""
REST_S = 30.0
"""How often a service without a release is looked at."""

_CARRIES = (Phase.EXPOSED, Phase.BAKING)


def decide(progress: Progress, seen: Observation) -> Decision:
    """The whole desired world of a service, and when to look again."""
    if progress.stable is None:
        return Decision(
            service=progress.service,
            release=progress.release.name if progress.release else None,
            phase=progress.release.phase if progress.release else None,
            gone=seen.wanted is None,
            marks=progress.marks,
            reason=progress.note or "nothing to run",
        )
    release = _under_way(progress)
    return Decision(
        service=progress.service,
        release=progress.release.name if progress.release else None,
        phase=progress.release.phase if progress.release else None,
        traffic=_traffic(progress, seen),
        gone=seen.wanted is not None and seen.wanted.service.port is None and seen.traffic is not None,
        workloads=_workloads(progress, seen),
        revert=release.revert if release and release.reverted is None else None,
        marks=progress.marks,
        question=_question(progress, seen),
        look_at_s=_look_at(progress, seen),
        reason=_reason(progress),
        gates=gates.runs(release, seen.wanted.service) if release and seen.wanted else (),
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
    exposed = release.phase in _CARRIES and release.stable.id != candidate.id
    plan = TrafficPlan(
        service=service,
        versions=_versions(progress, release, split, seen),
        split=split,
        pins=_pins(release) if release.phase is Phase.EXPOSED and not release.second_look else (),
        mirror=_mirror(release),
        shield=_shield(release.guard, release) if exposed else None,
        preview=candidate.id if release.phase is Phase.PREVIEW or release.gates_running else None,
    )
    return reachable(plan, release.stable.id, seen.workloads)


def _versions(progress: Progress, release: Release, split: Split, seen: Observation) -> tuple[Version, ...]:
    """What the proxies must know: stable, the candidate, and what was left a moment ago, until its last answers.

    A candidate that gets nothing is only named where the proxies hold it already: what they refuse to take must not
    keep them from taking the way back.
    """
    fallback = standing_by(seen)
    versions = {v.id: v for v in (release.stable, *(retired.version for retired in progress.retired))}
    used = release.phase in (*_CARRIES, Phase.MIRRORING, Phase.PREVIEW) or release.gates_running
    held = seen.traffic is not None and seen.traffic.holds(release.candidate.id)
    if used or split.percent(release.candidate.id) or (held and release.phase is not Phase.STARTING):
        versions[release.candidate.id] = release.candidate
    if fallback is not None and split.percent(fallback.id):
        versions.setdefault(fallback.id, fallback)
    return tuple(versions.values())


def _at_rest(progress: Progress, seen: Observation) -> TrafficPlan:
    """All to stable; a version that was left a moment ago stays known until its last requests are answered.

    While stable has no ready replica, all goes to the fallback, or to a good version that has not been stopped yet.
    """
    stable, wanted = progress.stable, seen.wanted
    assert stable is not None
    assert wanted is not None
    versions = {v.id: v for v in (stable, *(r.version for r in progress.retired))}
    takes = stable
    if not ready(seen, stable):
        proven = {v.id for v in progress.good}
        left: list[Version] = [r.version for r in progress.retired if r.version.id in proven and ready(seen, r.version)]
        takes = standing_by(seen) or next(iter(left), stable)
        versions.setdefault(takes.id, takes)
    return TrafficPlan(service=wanted.service, versions=tuple(versions.values()), split=Split.all_to(takes.id))


def _split(progress: Progress, release: Release, seen: Observation) -> Split:
    stable, candidate = release.stable, release.candidate
    if release.phase in _CARRIES:
        return able(stable, candidate, seen, percent=release.percent)
    if release.phase is Phase.STARTING:
        return able(stable, None, seen, percent=0.0)
    return split_back(stable, candidate, seen, desired=carrying(progress, seen), since_s=release.entered_s)


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

    if side_by_side(seen):
        of_candidate = candidates(progress, release, seen) if release is not None else 0
        run(release.stable if release is not None else stable, progress.stable_replicas - of_candidate)
        if release is not None and of_candidate:
            run(release.candidate, of_candidate)
        return tuple(runs.values())
    run(stable, progress.stable_replicas)
    if release is not None:
        run(release.stable, progress.stable_replicas)
        run(release.candidate, wanted.replicas if wanted else progress.stable_replicas)
    if wanted is not None and wanted.fallback is not None:
        run(wanted.fallback, wanted.fallback_replicas)
    for retired in progress.retired:
        run(retired.version, progress.stable_replicas)
    return tuple(runs.values())


def _question(progress: Progress, seen: Observation) -> Question:
    stable, release = progress.stable, _under_way(progress)
    assert stable is not None
    if release is None:
        return Question(stable=stable.id)
    namespace = seen.wanted.service.namespace if seen.wanted else ""
    metrics = metric_question(release, namespace)
    if release.phase is Phase.STARTING:  # what counters show before the release is no part of it: begin to read them
        return Question(stable=stable.id, metrics=metrics)
    asked = judgement.question(release.guard.judge, release.evidence, candidate_percent=release.percent)
    return replace(asked, metrics=metrics)


def _look_at(progress: Progress, seen: Observation) -> float:
    release = _under_way(progress)
    times = [seen.now_s + (REST_S if release is None else _tick_s(release, seen))]
    times += [retired.until_s for retired in progress.retired]
    if release and release.phase is Phase.WITHDRAWN:
        times.append(looks_again_s(release, seen.now_s))
    times += [bar.until_s for bar in seen.bars if bar.until_s is not None]
    if release and release.phase is Phase.ASKING:
        times.append(release.entered_s + release.guard.ask_timeout_s)
    # What is due already was done in this pass, or waits for something else: it must not keep the loop spinning.
    return min(at_s for at_s in times if at_s > seen.now_s)


def _tick_s(release: Release, seen: Observation) -> float:
    waits = release.phase in (Phase.ASKING, Phase.ROLLING_BACK)
    left = seen.traffic is not None and not seen.traffic.reaches(release.candidate.id)
    return PATIENT_S if waits and left else TICK_S


def _reason(progress: Progress) -> str:
    release = _under_way(progress)
    if release is None and (progress.note or progress.waits):
        return progress.note or progress.waits
    if release is None:
        return f"{progress.stable.id} serves" if progress.stable else ""
    if release.blind_since_s is not None and release.phase in _CARRIES:
        if release.blind_to:
            return f"blind to {release.blind_to}; the split holds"
        return "blind: nothing tells of its requests; the split holds"
    if release.judgement and release.judgement.hold and release.phase in (*_CARRIES, Phase.WITHDRAWN):
        return f"{release.reason}; held: {release.judgement.hold}"
    waits = f"; waits: {release.waits}" if release.waits else ""
    unseen = uncounted(release)
    return f"{release.reason}; {unseen}{waits}" if unseen else f"{release.reason}{waits}"
