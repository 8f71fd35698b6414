"""Lines that wait in memory while the journal cannot be written. Used by `control.reconcile`; bounded.

The first lines are kept, because they tell how the trouble began, and the latest ones. What is dropped between them is
told by a note, and the line behind the gap carries the progress from which a replay goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sternway.domain.releases import Reply
from sternway.ports import Entry

MOST = 1_000
"""So many lines of a service wait at most."""


@dataclass(slots=True)
class Unrecorded:
    """The waiting lines of one service."""

    lines: list[Entry] = field(default_factory=list)
    _dropped: int = 0
    _replies: list[Reply] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Let a line wait; the oldest behind the first half gives way when there are too many."""
        self.lines.append(entry)
        if len(self.lines) <= MOST:
            return
        gone = self.lines.pop(MOST // 2)
        self._dropped += 1
        self._replies += gone.decision.replies if gone.decision else ()
        self.lines[MOST // 2] = replace(self.lines[MOST // 2], before=gone.progress)

    def entries(self) -> tuple[Entry, ...]:
        """What is to be written."""
        if not self._dropped:
            return tuple(self.lines)
        behind = self.lines[MOST // 2]
        text = f"{self._dropped} passes are missing here: the journal could not be written for too long"
        note = Entry(service=behind.service, release=behind.release, kind="note", at_s=behind.at_s, text=text)
        return (*self.lines[: MOST // 2], note, *self.lines[MOST // 2 :])

    def replies(self) -> tuple[Reply, ...]:
        """The answers that people wait for, in the order of their commands."""
        kept = [reply for entry in self.lines if entry.decision for reply in entry.decision.replies]
        return tuple(sorted([*kept, *self._replies], key=lambda reply: reply.command))
