"""A thread with a database connection: how the store keeps blocking work out of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection, exc

from sternway.store.dialects import engine_for, set_durability, unavailable, url_of

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """One thread, one connection; pieces of work run one after another."""

    def __init__(self, url_or_path: str | Path) -> None:
        self._engine = engine_for(url_of(url_or_path))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._connection: Connection | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work on the thread; a database's error becomes StoreUnavailable."""
        call = lambda: self.guarded(work, *args, **kwargs)  # noqa: E731 - mypy types it, partial it does not
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def guarded(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """On this thread only: the same for a piece of what runs."""
        try:
            return work(*args, **kwargs)
        except exc.SQLAlchemyError as error:
            raise unavailable(error) from error

    @contextmanager
    def transaction(self, *, sync: bool = False) -> Iterator[Connection]:
        """On this thread only: one transaction that writes, committed at the end, rolled back on any error."""
        connection = self._connect(reading=False)
        set_durability(connection, sync=sync)
        with connection.begin():
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """On this thread only: a view of the database at one moment, which holds up no writer."""
        connection = self._connect(reading=True)
        with connection.begin():
            yield connection

    async def close(self) -> None:
        """Finish what waits, close the connection, end the thread."""
        await self.run(self._disconnect)
        self._thread.shutdown()

    def _connect(self, *, reading: bool) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection.execution_options(reading=reading)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()
