"""Evidence of where and when an attempt ran."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; runs of before have none."""
    op.add_column("runs", sa.Column("evidence", sa.Text()))
