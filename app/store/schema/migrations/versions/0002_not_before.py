"""A queued run may have a time before which it does not start."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time; no run has one yet."""
    op.add_column("runs", sa.Column("not_before", sa.Double()))
