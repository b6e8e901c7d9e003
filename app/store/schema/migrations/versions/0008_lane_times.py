"""The index of the lanes knows since when each run waits, so that places are counted without looking at the runs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_READY = sa.text("status = 'queued' AND not_before IS NULL")


def upgrade() -> None:
    """Make the index anew with one column more."""
    op.drop_index("ix_runs_lane", "runs")
    op.create_index(
        "ix_runs_lane",
        "runs",
        ["owner_id", "priority_order", "label_class", "sequence", "created_at"],
        sqlite_where=_READY,
        postgresql_where=_READY,
    )
