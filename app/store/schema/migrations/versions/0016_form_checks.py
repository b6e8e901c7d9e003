"""Which records hold forms whose check began: how many processes were gone before they were done, and what was refused."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; a process of the former version does not know it and checks as it did."""
    op.create_table(
        "form_checks",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("kills", sa.Integer(), nullable=False),
        sa.Column("refusal", sa.Text()),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_form_checks_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "attempt", "position", name="pk_form_checks"),
    )
