"""What Git asks for: adopt the first version, start, supersede or hold a release. Pure; called by `engine.step`."""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.policies import Point
from sternway.domain.releases import Mark, Observation, Phase, Progress, Release, Wanted
from sternway.domain.versions import Version
from sternway.engine.barring import barred, how_to_pass, let_pass
from sternway.engine.exposure import ready
from sternway.engine.lifecycle import begin, needless, superseded

READ_AGAIN_WITHIN_S = 60.0
"""A branch is read again within this time, unless its server is down."""


def follow(progress: Progress, seen: Observation) -> Progress:
    """Bring the progress in line with what Git asks for, or note why that is not done."""
    wanted = seen.wanted
    progress = replace(progress, waits="") if progress.waits else progress
    if wanted is None:
        return _leave(progress, seen)
    if progress.stable is None:
        return _adopt(progress, seen, wanted)
    release = progress.release
    if release is None or release.phase.over:
        return _consider(progress, seen, wanted)
    if wanted.version.id == release.candidate.id:
        return replace(progress, note="") if progress.note else progress
    return _changed_under_way(progress, seen, wanted, release)


def _leave(progress: Progress, seen: Observation) -> Progress:
    release = progress.release
    if release and release.phase is Phase.ROLLING_BACK:
        progress = needless(progress, release, seen.now_s, "the service was removed from Git")
    elif release and not release.phase.over:
        progress = superseded(progress, release, seen.now_s, "the service was removed from Git")
    return replace(progress, stable=None, retired=(), note="removed from Git")


def _adopt(progress: Progress, seen: Observation, wanted: Wanted) -> Progress:
    """The first version ever seen is trusted, unless it was taken back before and a good one is known.

    Or unless one that the ledger calls good runs: then the record was lost while a release was under way, and that begins anew.
    """
    version: Version = wanted.version
    note = ""
    known = next(iter(progress.good), None) or seen.recovered or wanted.fallback
    if _held(progress, seen, version):
        note = f"{version.id} was taken back before, but nothing better is known: it serves"
        if known is not None:
            note = f"{version.id} is held: it was taken back before; {known.id} is known to be good"
            version = known
    elif seen.recovered is not None and seen.recovered.id != version.id and ready(seen, seen.recovered):
        version = seen.recovered
    good = (version, *(v for v in progress.good if v.id != version.id))
    return replace(progress, stable=version, stable_documents=wanted.documents, good=good, note=note)


def _consider(progress: Progress, seen: Observation, wanted: Wanted) -> Progress:
    """No release is under way: begin one if one is needed."""
    stable = progress.stable
    assert stable is not None
    version = wanted.version
    if version.id == stable.id:
        if stable.commit != version.commit or progress.stable_documents != wanted.documents or progress.note:
            return replace(progress, stable=version, stable_documents=wanted.documents, note="")
        return progress
    if _held(progress, seen, version):
        if _just_reverted(progress.release, seen, wanted):
            return progress
        note = f"{version.id} is held: it was taken back before; a new version or `sternway retry {progress.service}` goes on"
        return replace(progress, note=note)
    bar = barred(progress, version, seen, Point.START)
    if bar is not None:
        waits = f"{version.id} waits: {bar.sentence}; {how_to_pass(bar, progress.service)}"
        return replace(progress, note="", waits=waits)
    progress = replace(progress, marks=(*progress.marks, *_first_mark(progress, seen)))
    return begin(progress, wanted, seen.now_s, passed=let_pass(progress, version, seen, Point.START))


def _first_mark(progress: Progress, seen: Observation) -> tuple[Mark, ...]:
    """No promotion has proven the first version seen, yet it is what the first release may have to go back to.

    The ledger must know it before a bad version is the head, so that a store which is lost can be rebuilt from Git.
    """
    stable = progress.stable
    if stable is None or progress.releases or _held(progress, seen, stable) or not ready(seen, stable):
        return ()
    why = "it served when the first release began"
    return (
        Mark(
            service=progress.service,
            version=stable.id,
            commit=stable.commit,
            verdict="good",
            release="",
            why=why,
            at_s=seen.now_s,
        ),
    )


def _just_reverted(release: Release | None, seen: Observation, wanted: Wanted) -> bool:
    """Whether Git asks for something else as soon as it is read again: the revert is there, nobody need be told."""
    if release is None or release.revert is None or release.reverted is None or release.ended_s is None:
        return False
    if seen.now_s - release.ended_s > READ_AGAIN_WITHIN_S:
        return False
    landed = release.reverted.commit is not None and release.reverted.branch is None
    return landed and wanted.commit == release.revert.bad


def _held(progress: Progress, seen: Observation, version: Version) -> bool:
    """Whether a version was taken back, here or by the word of the ledger, and nobody has pardoned it."""
    taken_back = version.id in progress.held or version.id in seen.ledger_bad
    return taken_back and version.id not in progress.pardoned


def _changed_under_way(progress: Progress, seen: Observation, wanted: Wanted, release: Release) -> Progress:
    """Git asks for something other than the candidate that is being released."""
    version = wanted.version
    if release.phase is Phase.ROLLING_BACK:
        return progress
    if version.id == release.stable.id:
        progress = superseded(progress, release, seen.now_s, f"commit {wanted.commit[:9]} takes the change back")
        return _consider(progress, seen, wanted)
    if release.phase is Phase.BAKING:
        return replace(progress, note=f"{version.id} waits until {release.name} has baked (or `sternway promote`)")
    progress = superseded(progress, release, seen.now_s, f"commit {wanted.commit[:9]} asks for {version.id} instead")
    return _consider(progress, seen, wanted)
