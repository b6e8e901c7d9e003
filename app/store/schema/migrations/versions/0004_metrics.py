"""Counts behind `/metrics`, what processes say of themselves, and whom a run was taken from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two tables and a column."""
    op.add_column("runs", sa.Column("taken_from", sa.String(length=64)))
    op.create_table(
        "metric_counts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.String(length=200), nullable=False),
        sa.Column("le", sa.String(length=16), nullable=False),
        sa.Column("value", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", "le", name="pk_metric_counts"),
    )
    op.create_table(
        "process_gauges",
        sa.Column("process_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("process_id", "name", name="pk_process_gauges"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Rows that change all the time: room on the page spares the index.
        for table in ("metric_counts", "process_gauges"):
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 25)")
