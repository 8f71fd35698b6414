"""What happened between two statuses, a line each. Pure; used by `sternway up`, `status --watch` and the demo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sternway.cli.words import clock, duration
from sternway.control.status import PlatformStatus, ReleaseView, ServiceStatus, Trouble

METRIC_MISSED_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line. kind: good, bad, warn or plain."""

    at_s: float
    about: str
    text: str
    kind: str = "plain"

    def __str__(self) -> str:
        return f"{clock(self.at_s)}  {self.about}: {self.text}"


_KINDS = {"rolling-back": "bad", "rolled-back": "bad", "withdrawn": "warn", "asking": "warn", "promoted": "good"}


def events(before: PlatformStatus | None, after: PlatformStatus) -> tuple[Event, ...]:
    """Tell what is new in `after`. Without a `before`, everything that is not as it should be is new."""
    return tuple(_events(before, after))


def _events(before: PlatformStatus | None, after: PlatformStatus) -> Iterator[Event]:
    at_s = after.at_s
    if before is not None and before.commit != after.commit:
        yield Event(at_s=at_s, about="git", text=f"commit {after.commit[:9]}: {after.subject}")
    for problem in after.problems:
        if before is None or problem not in before.problems:
            text = f"commit {after.commit[:9]} is not in force: {problem}"
            yield Event(at_s=at_s, about="git", text=text, kind="bad")
    if before is not None and before.connected and not after.connected:
        yield Event(at_s=at_s, about="proxy", text="not connected", kind="warn")
    if before is not None and after.connected and not before.connected:
        yield Event(at_s=at_s, about="proxy", text="connected", kind="good")
    yield from _troubles(at_s, before.troubles if before else (), after.troubles)
    known = {service.service: service for service in before.services} if before else {}
    for service in after.services:
        yield from _of_service(at_s, known.get(service.service), service)
    for name in sorted(set(known) - {service.service for service in after.services}):
        yield Event(at_s=at_s, about=name, text="removed", kind="warn")


def _of_service(at_s: float, before: ServiceStatus | None, after: ServiceStatus) -> Iterator[Event]:
    name = after.service
    if after.ready and (before is None or not before.ready):
        place = f" at http://{after.address}" if after.address else ""
        yield Event(at_s=at_s, about=name, text=f"{after.stable} is ready{place}", kind="good")
    if before is not None and before.ready and not after.ready:
        failure = next((v.failure for v in after.versions if v.role == "stable" and v.failure), "")
        text = f"{after.stable} is not ready" + (f": {failure}" if failure else "")
        yield Event(at_s=at_s, about=name, text=text, kind="bad")
    elif not after.ready:
        yield from _cannot_run(at_s, before, after)
    if after.release is not None:
        known = before.release if before and before.release and before.release.name == after.release.name else None
        if known is not None or after.release.outcome == "under way" or before is not None:
            yield from _of_release(at_s, known, after.release)
    if after.note and (before is None or before.note != after.note):
        yield Event(at_s=at_s, about=name, text=after.note, kind="warn")
    yield from _troubles(at_s, before.troubles if before else (), after.troubles)


def _cannot_run(at_s: float, before: ServiceStatus | None, after: ServiceStatus) -> Iterator[Event]:
    """A stable version that was not ready before is said to fail when its failure is new."""
    known = {version.id: version.failure for version in before.versions} if before else {}
    for version in after.versions:
        if version.role == "stable" and version.failure and known.get(version.id) != version.failure:
            yield Event(at_s=at_s, about=after.service, text=f"{version.id} cannot run: {version.failure}", kind="bad")


def _of_release(at_s: float, before: ReleaseView | None, after: ReleaseView) -> Iterator[Event]:
    name = after.name
    if before is None:
        text = f"{after.from_version} -> {after.to_version}, {after.strategy}"
        yield Event(at_s=at_s, about=name, text=text)
    place = (after.phase, after.step.partition(":")[0], after.reason)
    if before is None or place != (before.phase, before.step.partition(":")[0], before.reason):
        kind = _KINDS.get(after.phase, "plain")
        words = phase(after)
        text = after.reason if words in after.reason else f"{words}: {after.reason}"
        yield Event(at_s=at_s, about=name, text=text, kind=kind)
    if before is not None and before.paused != after.paused:
        yield Event(at_s=at_s, about=name, text="paused" if after.paused else "goes on")
    if _blind(after) and (before is None or not _blind(before)):
        what = f"blind to {after.blind_to}" if after.blind_to else "nothing can be seen"
        yield Event(at_s=at_s, about=name, text=f"{what}; the split holds", kind="warn")
    if after.hold and (before is None or not before.hold):
        yield Event(at_s=at_s, about=name, text=f"held: {after.hold}", kind="warn")
    reverted = (after.revert_commit, after.revert_branch)
    if reverted != (None, None) and (before is None or reverted != (before.revert_commit, before.revert_branch)):
        yield Event(at_s=at_s, about=name, text=revert_words(after))
    if after.outcome != "under way" and (before is None or before.outcome == "under way"):
        yield Event(at_s=at_s, about=name, text=_end_words(after), kind=_KINDS.get(after.phase, "plain"))


def _troubles(at_s: float, before: tuple[Trouble, ...], after: tuple[Trouble, ...]) -> Iterator[Event]:
    for trouble in after:
        if trouble not in before:
            hint = f" ({trouble.hint})" if trouble.hint else ""
            yield Event(at_s=at_s, about=trouble.about, text=f"{trouble.message}{hint}", kind="bad")
    still = {trouble.about for trouble in after}
    for about in sorted({trouble.about for trouble in before} - still):
        yield Event(at_s=at_s, about=about, text="works again", kind="good")


def phase(release: ReleaseView) -> str:
    """Say where a release stands, in a few words."""
    words = release.phase.replace("-", " ")
    if release.phase == "exposed":
        words = f"step {release.step}" if release.step[:1].isdigit() else f"exposed to {release.step}"
    elif release.phase == "mirroring":
        words = f"mirroring {release.step}"
    elif release.phase == "withdrawn" and release.looks_again_in_s is not None:
        words = f"withdrawn, looking again in {release.looks_again_in_s:.0f} s"
    elif release.phase == "asking" and release.answers_within_s is not None:
        words = f"asking, {duration(release.answers_within_s)} left to answer"
    elif release.awaits_promote:
        words = f"{words}, waits for `sternway promote {release.service}`"
    elif release.phase == "baking" and release.bake_percent is not None:
        words = f"baking, {release.bake_percent:.0f} % done"
    return f"{words}, paused" if release.paused else words


def revert_words(release: ReleaseView) -> str:
    """Say what became of the Git part."""
    if release.revert_branch:
        words = f"the revert stands on branch {release.revert_branch}"
        words += f" as {release.revert_commit[:9]}" if release.revert_commit else ""
    elif release.revert_commit:
        return f"reverted by commit {release.revert_commit[:9]}"
    else:
        words = "nothing was committed"
    return f"{words}: {release.revert_message}" if release.revert_message else words


def _blind(release: ReleaseView) -> bool:
    """Whether blindness is worth a line: a metric is always missing for a moment when an exposure begins."""
    return release.blind_s is not None and (not release.blind_to or release.blind_s >= METRIC_MISSED_S)


def _end_words(release: ReleaseView) -> str:
    words = f"{release.outcome}; {release.requests:,} requests served, {release.hurt:,} hurt"
    if release.detect_s is not None:
        words += f", decided {duration(release.detect_s)} after the first bad answer"
    if release.switch_s is not None and release.outcome == "rolled back":
        words += f", last request on it {duration(release.switch_s)} after the decision"
    return words
