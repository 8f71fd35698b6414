"""A journal and a command queue in memory: lists and dicts, with the same contract as `sternway.store.SqlStore`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sternway.domain.releases import Command, Progress, Verb
from sternway.ports import EVIDENCE, ROLLED_UP, Entry
from sternway.store.lines import Latest, Line, evidence, keep, no_trail, rolled_up, storable
from sternway.store.rollup import IDLE_S


class MemoryStore:
    """Forgets everything with the process. `lines` and `commands` may be looked at."""

    def __init__(self, *, condense: Callable[[str, Sequence[Entry]], str] = no_trail) -> None:
        self._condense = condense
        self.lines: list[Line] = []
        self.commands: list[Command] = []
        self._asked: dict[tuple[str, str], Command] = {}
        self._progress: dict[str, Progress] = {}
        self._latest: dict[str, Latest] = {}
        self._seq = 0

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def record(self, entries: Sequence[Entry], *, sync: bool = False) -> None:  # noqa: ARG002 - memory has no disk
        """See ports.Journal."""
        self._append(keep(entries, self._latest))
        self._progress.update({entry.service: entry.progress for entry in entries if entry.progress is not None})

    async def progress(self, service: str) -> Progress | None:
        """See ports.Journal."""
        return self._progress.get(service)

    async def latest(self, service: str) -> Entry | None:
        """See ports.Journal."""
        passes = (line.entry for line in reversed(self.lines) if line.entry.kind == "pass")
        return next((entry for entry in passes if entry.service == service), None)

    async def services(self) -> tuple[str, ...]:
        """See ports.Journal."""
        return tuple(sorted(self._progress))

    async def entries(
        self,
        *,
        service: str | None = None,
        release: str | None = None,
        kind: str | None = None,
        after: int = 0,
        limit: int | None = None,
        checkpoints: bool = False,
    ) -> tuple[Entry, ...]:
        """See ports.Journal and SqlStore."""
        found = (
            line.entry
            for line in self.lines
            if line.entry.seq > after
            and service in (None, line.entry.service)
            and release in (None, line.entry.release)
            and kind in (None, line.entry.kind)
            and not (checkpoints and line.entry.progress is None)
        )
        return tuple(found)[:limit]

    async def milestones(self, *, after: int = 0, limit: int | None = None) -> tuple[Entry, ...]:
        """See SqlStore."""
        found = [line.entry for line in self.lines if line.entry.progress is not None or line.entry.kind == "applied"]
        return tuple(replace(e, observation=None, decision=None) for e in found if e.seq > after)[:limit]

    async def add(
        self, service: str, verb: str, by: str, at_s: float, to: str | None, reason: str, *, asked: str | None = None
    ) -> Command:
        """See ports.CommandQueue."""
        if asked and (service, asked) in self._asked:
            return self._asked[service, asked]
        command = Command(
            id=len(self.commands) + 1,
            service=service,
            verb=Verb(verb),
            by=storable(by),
            at_s=at_s,
            to=to and storable(to),
            reason=storable(reason),
        )
        self.commands.append(command)
        if asked:
            self._asked[service, asked] = command
        return command

    async def after(self, service: str, last: int) -> tuple[Command, ...]:
        """See ports.CommandQueue."""
        return tuple(command for command in self.commands if command.service == service and command.id > last)

    async def roll_up(
        self, now_s: float, *, keep_releases: int = 50, keep_s: float = 30 * 86_400.0, forget_s: float = 365 * 86_400.0
    ) -> None:
        """See `sternway.store.rollup`."""
        ranks: dict[str, int] = {}
        for service, release in reversed(dict.fromkeys((e.service, e.release) for e in self._entries() if e.release)):
            rank = ranks[service] = ranks.get(service, -1) + 1
            age_s = now_s - max(e.at_s for e in self._entries(service, release) if not _added_later(e))
            if rank and rank >= keep_releases and age_s > forget_s:
                gone = self._entries(service, release)
                self.lines = [line for line in self.lines if line.entry not in gone]
            elif rank and (rank >= keep_releases or age_s > keep_s):
                self._roll_up(service, release or "", now_s)
        self.lines = [
            line
            for line in self.lines
            if line.entry.release or now_s - line.entry.at_s <= (keep_s if line.essential else IDLE_S)
        ]

    def _entries(self, service: str | None = None, release: str | None = None) -> list[Entry]:
        entries = [line.entry for line in self.lines]
        return [e for e in entries if service in (None, e.service) and release in (None, e.release)]

    def _roll_up(self, service: str, release: str, now_s: float) -> None:
        mine = [line for line in self.lines if (line.entry.service, line.entry.release) == (service, release)]
        last = max(line.entry.seq for line in mine if not _added_later(line.entry))
        gone = {line.entry.seq for line in mine if not line.essential} - {last}
        if gone:
            left = [line for line in self.lines if line.entry.seq not in gone]
            self.lines = [replace(line, essential=True) if line.entry.seq == last else line for line in left]
            told = self._condense(release, [line.entry for line in mine])
            kept = [evidence(release, service, told, now_s=now_s)] if told else []
            self._append([*kept, rolled_up(release, service, dropped=len(gone), now_s=now_s)])

    def _append(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._seq += 1
            self.lines.append(replace(line, entry=replace(line.entry, seq=self._seq)))


def _added_later(entry: Entry) -> bool:
    """Whether a roll-up wrote the line."""
    return entry.kind == EVIDENCE or entry.text.startswith(ROLLED_UP)
