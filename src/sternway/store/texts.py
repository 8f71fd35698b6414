"""Values <-> rows: encodes what a line needs, and keeps each interned value once in its table. Used by `sql`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select

from sternway.errors import StoreUnavailable
from sternway.store.codec import INTERNED, Encoder, Interned, decode
from sternway.store.schema import interned

T = TypeVar("T")

_REMEMBERED = 2048


class Writing:
    """The texts of one transaction, and every interned value that they need."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.needs: dict[str, Interned] = {}

    def texts(self, *values: object | None) -> tuple[list[str | None], str]:
        """Encode values; give their texts and the digests that they need, separated by spaces."""
        encoded = [None if value is None else self._encoder.encode(value) for value in values]
        refs: set[str] = set()
        for one in encoded:
            if one is not None:
                self.needs.update(one.interned)
                refs |= one.interned.keys()
        return [None if one is None else one.text for one in encoded], " ".join(sorted(refs))


class Texts:
    """The interned values of a database. `touched`, while it is a set, collects the digests that are written."""

    def __init__(self) -> None:
        self.touched: set[str] | None = None
        self._encoder = Encoder()
        self._stored: set[str] = set()
        self._decoded: dict[str, object] = {}

    def load(self, connection: Connection) -> None:
        """Learn what the database holds already."""
        self._stored = set(connection.scalars(select(interned.c.digest)))

    def writing(self) -> Writing:
        """Begin to encode what one transaction writes."""
        return Writing(self._encoder)

    def store(self, connection: Connection, writing: Writing) -> None:
        """Insert the interned values that are not there yet. `committed` must follow the commit."""
        if self.touched is not None:
            self.touched |= writing.needs.keys()
        new = [value for digest, value in writing.needs.items() if digest not in self._stored]
        if new:
            rows = [{"digest": value.digest, "kind": value.kind, "text": value.text} for value in new]
            connection.execute(insert(interned), rows)

    def committed(self, writing: Writing) -> None:
        """Only a commit makes a value stored."""
        self._stored |= writing.needs.keys()

    def discard(self, connection: Connection, digests: Iterable[str]) -> None:
        """Delete values that nothing needs. Forgotten first: after a failed commit they are written again if needed."""
        gone = list(digests)
        self._stored -= set(gone)
        for start in range(0, len(gone), 500):
            connection.execute(delete(interned).where(interned.c.digest.in_(gone[start : start + 500])))

    def read(self, connection: Connection, kind: type[T], text: str) -> T:
        """Decode a text; interned values come from the table, each as one shared object."""

        def look_up(digest: str) -> object:
            if digest in self._decoded:
                return self._decoded[digest]
            found = connection.execute(select(interned).where(interned.c.digest == digest)).one_or_none()
            if found is None or found.kind not in INTERNED:
                msg = f"the journal lacks a value that it refers to ({digest})"
                raise StoreUnavailable(msg, hint="The database is damaged; move it away to start afresh.")
            value: object = decode(INTERNED[found.kind], found.text, look_up)
            if len(self._decoded) >= _REMEMBERED:
                self._decoded.clear()
            self._decoded[digest] = value
            return value

        return decode(kind, text, look_up)
