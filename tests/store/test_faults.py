"""A full disk, a lock, a damaged file: each is a StoreUnavailable that says what to do, and nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sternway.errors import StoreUnavailable
from sternway.store import SqlStore
from store.values import a_pass


async def opened(path: Path) -> SqlStore:
    """Open a store and put one line in it."""
    store = SqlStore(path)
    await store.open()
    await store.record([a_pass(1.0)])
    return store


async def test_a_full_disk_is_said_and_borne(tmp_path: Path) -> None:
    """While the disk is full records fail as a whole; what was there can be read; with room again they succeed."""
    store = await opened(tmp_path / "journal.sqlite")

    def pages(count: int) -> None:
        with store._writer.reading() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {count}")

    await store._writer.run(pages, 1)

    async def fill() -> None:
        for second in range(2, 500):
            await store.record([a_pass(float(second)), a_pass(float(second), service="web")])

    with pytest.raises(StoreUnavailable, match="full") as error:
        await fill()
    during = await store.entries()
    await store._writer.run(pages, 1_000_000)
    await store.record([a_pass(1000.0)])
    after = await store.entries()
    await store.close()

    assert "Free some space" in error.value.hint
    assert error.value.retry_in_s > 0
    assert after[:-1] == during
    assert [e.at_s for e in during if e.service == "web"] == [e.at_s for e in during if e.service == "orders"][1:]
    assert after[-1].observation == a_pass(1000.0).observation


async def test_a_locked_journal_is_said_and_can_be_read(tmp_path: Path) -> None:
    """Another program that holds the write lock delays a record; readers go on; afterwards all works again."""
    path = tmp_path / "journal.sqlite"
    store = await opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked") as error:
        await store.record([a_pass(2.0)])
    assert await store.progress("orders") == a_pass(1.0).progress
    assert len(await store.entries()) == 1

    other.execute("ROLLBACK")
    other.close()
    await store.record([a_pass(3.0)])
    assert await store.progress("orders") == a_pass(3.0).progress
    assert "Another program" in error.value.hint
    await store.close()


async def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    """A wrong path overwrites nobody's file."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear Anna, " * 500)

    with pytest.raises(StoreUnavailable) as error:
        await SqlStore(path).open()

    assert "no journal of Sternway" in error.value.hint
    assert path.read_text() == "Dear Anna, " * 500


async def test_a_damaged_journal_says_what_to_do(tmp_path: Path) -> None:
    """Pages that were overwritten are noticed; the hint says that the ledger in Git still knows."""
    path = tmp_path / "journal.sqlite"
    store = await opened(path)
    await store.record([a_pass(float(second)) for second in range(2, 200)])
    await store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xaa" * (len(whole) - 4096))

    damaged = SqlStore(path)
    with pytest.raises(StoreUnavailable, match="malformed") as error:
        await damaged.open()

    assert "ledger in Git" in error.value.hint


async def test_a_text_that_was_tampered_with_is_an_error(tmp_path: Path) -> None:
    """A line that cannot be decoded raises; it is not skipped."""
    path = tmp_path / "journal.sqlite"
    store = await opened(path)
    await store.close()
    with sqlite3.connect(path) as other:
        other.execute('UPDATE entries SET observation = \'{"now_s": "soon"}\'')
    other.close()

    store = SqlStore(path)
    await store.open()
    with pytest.raises(StoreUnavailable, match="Observation"):
        await store.entries()
    await store.close()


async def test_a_missing_value_is_an_error(tmp_path: Path) -> None:
    """A reference to nothing raises; it does not read as an empty version."""
    path = tmp_path / "journal.sqlite"
    store = await opened(path)
    await store.close()
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM interned")
    other.close()

    store = SqlStore(path)
    await store.open()
    with pytest.raises(StoreUnavailable, match="lacks a value"):
        await store.progress("orders")
    await store.close()


async def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    """The error names no SQL but the state directory."""
    with pytest.raises(StoreUnavailable) as error:
        await SqlStore(tmp_path / "missing" / "journal.sqlite").open()

    assert "state directory" in error.value.hint
