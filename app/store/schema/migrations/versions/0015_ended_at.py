"""An index by which the runs that ended first are found."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index("ix_runs_ended_at", "runs", ["ended_at"], sqlite_where=ended, postgresql_where=ended)
