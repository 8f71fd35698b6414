"""The journal and the command queue in a SQL database: SQLite embedded, any other by its URL.

Called by `sternway.control` through `ports.Journal` and `ports.CommandQueue`. Everything that the control loop waits
for happens on one writer thread with one connection; long reads have a thread and a connection of their own, so that
a person who looks at the history delays no rollback.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, null, or_, select, update

from sternway.domain.releases import Command, Decision, Observation, Progress, Verb
from sternway.ports import Entry
from sternway.store import schema
from sternway.store.lines import Latest, Line, keep, no_trail, storable
from sternway.store.migrate import migrate
from sternway.store.rollup import Limits, RollUp
from sternway.store.texts import Texts, Writing
from sternway.store.worker import Worker

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_INSERT_ENTRY = insert(schema.entries)
_LAST_SEQ = select(func.max(schema.entries.c.seq)).where(schema.entries.c.service == bindparam("of")).scalar_subquery()
_INSERT_PROGRESS = insert(schema.progress).values(
    service=bindparam("of"), payload=bindparam("payload"), refs=bindparam("refs"), seq=_LAST_SEQ
)
_UPDATE_PROGRESS = (
    update(schema.progress)
    .where(schema.progress.c.service == bindparam("of"))
    .values(payload=bindparam("payload"), refs=bindparam("refs"), seq=_LAST_SEQ)
)
_PROGRESS = select(schema.progress.c.payload).where(schema.progress.c.service == bindparam("of"))
_COMMANDS = (
    select(schema.commands)
    .where(schema.commands.c.service == bindparam("of"), schema.commands.c.id > bindparam("last"))
    .order_by(schema.commands.c.id)
)
_KNOWN = select(schema.commands).where(
    schema.commands.c.service == bindparam("of"), schema.commands.c.asked == bindparam("asked")
)
_OF_COMMAND = tuple(one.name for one in fields(Command))


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """Entries that wait to be written; failure: why they could not be.

    Each is only itself: what gives up is looked for among the others while the thread takes them, and nothing may run between.
    """

    entries: tuple[Entry, ...]
    sync: bool
    failure: Exception | None = None


class SqlStore:
    """See the module. `url_or_path`: a database URL, or the path of an SQLite file in a folder that exists.

    condense: see `sternway.store.rollup`.
    """

    def __init__(self, url_or_path: str | Path, *, condense: Callable[[str, Sequence[Entry]], str] = no_trail) -> None:
        self._condense = condense
        self._writer = Worker(url_or_path)
        self._reader = Worker(url_or_path)
        self._texts = Texts()  # of the writer
        self._read_texts = Texts()  # of the reader
        self._latest: dict[str, Latest] = {}
        self._waiting: deque[_Waiting] = deque()

    async def open(self) -> None:
        """Create the schema or bring it up to date. Refuses a database that a newer Sternway has written."""
        try:
            await self._writer.run(self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is under way and let the database go."""
        await self._reader.close()
        await self._writer.close()

    async def record(self, entries: Sequence[Entry], *, sync: bool = False) -> None:
        """See ports.Journal: append, and keep the latest progress, in one transaction.

        What waits by the time that the thread is free goes into one transaction: when many services are taken back at once,
        the disk is waited for once and not by one after the other.
        """
        waiting = _Waiting(entries=tuple(entries), sync=sync)
        self._waiting.append(waiting)
        try:
            await self._writer.run(self._record_all)
        except asyncio.CancelledError:
            with suppress(ValueError):  # else it is written already
                self._waiting.remove(waiting)
            raise
        if waiting.failure is not None:
            raise waiting.failure

    async def progress(self, service: str) -> Progress | None:
        """See ports.Journal."""
        return await self._writer.run(self._progress, service)

    async def latest(self, service: str) -> Entry | None:
        """See ports.Journal."""
        lines = schema.entries
        query = select(lines).where(lines.c.service == service, lines.c.kind == "pass")
        return next(iter(await self._reader.run(self._entries, query.order_by(lines.c.seq.desc()).limit(1))), None)

    async def services(self) -> tuple[str, ...]:
        """See ports.Journal."""
        return await self._writer.run(self._services)

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
        """See ports.Journal. `after`: only lines with a higher seq. `checkpoints`: only lines that hold progress."""
        lines = schema.entries
        query = select(lines).where(lines.c.seq > after).order_by(lines.c.seq).limit(limit)
        if service is not None:
            query = query.where(lines.c.service == service)
        if release is not None:
            query = query.where(lines.c.release == release)
        if kind is not None:
            query = query.where(lines.c.kind == kind)
        if checkpoints:
            query = query.where(lines.c.progress.is_not(None))
        return await self._reader.run(self._entries, query)

    async def milestones(self, *, after: int = 0, limit: int | None = None) -> tuple[Entry, ...]:
        """The lines that hold progress and those that say what was applied, without what was observed and decided."""
        lines = schema.entries
        kept = [column for column in lines.c if column.name not in ("observation", "decision")]
        query = (
            select(*kept, null().label("observation"), null().label("decision"))
            .where(lines.c.seq > after, or_(lines.c.progress.is_not(None), lines.c.kind == "applied"))
            .order_by(lines.c.seq)
            .limit(limit)
        )
        return await self._reader.run(self._entries, query)

    async def add(
        self, service: str, verb: str, by: str, at_s: float, to: str | None, reason: str, *, asked: str | None = None
    ) -> Command:
        """See ports.CommandQueue. Durable against power loss: a person is told that it was taken."""
        values = {"service": service, "verb": Verb(verb).value, "at_s": at_s, "to": to and storable(to)}
        values |= {"by": storable(by), "reason": storable(reason), "asked": asked and storable(asked)}
        return await self._writer.run(self._add, values)

    async def after(self, service: str, last: int) -> tuple[Command, ...]:
        """See ports.CommandQueue."""
        return await self._writer.run(self._after, service, last)

    async def roll_up(
        self, now_s: float, *, keep_releases: int = 50, keep_s: float = 30 * 86_400.0, forget_s: float = 365 * 86_400.0
    ) -> None:
        """Bound the journal's growth: see `sternway.store.rollup`."""
        limits = Limits(now_s=now_s, keep_releases=keep_releases, keep_s=keep_s, forget_s=forget_s)
        await RollUp(
            writer=self._writer,
            reader=self._reader,
            texts=self._texts,
            append=self._append,
            read=self._of_release,
            condense=self._condense,
        ).run(limits)

    # What follows runs on the threads.

    def _open(self) -> None:
        with self._writer.transaction(sync=True) as connection:
            migrate(connection)
        with self._writer.transaction() as connection:
            self._texts.load(connection)

    def _record_all(self) -> None:
        """Write everything that waits; whoever comes later may find nothing left to do. What fails, fails alone."""
        together: list[_Waiting] = []
        with suppress(IndexError):
            while True:
                together.append(self._waiting.popleft())
        if len(together) > 1:
            entries = [entry for one in together for entry in one.entries]
            with suppress(Exception):  # each by itself then
                self._record(entries, sync=any(one.sync for one in together))
                return
        for one in together:
            try:
                self._writer.guarded(self._record, one.entries, sync=one.sync)
            except Exception as failure:  # noqa: BLE001  raised to whoever waits for this one
                one.failure = failure

    def _record(self, entries: Sequence[Entry], *, sync: bool) -> None:
        writing = self._texts.writing()
        with self._writer.transaction(sync=sync) as connection:
            latest = dict(self._latest)
            for service in {entry.service for entry in entries} - latest.keys():
                latest[service] = self._recall(connection, service)
            self._append(connection, writing, keep(entries, latest))
            for service, progress in {e.service: e.progress for e in entries if e.progress is not None}.items():
                _upsert_progress(connection, writing, service, progress)
            self._texts.store(connection, writing)
        self._texts.committed(writing)
        self._latest = latest

    def _append(self, connection: Connection, writing: Writing, lines: Sequence[Line]) -> None:
        rows = [_row(line, writing) for line in lines]
        if rows:
            connection.execute(_INSERT_ENTRY, rows)

    def _recall(self, connection: Connection, service: str) -> Latest:
        """After a start: where the journal of a service stands."""
        lines = schema.entries
        passes = select(lines.c.release).where(lines.c.service == service, lines.c.kind == "pass")
        release = connection.scalar(passes.order_by(lines.c.seq.desc()).limit(1))
        return Latest(release=release, progress=self._read_progress(connection, service))

    def _progress(self, service: str) -> Progress | None:
        with self._writer.reading() as connection:
            return self._read_progress(connection, service)

    def _read_progress(self, connection: Connection, service: str) -> Progress | None:
        text = connection.scalar(_PROGRESS, {"of": service})
        return None if text is None else self._texts.read(connection, Progress, text)

    def _services(self) -> tuple[str, ...]:
        with self._writer.reading() as connection:
            return tuple(connection.scalars(select(schema.progress.c.service).order_by(schema.progress.c.service)))

    def _entries(self, query: Select[Any]) -> tuple[Entry, ...]:
        with self._reader.reading() as connection:
            return tuple(self._entry(connection, row) for row in connection.execute(query).all())

    def _of_release(self, release: str) -> tuple[Entry, ...]:
        return self._entries(
            select(schema.entries).where(schema.entries.c.release == release).order_by(schema.entries.c.seq)
        )

    def _entry(self, connection: Connection, row: Row[Any]) -> Entry:
        def read(kind: type, text: str | None) -> Any:
            return None if text is None else self._read_texts.read(connection, kind, text)

        return Entry(
            service=row.service,
            release=row.release,
            kind=row.kind,
            at_s=row.at_s,
            observation=read(Observation, row.observation),
            decision=read(Decision, row.decision),
            progress=read(Progress, row.progress),
            before=read(Progress, row.before),
            text=row.text,
            seq=row.seq,
        )

    def _add(self, values: dict[str, Any]) -> Command:
        with self._writer.transaction(sync=True) as connection:
            known = {"of": values["service"], "asked": values["asked"]}
            row = connection.execute(_KNOWN, known).mappings().first() if values["asked"] else None
            if row is not None:
                return _command(dict(row))
            key = connection.execute(insert(schema.commands).values(values)).inserted_primary_key
        assert key is not None
        return _command({**values, "id": key[0]})

    def _after(self, service: str, last: int) -> tuple[Command, ...]:
        with self._writer.reading() as connection:
            rows = connection.execute(_COMMANDS, {"of": service, "last": last}).mappings().all()
        return tuple(_command(dict(row)) for row in rows)


def _command(row: Mapping[str, Any]) -> Command:
    return Command(**{name: row[name] for name in _OF_COMMAND} | {"verb": Verb(row["verb"])})


def _row(line: Line, writing: Writing) -> dict[str, Any]:
    entry = line.entry
    texts, refs = writing.texts(entry.observation, entry.decision, entry.progress, entry.before)
    return {
        "service": entry.service,
        "release": entry.release,
        "kind": entry.kind,
        "at_s": entry.at_s,
        "essential": line.essential,
        **dict(zip(("observation", "decision", "progress", "before"), texts, strict=True)),
        "text": entry.text,
        "refs": refs,
    }


def _upsert_progress(connection: Connection, writing: Writing, service: str, progress: Progress) -> None:
    """In words that every database understands: there is one writer, so update-or-insert is safe."""
    (payload,), refs = writing.texts(progress)
    values = {"of": service, "payload": payload, "refs": refs}
    if not connection.execute(_UPDATE_PROGRESS, values).rowcount:
        connection.execute(_INSERT_PROGRESS, values)
