"""The context of a run's trace, for whoever goes on with the run."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; runs without it have no trace."""
    op.add_column("runs", sa.Column("traceparent", sa.String(length=55)))
