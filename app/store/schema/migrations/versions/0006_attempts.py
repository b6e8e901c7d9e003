"""Runs may have several attempts: the former ones, and when the present one was queued and its program let go."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of former attempts and the times."""
    op.add_column("runs", sa.Column("let_go_at", sa.Double()))
    op.add_column("runs", sa.Column("queued_again_at", sa.Double()))
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("signal", sa.String(length=16)),
        sa.Column("peak_memory_bytes", sa.BigInteger()),
        sa.Column("cpu_seconds", sa.Double()),
        sa.Column("evidence", sa.Text()),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("last_offset", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_attempts_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_attempts"),
    )
