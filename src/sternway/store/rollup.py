"""Bounded growth: what the journal may forget, in small transactions, so that a decision never waits for it.

- Passes without a release: kept for an hour; those of them that changed something as long as releases.
- Releases beyond a service's newest `keep_releases`, or older than `keep_s`: only their essential lines stay (the
  first and the last, decisions that changed something, checkpoints with the evidence, failures), and a note says so.
- Releases older than `forget_s`, beyond the newest: gone. The ledger in Git still knows their versions.
- Interned values that no line needs any more: gone.

A service's newest release is never touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from sternway.ports import EVIDENCE, ROLLED_UP, Entry
from sternway.store import schema
from sternway.store.dialects import give_back
from sternway.store.lines import Line, evidence, rolled_up
from sternway.store.schema import entries
from sternway.store.texts import Texts, Writing
from sternway.store.worker import Worker

IDLE_S = 3600.0
_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is kept, seen from `now_s`."""

    now_s: float
    keep_releases: int
    keep_s: float
    forget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRelease:
    """A release that was not the newest of its service. `rank`: how many newer ones there are. `last`: its last seq."""

    service: str
    name: str
    rank: int
    last: int
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp:
    """One round. `append` writes lines within a transaction of the writer, `read` reads those of a release.

    condense: makes a release's evidence over time out of its lines, in a few kilobytes.
    """

    writer: Worker
    reader: Worker
    texts: Texts
    append: Callable[[Connection, Writing, Sequence[Line]], None]
    read: Callable[[str], tuple[Entry, ...]]
    condense: Callable[[str, Sequence[Entry]], str]

    async def run(self, limits: Limits) -> None:
        """Forget what may be forgotten."""
        idle = entries.c.release.is_(None)
        await self._delete(idle & ~entries.c.essential & (entries.c.at_s < limits.now_s - IDLE_S))
        await self._delete(idle & (entries.c.at_s < limits.now_s - limits.keep_s))
        for release in await self.reader.run(self._old_releases):
            of_release = _of(release)
            if release.last_s < limits.now_s - limits.forget_s and release.rank >= limits.keep_releases:
                await self._delete(of_release)
            elif release.rank >= limits.keep_releases or release.last_s < limits.now_s - limits.keep_s:
                told = await self.reader.run(self._condensed, release)
                await self.writer.run(self._say_so, release, told, limits.now_s)
                await self._delete(of_release & ~entries.c.essential)
        await self._forget_interned()
        while await self.writer.run(self._give_back):
            pass

    async def _delete(self, where: ColumnElement[bool]) -> None:
        while await self.writer.run(self._delete_some, where):
            pass

    def _delete_some(self, where: ColumnElement[bool]) -> bool:
        some = select(entries.c.seq).where(where).limit(_AT_ONCE)
        with self.writer.transaction() as connection:
            return connection.execute(delete(entries).where(entries.c.seq.in_(some))).rowcount == _AT_ONCE

    def _old_releases(self) -> list[OldRelease]:
        query = (
            select(entries.c.service, entries.c.release, func.max(entries.c.seq), func.max(entries.c.at_s))
            .where(entries.c.release.is_not(None), entries.c.text.not_like(f"{ROLLED_UP}%"), entries.c.kind != EVIDENCE)
            .group_by(entries.c.service, entries.c.release)
            .order_by(func.min(entries.c.seq).desc())
        )
        with self.reader.reading() as connection:
            rows = connection.execute(query).all()
        ranks: dict[str, int] = defaultdict(int)
        old = []
        for service, name, last, last_s in rows:
            rank, ranks[service] = ranks[service], ranks[service] + 1
            if rank:
                old.append(OldRelease(service=service, name=name, rank=rank, last=last, last_s=last_s))
        return old

    def _condensed(self, release: OldRelease) -> str:
        """Before single passes go for the first time: what they say of the evidence."""
        with self.reader.reading() as connection:
            going = connection.scalar(select(func.count()).where(_of(release) & ~entries.c.essential))
        return self.condense(release.name, self.read(release.name)) if going else ""

    def _say_so(self, release: OldRelease, told: str, now_s: float) -> None:
        """Before the first line goes: keep the last one, and leave a note."""
        with self.writer.transaction() as connection:
            connection.execute(update(entries).where(entries.c.seq == release.last).values(essential=True))
            dropped = connection.scalar(select(func.count()).where(_of(release) & ~entries.c.essential))
            if dropped:
                note = rolled_up(release.name, release.service, dropped=dropped, now_s=now_s)
                kept = evidence(release.name, release.service, told, now_s=now_s)
                self.append(connection, self.texts.writing(), [*([kept] if told else []), note])

    async def _forget_interned(self) -> None:
        """Look long on the reader, while `touched` notes what the writer needs meanwhile; then delete."""
        self.texts.touched = set()
        try:
            unused = await self.reader.run(self._unused)
            await self.writer.run(self._discard, unused)
        finally:
            self.texts.touched = None

    def _unused(self) -> set[str]:
        with self.reader.reading() as connection:
            used: set[str] = set()
            for table in (entries, schema.progress):
                for refs in connection.scalars(select(table.c.refs).distinct()):
                    used.update(refs.split())
            return set(connection.scalars(select(schema.interned.c.digest))) - used

    def _discard(self, unused: set[str]) -> None:
        with self.writer.transaction() as connection:
            self.texts.discard(connection, unused - (self.texts.touched or set()))

    def _give_back(self) -> bool:
        with self.writer.transaction() as connection:
            return give_back(connection)


def _of(release: OldRelease) -> ColumnElement[bool]:
    return (entries.c.service == release.service) & (entries.c.release == release.name)
