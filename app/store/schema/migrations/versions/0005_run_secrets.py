"""The values of a run's secret environment, apart from its spec, for as long as it has not ended."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; no run has secrets yet."""
    op.create_table(
        "run_secrets",
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_secrets_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_run_secrets"),
    )
