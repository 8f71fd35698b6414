"""The moves of a release: begin, enter a phase, take back, finish. Pure; used by the other engine modules.

A move never decides *whether*; it carries out what `commands`, `follow` and `advance` decided.
"""

from __future__ import annotations

from dataclasses import replace

from sternway import judgement
from sternway.domain.evidence import Counts
from sternway.domain.guards import Canary
from sternway.domain.releases import Mark, Observation, Phase, Progress, Release, Retired, Revert, Wanted
from sternway.domain.versions import Version
from sternway.engine.transitions import Trigger, next_phase

KEEP_GOOD = 10
KEEP_HELD = 100


def begin(progress: Progress, wanted: Wanted, now_s: float) -> Progress:
    """Start a release of what Git asks for."""
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
        ),
        stable_ms=progress.stable_ms,
        reason=f"commit {wanted.commit[:9]} asks for {wanted.version.id}",
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
    }
    if trigger is Trigger.NEXT_STEP:
        changes["index"] = release.index + 1
    if leaves_traffic:
        changes["decided_s"] = release.decided_s if release.decided_s is not None else now_s
        changes["detected_s"] = release.detected_s if release.detected_s is not None else now_s
        if release.judgement and (release.judgement.criterion or "").startswith("latency"):
            changes["first_bad_s"] = release.first_slow_s
    if phase in (Phase.WITHDRAWN, Phase.ASKING) and release.phase is not Phase.WITHDRAWN:
        at_all = release.phase is Phase.BAKING or release.second_look
        changes["returns_to"] = Phase.BAKING if at_all else Phase.EXPOSED
    if phase is Phase.WITHDRAWN:
        changes["withdrawals"] = release.withdrawals + 1
    if trigger is Trigger.LOOK_AGAIN:
        changes["second_look"] = _looks_small(release)
        changes["evidence"] = judgement.begin_exposure(release.evidence)
        changes["decided_s"] = None
    if trigger in (Trigger.OVERRULED, Trigger.OVERRULED_AT_ALL):
        changes["evidence"] = judgement.begin(
            release.guard.judge,
            stable=release.stable.id,
            candidate=release.candidate.id,
            stable_ms=release.stable_ms,
        )
        changes["judgement"] = None
        changes["decided_s"] = None
    if phase is Phase.BAKING or trigger is Trigger.SAME_STEP:
        changes["second_look"] = False
    if phase.over:
        changes["ended_s"] = now_s
    return replace(release, **changes)  # type: ignore[arg-type]  # the names are fields of Release


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
    good = tuple(v for v in progress.good if v.id != bad.id)
    progress = replace(progress, release=release, releases=number, stable=target, good=good)
    return _hold(progress, release, seen.now_s, "bad")


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
    return replace(progress, held=held[-KEEP_HELD:], marks=(*progress.marks, mark), pardoned=pardoned)


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
    evidence = release.judgement.sentence if release.judgement else reason
    body = (
        f"{reason[:1].upper()}{reason[1:]}.\n\n"
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
