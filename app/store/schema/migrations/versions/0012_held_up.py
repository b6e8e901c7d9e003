"""What a run that is starting waits for, as a sentence."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; an older process leaves it empty."""
    op.add_column("runs", sa.Column("held_up", sa.Text()))
