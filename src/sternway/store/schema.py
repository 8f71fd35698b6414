"""The tables, in words that every SQL database understands. Created and changed by `migrations` alone."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

REVISION = "0002"
"""The revision of the schema that this Sternway reads and writes: the newest in `migrations/versions`."""

metadata = MetaData()

# Alembic's own table, as Alembic makes it; apart, because it is no part of what migrations build.
revision = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))

entries = Table(
    "entries",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("service", String(253), nullable=False),
    Column("release", String(253)),
    Column("kind", String(20), nullable=False),
    Column("at_s", Double, nullable=False),
    Column("essential", Boolean, nullable=False),
    Column("observation", Text),
    Column("decision", Text),
    Column("progress", Text),
    Column("before", Text),
    Column("text", Text, nullable=False),
    # digests of the interned values that the line needs, at any depth, separated by spaces
    Column("refs", Text, nullable=False),
    Index("entries_by_service", "service", "seq"),
    Index("entries_by_release", "release", "service", "seq"),
    sqlite_autoincrement=True,
)

progress = Table(
    "progress",
    metadata,
    Column("service", String(253), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("refs", Text, nullable=False),
)

interned = Table(
    "interned",
    metadata,
    Column("digest", String(24), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("text", Text, nullable=False),
)

commands = Table(
    "commands",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("service", String(253), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("by", String(253), nullable=False),
    Column("at_s", Double, nullable=False),
    Column("to", String(253)),
    Column("reason", Text, nullable=False),
    Column("asked", String(253)),
    Index("commands_by_service", "service", "id"),
    sqlite_autoincrement=True,
)
