"""The schema: created, brought up to date with its rows, and refused when a newer Sternway wrote it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

import sternway.store.migrations
from sternway.errors import Refused
from sternway.store import SqlStore
from sternway.store.dialects import engine_for, url_of
from sternway.store.migrate import migrate, upgrade
from sternway.store.schema import REVISION, metadata
from store.values import a_pass

NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "9999"
down_revision = "{down}"
def upgrade():
    op.create_table("weather", sa.Column("day", sa.Integer, primary_key=True))
    op.add_column("entries", sa.Column("place", sa.Text, nullable=False, server_default="here"))
    {more}
"""


def transact(path: Path, work: Callable[[Connection], object]) -> None:
    """Run work in one transaction on a fresh connection."""
    engine = engine_for(url_of(path))
    try:
        with engine.begin() as connection:
            work(connection)
    finally:
        engine.dispose()


def newer(folder: Path, more: str = "") -> str:
    """Write the migrations of a Sternway that knows one revision more."""
    location = folder / "migrations"
    shutil.copytree(Path(sternway.store.migrations.__file__).parent, location)
    (location / "versions" / "r9999_next.py").write_text(NEXT.format(down=REVISION, more=more))
    return str(location)


async def first_schema(path: Path) -> None:
    """Write a journal of today with a line in it."""
    store = SqlStore(path)
    await store.open()
    await store.record([a_pass(1.0)])
    await store.close()


def test_an_empty_database_gets_what_all_migrations_build(tmp_path: Path) -> None:
    """The short way for a new journal and the long way through every migration end in the same tables and indices."""

    def shape(connection: Connection) -> dict[str, object]:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        look = inspect(connection)
        rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchall()
        assert [tuple(row) for row in rows] == [(REVISION,)]
        return {
            table: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)],
                look.get_pk_constraint(table)["constrained_columns"],
                look.get_indexes(table),
                "AUTOINCREMENT"
                in str(connection.exec_driver_sql(f"SELECT sql FROM sqlite_master WHERE name = '{table}'").scalar()),
            )
            for table in look.get_table_names()
        }

    shapes = []
    transact(tmp_path / "short.sqlite", lambda c: (migrate(c), shapes.append(shape(c))))
    transact(tmp_path / "long.sqlite", lambda c: (upgrade(c, found=None), shapes.append(shape(c))))

    assert {"entries", "progress", "interned", "commands", "alembic_version"} == set(shapes[0])
    assert shapes[0] == shapes[1]


def test_the_schema_names_the_newest_migration() -> None:
    """REVISION, which spares the usual start the import of Alembic, is not forgotten when a migration is added."""
    config = Config()
    config.set_main_option("script_location", "sternway.store:migrations")

    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


async def test_a_journal_of_the_first_schema_is_brought_up_to_date_with_its_lines(tmp_path: Path) -> None:
    """An upgrade keeps every line."""
    path = tmp_path / "journal.sqlite"
    await first_schema(path)
    with sqlite3.connect(path) as before:
        rows = before.execute("SELECT seq, service, observation FROM entries").fetchall()

    transact(path, lambda connection: upgrade(connection, found=REVISION, location=newer(tmp_path), revision="9999"))

    with sqlite3.connect(path) as after:
        assert after.execute("SELECT seq, service, observation FROM entries").fetchall() == rows
        assert after.execute("SELECT place FROM entries").fetchall() == [("here",)]
    before.close()
    after.close()


async def test_commands_from_before_they_had_a_name_are_kept(tmp_path: Path) -> None:
    """A journal of the schema 0001 is opened as any other; its commands stand, and newer ones are known again."""
    path = tmp_path / "journal.sqlite"
    transact(path, lambda connection: upgrade(connection, found=None, revision="0001"))
    with sqlite3.connect(path) as before:
        before.execute(
            """INSERT INTO commands (service, verb, "by", at_s, reason) VALUES ('orders', 'pause', 'ada', 1.0, '')"""
        )
    before.close()

    store = SqlStore(path)
    await store.open()
    (old,) = await store.after("orders", 0)
    new = await store.add("orders", "resume", "ada", 2.0, None, "", asked="7c1e")

    assert (old.verb.value, old.by) == ("pause", "ada")
    assert await store.add("orders", "resume", "ada", 3.0, None, "", asked="7c1e") == new
    assert await store.after("orders", 0) == (old, new)
    await store.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The old Sternway can go on with the journal after a failed upgrade."""
    path = tmp_path / "journal.sqlite"
    await first_schema(path)
    location = newer(tmp_path, more="raise RuntimeError('power cut')")

    with pytest.raises(RuntimeError, match="power cut"):
        transact(path, lambda connection: upgrade(connection, found=REVISION, location=location, revision="9999"))

    store = SqlStore(path)
    await store.open()
    assert len(await store.entries()) == 1
    await store.close()
    with sqlite3.connect(path) as after:
        assert after.execute("SELECT name FROM sqlite_master WHERE name = 'weather'").fetchall() == []
    after.close()


async def test_a_journal_of_a_newer_sternway_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """An old program does not write into what it does not understand."""
    path = tmp_path / "journal.sqlite"
    await first_schema(path)
    transact(path, lambda connection: upgrade(connection, found=REVISION, location=newer(tmp_path), revision="9999"))

    with pytest.raises(Refused, match="newer Sternway") as error:
        await SqlStore(path).open()

    assert "newer Sternway" in error.value.hint
    with sqlite3.connect(path) as after:
        assert after.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    after.close()


def test_the_schema_can_be_built_on_postgresql() -> None:
    """Nothing in the tables is SQLite's alone: the same definition compiles for a database that several may share."""
    dialect = postgresql.dialect()

    said = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]

    assert any("SERIAL" in text for text in said)
    assert all("AUTOINCREMENT" not in text for text in said)


async def test_opening_twice_is_harmless(tmp_path: Path) -> None:
    """A second start finds everything in place."""
    path = tmp_path / "journal.sqlite"
    await first_schema(path)

    store = SqlStore(path)
    await store.open()
    assert len(await store.entries()) == 1
    await store.close()
