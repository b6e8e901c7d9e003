"""The tally of all says how many labels are limited, so that runs whose labels are not cost nothing more."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the number; no label is limited yet."""
    op.add_column("tallies", sa.Column("limited_labels", sa.Integer(), server_default="0", nullable=False))
