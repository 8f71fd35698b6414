"""The first schema: journal, progress, interned values, commands."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "entries",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("service", sa.String(253), nullable=False),
        sa.Column("release", sa.String(253)),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("essential", sa.Boolean, nullable=False),
        sa.Column("observation", sa.Text),
        sa.Column("decision", sa.Text),
        sa.Column("progress", sa.Text),
        sa.Column("before", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("refs", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("entries_by_service", "entries", ["service", "seq"])
    op.create_index("entries_by_release", "entries", ["release", "service", "seq"])
    op.create_table(
        "progress",
        sa.Column("service", sa.String(253), primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("refs", sa.Text, nullable=False),
    )
    op.create_table(
        "interned",
        sa.Column("digest", sa.String(24), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "commands",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("service", sa.String(253), nullable=False),
        sa.Column("verb", sa.String(20), nullable=False),
        sa.Column("by", sa.String(253), nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("to", sa.String(253)),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("commands_by_service", "commands", ["service", "id"])
