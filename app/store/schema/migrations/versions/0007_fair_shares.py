"""Lanes, shares and limits of the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_READY = sa.text("status = 'queued' AND not_before IS NULL")
_HELD_BACK = sa.text("status = 'queued' AND not_before IS NOT NULL")
_LABEL = sa.text("label_name IS NOT NULL")
_GROUP = sa.text("group_name IS NOT NULL")


def upgrade() -> None:
    """Make the tables and fill the lanes. Processes of the version before go on; they only find their next run more slowly."""
    op.add_column("runs", sa.Column("label_class", sa.Text(), server_default="", nullable=False))
    _indexes()
    _scopes()
    op.create_table(
        "lanes",
        sa.Column("owner_id", sa.String(length=80), nullable=False),
        sa.Column("priority_order", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label_class", sa.Text(), nullable=False),
        sa.Column("head", sa.BigInteger()),
        sa.Column("since", sa.Double()),
        sa.PrimaryKeyConstraint("owner_id", "priority_order", "label_class", name="pk_lanes"),
    )
    op.create_table(
        "shares",
        sa.Column("scope", sa.String(length=160), nullable=False),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("come", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "band", name="pk_shares"),
    )
    op.execute(
        "INSERT INTO lanes (owner_id, priority_order, label_class, head, since)"
        " SELECT owner_id, priority_order, label_class, min(sequence), min(created_at)"
        " FROM runs WHERE status = 'queued' AND not_before IS NULL GROUP BY owner_id, priority_order, label_class"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE lanes SET (fillfactor = 50)")
        op.execute("ALTER TABLE shares SET (fillfactor = 50)")


def _indexes() -> None:
    op.create_index(
        "ix_runs_lane",
        "runs",
        ["owner_id", "priority_order", "label_class", "sequence"],
        sqlite_where=_READY,
        postgresql_where=_READY,
    )
    op.create_index("ix_runs_not_before", "runs", ["not_before"], sqlite_where=_HELD_BACK, postgresql_where=_HELD_BACK)
    op.drop_index("ix_runs_queue_of_owner", "runs")


def _scopes() -> None:
    for name in ("max_pending", "max_active", "max_queued"):
        op.add_column("tallies", sa.Column(name, sa.Integer()))
    op.add_column("tallies", sa.Column("weight", sa.Integer(), server_default="1", nullable=False))
    op.add_column("tallies", sa.Column("group_name", sa.String(length=64)))
    op.add_column("tallies", sa.Column("label_name", sa.String(length=64)))
    op.add_column("tallies", sa.Column("label_value", sa.String(length=256)))
    op.create_index("ix_tallies_labels", "tallies", ["scope"], sqlite_where=_LABEL, postgresql_where=_LABEL)
    op.create_index("ix_tallies_group", "tallies", ["group_name"], sqlite_where=_GROUP, postgresql_where=_GROUP)
