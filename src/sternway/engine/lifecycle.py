"""The moves of a release: begin, enter a phase, take back, finish. Pure; used by the other engine modules.

A move never decides *whether*; it carries out what `commands`, `follow` and `advance` decided.
"""

from __future__ import annotations

from dataclasses import replace

from sternway import judgement
from sternway.domain.blame import which_answers
from sternway.domain.evidence import Counts
from sternway.domain.guards import BlueGreen, Canary, Strategy
from sternway.domain.releases import Mark, Observation, Phase, Progress, Release, Retired, Revert, Reverted, Wanted
from sternway.domain.versions import Version
from sternway.engine.gates import overruled
from sternway.engine.transitions import Trigger, next_phase

KEEP_GOOD = 10
KEEP_HELD = 100
KEEP_FALSE_ALARMS = 1000
PROMOTED_BY = "promoted by"
"""So begins the reason when a person promotes; it stays the reason in the end."""
TAKEN_BACK_BY = ("aborted by", "rolled back by")
"""So begins the reason when a person takes a release back; it stays the reason in the end."""
_REACHES_USERS = (Phase.EXPOSED, Phase.BAKING)


def begin(progress: Progress, wanted: Wanted, now_s: float, *, passed: str = "") -> Progress:
    """Start a release of what Git asks for. passed: who let it pass a policy, to follow the reason."""
    stable = progress.stable
    assert stable is not None
    number = progress.releases + 1
    release = Release(
        name=f"{progress.service}-{number}",
        candidate=wanted.version,
        stable=stable,
        guard=wanted.guard,
        documents=_documents(progress, wanted),
        phase=Phase.STARTING,
        started_s=now_s,
        entered_s=now_s,
        step_s=now_s,
        evidence=judgement.begin(
            wanted.guard.judge,
            stable=stable.id,
            candidate=wanted.version.id,
            stable_ms=progress.stable_ms,
            before=_before(progress, stable),
            control=wanted.guard.keeps_control,
        ),
        stable_ms=progress.stable_ms,
        reason=f"commit {wanted.commit[:9]} asks for {wanted.version.id}{passed}",
        committed_s=wanted.committed_s,
    )
    return replace(progress, release=release, releases=number, note="")


def _before(progress: Progress, stable: Version) -> Counts:
    known = progress.answered
    if known is None or known.version != stable.id:
        return Counts()
    return Counts(stable_total=known.total, stable_bad=known.bad)


def enter(release: Release, trigger: Trigger, now_s: float, reason: str) -> Release:
    """Move along the table and set what belongs to the phase that is entered."""
    phase = next_phase(release.phase, trigger)
    leaves_traffic = phase in (Phase.WITHDRAWN, Phase.ASKING, Phase.ROLLING_BACK)
    changes: dict[str, object] = {
        "phase": phase,
        "entered_s": now_s,
        "step_s": now_s,
        "reason": reason,
        "step_requests": 0,
        "gates_running": (),
        "gated_s": None,
    }
    if trigger is Trigger.NEXT_STEP:
        changes["index"] = release.index + 1
    if phase in _REACHES_USERS and release.exposed_s is None:
        changes["exposed_s"] = now_s
    if leaves_traffic:
        changes["decided_s"] = release.decided_s if release.decided_s is not None else now_s
        changes["detected_s"] = release.detected_s if release.detected_s is not None else now_s
        if release.judgement and (release.judgement.criterion or "").startswith("latency"):
            changes["first_bad_s"] = release.first_slow_s
    if phase in (Phase.WITHDRAWN, Phase.ASKING) and release.phase is not Phase.WITHDRAWN:
        changes["returns_to"] = Phase.BAKING if _was_at_all(release) else Phase.EXPOSED
    if phase is Phase.WITHDRAWN or (release.phase, trigger) == (Phase.MIRRORING, Trigger.LOOK_AGAIN):
        changes["withdrawals"] = release.withdrawals + 1
    changes |= _exposed_again(release, trigger, phase)
    if phase is Phase.BAKING or trigger is Trigger.SAME_STEP:
        changes["second_look"] = False
    if phase is Phase.BAKING:
        changes["baked_s"] = 0.0
    if phase.over:
        changes["ended_s"] = now_s
    return replace(release, **changes)  # type: ignore[arg-type]  # the names are fields of Release


def _exposed_again(release: Release, trigger: Trigger, phase: Phase) -> dict[str, object]:
    """What is forgotten when a suspected or condemned candidate gets traffic again."""
    if trigger in (Trigger.OVERRULED, Trigger.OVERRULED_AT_ALL):
        guard = release.guard
        stable, candidate = release.stable.id, release.candidate.id
        evidence = judgement.begin(
            guard.judge, stable=stable, candidate=candidate, stable_ms=release.stable_ms, control=guard.keeps_control
        )
        gates = overruled(release, "overruled").gates
        return {"evidence": evidence, "judgement": None, "decided_s": None, "gates": gates}
    if trigger is Trigger.LOOK_AGAIN or (release.phase is Phase.WITHDRAWN and phase is Phase.BAKING):
        changes: dict[str, object] = {"evidence": judgement.begin_exposure(release.evidence), "decided_s": None}
        if trigger is Trigger.LOOK_AGAIN and release.evidence.suspected and waits_for_certainty(release.guard.strategy):
            # What was sure is sure no more: it climbs anew, with a small share, where a comparison tells most.
            changes |= {"index": 0, "returns_to": Phase.EXPOSED}
            release = replace(release, returns_to=Phase.EXPOSED)
        if trigger is Trigger.LOOK_AGAIN:
            changes["second_look"] = phase is Phase.EXPOSED and _looks_small(release)
        return changes
    return {}


def waits_for_certainty(strategy: Strategy) -> bool:
    """Whether a step of it lasts until something is sure."""
    return isinstance(strategy, Canary) and any(step.until is not None for step in strategy.steps)


def _was_at_all(release: Release) -> bool:
    """Whether all traffic was there, or was to go there again. Blue-green knows no share but all."""
    again = release.second_look and release.returns_to is Phase.BAKING
    return release.phase is Phase.BAKING or again or isinstance(release.guard.strategy, BlueGreen)


def _looks_small(release: Release) -> bool:
    """Whether to look again with a small share: after all traffic, and where only placebo arms can condemn."""
    keyless = release.guard.judge.cluster_key is None and isinstance(release.guard.strategy, Canary)
    return keyless or release.returns_to is Phase.BAKING


def take_back(
    progress: Progress,
    release: Release,
    now_s: float,
    reason: str,
    *,
    revert: bool,
    trigger: Trigger = Trigger.TAKEN_BACK,
    verdict: str = "bad",
) -> Progress:
    """Roll a release back: hold the version, write the ledger, and plan the Git part."""
    release = enter(release, trigger, now_s, reason)
    release = replace(release, revert=_revert(release, reason) if revert else None)
    return _hold(replace(progress, release=release), release, now_s, verdict)


def open_rollback(progress: Progress, seen: Observation, target: Version, reason: str) -> Progress:
    """Roll the stable version back to `target` although no release is under way."""
    bad = progress.stable
    assert bad is not None
    number = progress.releases + 1
    wanted = seen.wanted
    assert wanted is not None
    release = Release(
        name=f"{progress.service}-{number}",
        candidate=bad,
        stable=target,
        guard=wanted.guard,
        documents=_documents(progress, wanted),
        phase=Phase.ROLLING_BACK,
        started_s=seen.now_s,
        entered_s=seen.now_s,
        step_s=seen.now_s,
        detected_s=seen.now_s,
        decided_s=seen.now_s,
        percent=100.0,
        evidence=judgement.begin(wanted.guard.judge, stable=target.id, candidate=bad.id, stable_ms=()),
        reason=reason,
    )
    if not (wanted.fallback and wanted.fallback.id == target.id):
        release = replace(release, revert=_revert(release, reason))
    progress = replace(progress, release=release, releases=number, stable=target)
    return _hold(progress, release, seen.now_s, "bad")


def retarget(progress: Progress, release: Release, seen: Observation) -> Progress:
    """The version to go back to cannot run: take the next one. A rollback must not wait for ever for what is broken.

    In this order: what was proven good, the fallback, and last what Git asks for by now, when nobody holds it.
    """
    wanted = seen.wanted
    tried = {release.candidate.id, release.stable.id, *progress.held, *seen.ledger_bad} - {*progress.pardoned}
    tried |= {release.candidate.id, release.stable.id}
    others = (*progress.good, *((wanted.fallback, wanted.version) if wanted else ()))
    target = next((v for v in others if v is not None and v.id not in tried), None)
    if target is None:
        return progress
    reason = f"{release.reason}; {release.stable.id} cannot run, so traffic goes to {target.id}"
    # What cannot run goes to the end of the line; the next one is good as far as anybody knows.
    unable: tuple[Version, ...] = tuple(v for v in progress.good if v.id == release.stable.id)
    good = (target, *(v for v in progress.good if v.id not in (target.id, release.stable.id)), *unable)
    release = replace(release, stable=target, entered_s=seen.now_s, step_s=seen.now_s, reason=reason)
    return replace(progress, release=release, stable=target, good=good)


def promoted(progress: Progress, release: Release, now_s: float) -> Progress:
    """The candidate is proven good: it is the stable version from now on."""
    release = enter(release, Trigger.BAKED, now_s, release.reason or "no harm seen")
    good = (release.candidate, *(v for v in progress.good if v.id != release.candidate.id))
    mark = _mark(release, "good", release.candidate, now_s, _why(release))
    return replace(
        progress,
        release=release,
        stable=release.candidate,
        stable_documents=release.documents,
        good=good[:KEEP_GOOD],
        retired=(*progress.retired, Retired(version=release.stable, until_s=now_s + release.guard.keep_s)),
        marks=(*progress.marks, mark),
    )


def needless(progress: Progress, release: Release, now_s: float, why: str) -> Progress:
    """End a rollback whose Git part is not needed any more."""
    if release.revert is not None and release.reverted is None:
        nothing = Reverted(release=release.name, commit=None, message=f"nothing was reverted: {why}")
        release = replace(release, reverted=nothing)
    return settled(progress, release, now_s)


def settled(progress: Progress, release: Release, now_s: float) -> Progress:
    """Traffic is back and Git has been dealt with."""
    return _retire(replace(progress, release=enter(release, Trigger.SETTLED, now_s, release.reason)), release, now_s)


def superseded(progress: Progress, release: Release, now_s: float, reason: str) -> Progress:
    """Git asks for something else before the release was decided: nobody is to blame."""
    release = enter(release, Trigger.SUPERSEDED, now_s, reason)
    return _retire(replace(progress, release=release), release, now_s)


def _documents(progress: Progress, wanted: Wanted) -> tuple[tuple[str, str, str], ...]:
    """What may have to be restored: the documents of the version that goes and of the one that comes."""
    return tuple(sorted({*progress.stable_documents, *wanted.documents}))


def _retire(progress: Progress, release: Release, now_s: float) -> Progress:
    """Keep the candidate until its last requests are answered, then stop it."""
    drain_s = min(release.candidate.policy.timeout_ms / 1000, 5.0)
    retired = (*progress.retired, Retired(version=release.candidate, until_s=now_s + drain_s))
    return replace(progress, retired=retired)


def _hold(progress: Progress, release: Release, now_s: float, verdict: str) -> Progress:
    held = (*(v for v in progress.held if v != release.candidate.id), release.candidate.id)
    mark = _mark(release, verdict, release.candidate, now_s, release.reason)
    pardoned = tuple(v for v in progress.pardoned if v != release.candidate.id)
    good = tuple(v for v in progress.good if v.id != release.candidate.id)
    return replace(progress, held=held[-KEEP_HELD:], marks=(*progress.marks, mark), pardoned=pardoned, good=good)


def _mark(release: Release, verdict: str, version: Version, now_s: float, why: str) -> Mark:
    return Mark(
        service=version.service,
        version=version.id,
        commit=version.commit,
        verdict=verdict,
        release=release.name,
        why=why,
        at_s=now_s,
    )


def _why(release: Release) -> str:
    judged = release.judgement.sentence if release.judgement else release.reason
    return f"{release.requests} requests served, {release.hurt} hurt; {judged}"


def _revert(release: Release, reason: str) -> Revert | None:
    bad, good = release.candidate, release.stable
    if not bad.commit or not good.commit or bad.commit == good.commit:
        return None
    judged = release.judgement
    evidence = judged.sentence if judged else reason
    told = [reason, which_answers(release.bad_answers, judged.criterion if judged else None)]
    told += [judged.otherwise.sentence] if judged and judged.otherwise else []
    why = "\n".join(f"{one[:1].upper()}{one[1:]}." for one in told if one)
    body = (
        f"{why}\n\n"
        f"This gives {release.candidate.service} back what it ran at {good.commit[:9]} ({good.id}) and\n"
        f"touches nothing else. {bad.id} is held until a person retries it or a new version comes."
    )
    return Revert(
        release=release.name,
        service=bad.service,
        bad=bad.commit,
        restore=good.commit,
        documents=release.documents,
        subject=_subject(bad, good),
        body=body,
        trailers=(
            ("Sternway-Release", release.name),
            ("Sternway-Reverts", bad.commit),
            ("Sternway-Version", bad.id),
            ("Sternway-Restores", good.id),
            ("Sternway-Evidence", evidence),
        ),
    )


def _subject(bad: Version, good: Version) -> str:
    if bad.workload.image != good.workload.image:
        return f"Roll {bad.service} back from {bad.workload.tag} to {good.workload.tag}"
    what = "mesh policy" if bad.workload == good.workload else "configuration"
    return f"Roll the {what} of {bad.service} {bad.workload.tag} back"
