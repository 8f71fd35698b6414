"""What Git asks for: adopt the first version, start, supersede or hold a release. Pure; called by `engine.step`."""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.releases import Observation, Phase, Progress, Release, Wanted
from sternway.domain.versions import Version
from sternway.engine.lifecycle import begin, superseded


def follow(progress: Progress, seen: Observation) -> Progress:
    """Bring the progress in line with what Git asks for, or note why that is not done."""
    wanted = seen.wanted
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
    if release and not release.phase.over and release.phase is not Phase.ROLLING_BACK:
        progress = superseded(progress, release, seen.now_s, "the service was removed from Git")
    return replace(progress, stable=None, retired=(), note="removed from Git")


def _adopt(progress: Progress, seen: Observation, wanted: Wanted) -> Progress:
    """The first version ever seen is trusted, unless the ledger knows better."""
    version: Version = wanted.version
    note = ""
    if version.id in seen.ledger_bad and seen.recovered is not None:
        note = f"{version.id} is held: the ledger in Git calls it bad; {seen.recovered.id} was proven good"
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
    held = version.id in progress.held or version.id in seen.ledger_bad
    if held and version.id not in progress.pardoned:
        note = f"{version.id} is held: it was taken back before; a new version or `sternway retry {progress.service}` goes on"
        return replace(progress, note=note)
    return begin(progress, wanted, seen.now_s)


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
