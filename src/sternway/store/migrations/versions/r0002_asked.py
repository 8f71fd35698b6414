"""What who gave a command calls it: by that it is known again, and not taken twice."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; what is there already has no such name."""
    op.add_column("commands", sa.Column("asked", sa.String(253)))
