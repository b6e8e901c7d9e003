"""What the programs of runs left to be kept: what became of each attempt's artefacts, and each file."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "artefacts",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("until", sa.Double()),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("storage", sa.String(length=64), server_default="", nullable=False),
        sa.Column("files", sa.Integer(), server_default="0", nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("left_out", sa.Integer(), server_default="0", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("removed_at", sa.Double()),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_artefacts_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "attempt", name="pk_artefacts"),
    )
    held = sa.text("removed_at IS NULL")
    op.create_index("ix_artefacts_age", "artefacts", ["began_at"], sqlite_where=held, postgresql_where=held)
    op.create_table(
        "artefact_files",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_artefact_files_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "attempt", "number", name="pk_artefact_files"),
    )
