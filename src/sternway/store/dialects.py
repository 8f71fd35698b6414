"""All that differs between databases: how a connection is set up, how durable a commit is, what an error means.

The only module of the store that knows one database from another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from sternway.errors import StoreUnavailable

_HINTS = {
    "disk is full": "Free some space on the disk that holds the state directory; Sternway goes on by itself.",
    "disk i/o error": "The disk refuses to write or to read: see the system's log; Sternway tries again.",
    "locked": "Another program holds the journal open for writing: close it; Sternway tries again.",
    "malformed": "The journal is damaged. Stop Sternway and move the file away (with its -wal and -shm files); "
    "what was proven good or bad is still in the ledger in Git.",
    "not a database": "The file is no journal of Sternway: name another state directory, or move the file away.",
    "readonly": "Sternway may not write to the journal: see the permissions of the state directory.",
    "unable to open": "Sternway may not write to the state directory, or it does not exist.",
}
_SPARE_PAGES = 4096


def url_of(url_or_path: str | Path) -> URL:
    """Take a database URL as it stands, and anything else as the path of an SQLite file."""
    text = str(url_or_path)
    return make_url(text) if "://" in text else URL.create("sqlite", database=text)


def engine_for(url: URL) -> Engine:
    """Open nothing yet. SQLite: WAL, real transactions (also for changes of the schema), freed space given back."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def set_durability(connection: Connection, *, sync: bool) -> None:
    """For the next transaction: against power loss (`sync`), or against a killed process only, which is quicker."""
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")


def give_back(connection: Connection) -> bool:
    """Return some freed space to the disk; whether there is more worth the while.

    Space up to as much as is in use stays in the file: it is filled again soon, and moving pages costs processor time.
    """
    if connection.dialect.name != "sqlite":
        return False
    driver = connection.connection.driver_connection
    assert driver is not None
    free, pages = (driver.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
    if free <= max(_SPARE_PAGES, pages // 2):
        return False
    for _ in range(
        256
    ):  # the driver takes a single step of this pragma, which is one page, whatever number it is given
        driver.execute("PRAGMA incremental_vacuum(1)")
    return True


def unavailable(error: exc.SQLAlchemyError) -> StoreUnavailable:
    """Say what the database's error means to the person who runs Sternway."""
    cause = str(getattr(error, "orig", None) or error)
    default = "See the database's own log; Sternway tries again."
    hint = next((hint for words, hint in _HINTS.items() if words in cause.lower()), default)
    return StoreUnavailable(f"the journal cannot be used: {cause}", hint=hint)


def _set_up_sqlite(driver: Any, _record: object) -> None:
    driver.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    driver.execute("PRAGMA busy_timeout = 2000")
    if driver.execute("PRAGMA auto_vacuum").fetchone() != (2,):  # setting it again would wait for the writer
        driver.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for pragma in (
        "journal_mode = WAL",
        "journal_size_limit = 16000000",
        "fullfsync = ON",  # macOS: a plain fsync does not reach the disk there
        "cache_size = -8000",
    ):
        driver.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    # Readers never write: a deferred transaction does not make them wait for the writer.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
