"""Bring a database to the schema of this Sternway. Called by `SqlStore.open`, in one transaction.

Alembic is imported only when there is something to do: the usual start pays nothing for it.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from sternway.errors import Refused
from sternway.store.schema import REVISION


def migrate(connection: Connection, *, location: str = "sternway.store:migrations", revision: str = REVISION) -> None:
    """Run what is missing. Refuses a database that a newer Sternway has written."""
    found = _revision(connection)
    if found == revision:
        return

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


def _revision(connection: Connection) -> str | None:
    """Read the schema's revision: None in an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
