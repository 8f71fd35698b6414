"""What a line of the journal keeps. Pure; shared by every store, and by the one in memory that tests use.

A replay folds observations over the progress from which a release began, so a line keeps no progress of its own, but:
- the first line of a release keeps the progress *before* it (`Entry.before`), where a replay starts;
- a line on which the release, its phase or its step changed keeps the progress *after* it (`Entry.progress`): a
  checkpoint, with the evidence so far. The last line of a release is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sternway.domain.releases import Decision, Progress
from sternway.ports import EVIDENCE, ROLLED_UP, Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """What is remembered of a service's journal between two lines."""

    release: str | None = None
    progress: Progress | None = None
    decision: Decision | None = None
    texts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry as it is stored. `essential`: it stays when its release is rolled up."""

    entry: Entry
    essential: bool


def keep(entries: Sequence[Entry], latest: dict[str, Latest]) -> list[Line]:
    """Decide what each entry keeps; `latest` (by service) is brought up to date."""
    lines = []
    for entry in entries:
        before = latest.get(entry.service, Latest())
        line = _line(entry, before)
        lines.append(line)
        texts = {**dict(before.texts), entry.kind: entry.text}
        latest[entry.service] = Latest(
            release=entry.release if entry.kind == "pass" else before.release,
            progress=entry.progress or before.progress,
            decision=entry.decision or before.decision,
            texts=tuple(texts.items()),
        )
    return lines


def storable(text: str) -> str:
    """Replace what some database refuses (half a UTF-16 pair, NUL): words from outside must not make a record fail."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def rolled_up(release: str, service: str, *, dropped: int, now_s: float) -> Line:
    """Build the note that tells a reader why a release cannot be replayed any more."""
    text = f"{ROLLED_UP}{dropped} passes that changed nothing are dropped; this release cannot be replayed any more"
    return Line(entry=Entry(service=service, release=release, kind="note", at_s=now_s, text=text), essential=True)


def no_trail(release: str, entries: Sequence[Entry]) -> str:  # noqa: ARG001  the form of what condenses
    """Keep nothing of a release's evidence over time when its single passes go."""
    return ""


def evidence(release: str, service: str, text: str, *, now_s: float) -> Line:
    """Build the line that keeps what the evidence was, when single passes go."""
    return Line(entry=Entry(service=service, release=release, kind=EVIDENCE, at_s=now_s, text=text), essential=True)


def _line(entry: Entry, latest: Latest) -> Line:
    begins = entry.kind == "pass" and entry.release not in (None, latest.release)
    before = entry.before or (latest.progress if begins else None)
    checkpoint = entry.progress is not None and _place(entry.progress) != _place(latest.progress)
    if entry.kind == "pass":
        changed = entry.decision is not None and _lasting(entry.decision) != _lasting(latest.decision)
    else:
        changed = entry.text != dict(latest.texts).get(entry.kind)
    kept = replace(entry, text=storable(entry.text), before=before, progress=entry.progress if checkpoint else None)
    return Line(entry=kept, essential=begins or checkpoint or changed)


def _place(progress: Progress | None) -> object:
    """Where a service stands: what a person would call a step forward or back."""
    if progress is None:
        return None
    release = progress.release
    return progress.stable and progress.stable.id, release and (release.name, release.phase, release.index)


def _lasting(decision: Decision | None) -> Decision | None:
    """Leave out of a decision what differs from pass to pass though nothing changes."""
    return decision and replace(decision, look_at_s=None, question=None, reason="")
