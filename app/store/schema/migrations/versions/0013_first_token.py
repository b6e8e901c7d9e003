"""Where the claims of a run's present attempt begin to count."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; an attempt that an older process began counts the claims of the former ones, too."""
    op.add_column("runs", sa.Column("first_token", sa.BigInteger(), nullable=False, server_default="0"))
