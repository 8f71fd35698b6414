"""What people are to be told now. Pure, and level-based: from where a service stands, never from what happened.

Called by `sternway.control.telling` after each pass and every second. A notice that is not there any more is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sternway.domain.blame import which_answers
from sternway.domain.guards import Then
from sternway.domain.judgements import Verdict
from sternway.domain.notices import Failing, Notice, What
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Phase, Progress, Release
from sternway.engine.uncounted import REMEDY, uncounted

BLIND_AFTER_S = 10.0
"""Blindness is told from then on: something is always missing for a moment when an exposure begins."""
UNCOUNTED_AFTER_S = 60.0
"""That nothing counts a release's requests is told from then on: a proxy tells of a service with the first request to it."""
FAILING_AFTER_S = 30.0
"""What fails is tried again; it is told when that has not helped for so long."""
GIT_WITHIN_S = 30.0
"""A message about a rollback waits so long for the commit that takes it back in Git."""
PROMOTED_FOR_S = 3600.0

_TAKEN_BACK = (Phase.ROLLING_BACK, Phase.ROLLED_BACK)


def notices(
    progress: Progress,
    workloads: Sequence[WorkloadState],
    failing: Sequence[Failing],
    *,
    now_s: float,
    rolled_back_s: float,
) -> tuple[Notice, ...]:
    """Everything that is to be told of a service. rolled_back_s: how long a rollback is news."""
    return (
        *_of_release(progress, now_s, rolled_back_s),
        *_of_versions(progress, workloads),
        *(_failed(one, progress) for one in failing if now_s - one.since_s >= FAILING_AFTER_S),
    )


def of_platform(failing: Sequence[Failing], *, now_s: float) -> tuple[Notice, ...]:
    """Everything that is to be told of no single service."""
    return tuple(_failed(one, None) for one in failing if now_s - one.since_s >= FAILING_AFTER_S)


def _of_release(progress: Progress, now_s: float, rolled_back_s: float) -> Iterator[Notice]:
    release = progress.release
    if release is None:
        return
    ended_s = now_s - release.ended_s if release.ended_s is not None else 0.0
    if release.phase in _TAKEN_BACK and ended_s < rolled_back_s:
        yield _rolled_back(progress, release)
    if release.phase is Phase.PROMOTED and ended_s < PROMOTED_FOR_S:
        yield _promoted(release)
    if release.phase.over or release.phase is Phase.ROLLING_BACK:
        return
    if release.phase is Phase.WITHDRAWN:
        yield _withdrawn(release)
    if release.phase is Phase.ASKING:
        yield _asking(release)
    judged = release.judgement
    if judged is not None and judged.hold and release.phase is not Phase.ASKING:
        yield _held(release, judged.hold)
    if judged is not None and judged.common_trouble:
        yield _shared(release, judged.common_trouble)
    yield from _unseen(release, now_s)


def _unseen(release: Release, now_s: float) -> Iterator[Notice]:
    if release.blind_since_s is not None and now_s - release.blind_since_s >= BLIND_AFTER_S:
        yield _blind(release)
    elif uncounted(release) and now_s - release.entered_s >= UNCOUNTED_AFTER_S:
        yield _uncounted(release)


def _of_versions(progress: Progress, workloads: Sequence[WorkloadState]) -> Iterator[Notice]:
    """Tell of a held version that Git asks for, and of a stable one that cannot run."""
    release, stable = progress.release, progress.stable
    if stable is None:
        return
    if progress.note and (release is None or release.phase.over):
        yield Notice(
            what=What.HELD,
            service=progress.service,
            which=progress.note.partition(" ")[0],
            version=progress.note.partition(" ")[0],
            summary=f"{progress.service}: what Git asks for is not released",
            seen=progress.note,
            done=f"{stable.id} serves",
            todo=f"commit a new version, or `sternway retry {progress.service}` when it is good after all",
        )
    state = next((one for one in workloads if one.workload_id == stable.workload.id), None)
    if state is not None and state.failure:
        yield Notice(
            what=What.FAILED,
            service=progress.service,
            which=f"to run {stable.id}",
            version=stable.id,
            summary=f"{progress.service}: {stable.id}, which is to serve, cannot run",
            seen=f"{state.failure}; {state.ready} of {state.desired} replicas are ready",
            done="it is started again and again",
            todo=f"see `sternway logs {progress.service}`, or `sternway rollback {progress.service}` to the version before",
        )


def _about(release: Release, what: What, summary: str, **more: str | float | None) -> Notice:
    return Notice(
        what=what,
        service=release.candidate.service,
        release=release.name,
        version=release.candidate.id,
        summary=f"{release.candidate.service}: {summary}",
        **more,  # type: ignore[arg-type]  # the names are fields of Notice
    )


def _rolled_back(progress: Progress, release: Release) -> Notice:
    back = release.phase is Phase.ROLLED_BACK
    since_s = release.decided_s if release.decided_s is not None else release.entered_s
    return _about(
        release,
        What.ROLLED_BACK,
        f"{release.candidate.id} {'was' if back else 'is being'} rolled back to {release.stable.id}",
        seen=_evidence(release),
        done=_done(progress, release),
        todo=_after(progress, release),
        since_s=since_s,
        tell_from_s=0.0 if back else release.entered_s + GIT_WITHIN_S,
    )


def _promoted(release: Release) -> Notice:
    return _about(
        release,
        What.PROMOTED,
        f"{release.candidate.id} was promoted; it replaces {release.stable.id}",
        seen=release.reason,
        done="it has all traffic and is called good",
        todo=f"nothing; should it turn out bad after all, `sternway rollback {release.candidate.service}`",
        since_s=release.ended_s,
    )


def _withdrawn(release: Release) -> Notice:
    service = release.candidate.service
    return _about(
        release,
        What.WITHDRAWN,
        f"{release.candidate.id} is suspected, and its traffic was taken away",
        which=f"#{release.withdrawals}",
        seen=_evidence(release),
        done=f"all traffic is on {release.stable.id}; nothing was written to Git; it is looked at again after a while",
        todo=f"nothing; `sternway rollback {service}` takes it back at once, `sternway pause {service}` leaves it withdrawn",
        since_s=release.entered_s,
    )


def _asking(release: Release) -> Notice:
    service, guard = release.candidate.service, release.guard
    unanswered = {Then.ROLLBACK: "it is rolled back", Then.PROMOTE: "it gets all traffic", Then.HOLD: "it stays so"}
    return _about(
        release,
        What.HELD,
        f"{release.candidate.id} waits for a person's word",
        which=f"asking #{release.withdrawals}",
        seen=_evidence(release),
        done=f"all traffic is on {release.stable.id}; nothing was written to Git",
        todo=(
            f"`sternway rollback {service}` takes it back, `sternway resume {service}` exposes it again, "
            f"`sternway promote {service}` gives it all traffic; without an answer within {guard.ask_timeout_s:g} s "
            f"{unanswered[guard.ask_then]}"
        ),
        since_s=release.entered_s,
    )


def _held(release: Release, why: str) -> Notice:
    service = release.candidate.service
    return _about(
        release,
        What.HELD,
        f"{release.candidate.id} goes no further",
        which="at its step",
        seen=why,
        done="it stays where it is; harm still takes it back",
        todo=f"`sternway rollback {service}` takes it back, `sternway promote {service}` gives it all traffic",
    )


def _shared(release: Release, sentence: str) -> Notice:
    return _about(
        release,
        What.SHARED,
        f"{release.candidate.id} and {release.stable.id} both do badly: the release is not to blame",
        seen=sentence,
        done="no version is taken back for what both suffer",
        todo=f"look for what both use: a database, a service that they call (`sternway services`); "
        f"`sternway release show {release.name}` shows the figures",
    )


def _blind(release: Release) -> Notice:
    guard = release.guard
    criterion, _, why = release.blind_to.partition(": ")
    ends = {
        Then.HOLD: "the split holds until it is seen again",
        Then.ROLLBACK: f"the split holds; after {guard.blind_s:g} s it is rolled back",
        Then.PROMOTE: f"the split holds; after {guard.blind_s:g} s it gets all traffic",
    }
    todo = f"mend what feeds {criterion}" if criterion else "see whether the proxy runs (`sternway status`)"
    return _about(
        release,
        What.BLIND,
        f"{release.candidate.id} cannot be judged: {criterion or 'nothing'} {'is not' if criterion else 'is'} seen",
        which=criterion or "everything",
        seen=why or "nothing tells of its requests",
        done=ends[guard.blind_then],
        todo=f"{todo}; `sternway rollback {release.candidate.service}` takes it back",
        since_s=release.blind_since_s,
    )


def _uncounted(release: Release) -> Notice:
    return _about(
        release,
        What.BLIND,
        f"{release.candidate.id} is judged by crashes and alerts alone: nothing counts its requests",
        which="requests",
        seen=uncounted(release),
        done="a crash or an alert still takes it back",
        todo=f"{REMEDY}; `sternway promote {release.candidate.service}` gives it all traffic as it is",
        since_s=release.entered_s,
    )


def _failed(one: Failing, progress: Progress | None) -> Notice:
    release = progress.release if progress is not None else None
    named = release is not None and release.name in one.about
    what = one.about.replace("revert ", "the revert of ", 1).replace("marks ", "the ledger of ", 1)
    return Notice(
        what=What.FAILED,
        service=progress.service if progress is not None else "",
        which=one.about,
        release=release.name if release is not None and named else "",
        version=release.candidate.id if release is not None and named else "",
        summary=f"Sternway cannot do what it should: {what}",
        seen=one.message,
        done="it is tried until it is done; traffic does not wait for it",
        todo=one.hint or "`sternway status` shows what is in the way",
        since_s=one.since_s,
    )


def _evidence(release: Release) -> str:
    """Why, and on which requests it rests. The judge's sentence is the reason when it was the judge."""
    judged = release.judgement
    decided = judged is not None and judged.verdict in (Verdict.SUSPECT, Verdict.HARMFUL)
    answers = which_answers(release.bad_answers, judged.criterion) if judged is not None and decided else ""
    said = [release.reason]
    said += [judged.sentence] if judged is not None and decided and judged.sentence not in release.reason else []
    said += [f"it rests on {answers}"] if answers else []
    return "; ".join(said)


def _done(progress: Progress, release: Release) -> str:
    hurt = f"{release.hurt:,} of {release.requests:,} requests to it were answered badly" if release.requests else ""
    back = release.phase is Phase.ROLLED_BACK
    mesh = f"all traffic is {'back' if back else 'going back'} on {release.stable.id}"
    held = f"{release.candidate.id} is held" if release.candidate.id in progress.held else ""
    return "; ".join(part for part in (mesh, held, _git(release), hurt) if part)


def _git(release: Release) -> str:
    reverted = release.reverted
    if release.revert is None:
        return "Git is left as it is"
    if reverted is None:
        return "the revert in Git is still to be pushed"
    if reverted.branch is not None:
        return f"the revert stands on the branch {reverted.branch}"
    return f"Git: commit {reverted.commit[:9]} takes it back" if reverted.commit else reverted.message


def _after(progress: Progress, release: Release) -> str:
    service = progress.service
    reverted = release.reverted
    if reverted is not None and reverted.branch is not None:
        return f"merge or drop {reverted.branch}: the watched branch still asks for the bad version"
    if release.revert is None or (reverted is not None and reverted.commit is None):
        return f"Git may still ask for it: commit another version, or `sternway retry {service}`"
    return f"mend the cause and commit a new version; `sternway release show {release.name}` tells it all"
