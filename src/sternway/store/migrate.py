"""Bring a database to the schema of this Sternway. Called by `SqlStore.open`, in one transaction.

An empty database gets today's tables at once; a test compares them with what the migrations build. So Alembic is
imported only when there is an older journal to upgrade, and the usual start pays nothing for it.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select

from sternway.errors import Refused
from sternway.store import schema


def migrate(connection: Connection) -> None:
    """Create the tables, or upgrade them. Refuses a database that a newer Sternway has written."""
    if not inspect(connection).has_table(schema.revision.name):
        schema.metadata.create_all(connection)
        schema.revision.create(connection)
        connection.execute(insert(schema.revision).values(version_num=schema.REVISION))
        return
    found = connection.scalar(select(schema.revision.c.version_num))
    if found != schema.REVISION:
        upgrade(connection, found=found)


def upgrade(
    connection: Connection,
    *,
    found: str | None,
    location: str = "sternway.store:migrations",
    revision: str = schema.REVISION,
) -> None:
    """Run the migrations from `found` (None: from nothing) to `revision`."""
    from alembic import command  # noqa: PLC0415 - only when a migration is due; see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", location)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        msg = f"this journal has schema {found}, which a newer Sternway has written; this one knows {revision}"
        raise Refused(msg, hint="Start the newer Sternway again, or use another state directory.")
    command.upgrade(config, revision)
