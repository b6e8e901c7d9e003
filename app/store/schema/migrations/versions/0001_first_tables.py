"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows itself only where the type is spelt INTEGER.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_QUEUED = sa.text("status = 'queued'")
_SUPERVISED = sa.text("status IN ('running', 'starting', 'stopping', 'waiting')")
_KEYED = sa.text("idempotency_key IS NOT NULL")
_OPEN = sa.text("state = 'open'")


def upgrade() -> None:
    """Make all tables."""
    _runs()
    _run_indexes()
    _logs()
    _talk()
    _counts()
    _people()
    _signing_in()
    if op.get_bind().dialect.name == "postgresql":
        _tune_postgresql()


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("sequence", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("owner_id", sa.String(length=80), nullable=False),
        sa.Column("owner_name", sa.String(length=200), nullable=False),
        sa.Column("priority_order", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stdin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("token", _NUMBER, server_default="0", nullable=False),
        sa.Column("lease_owner", sa.String(length=64)),
        sa.Column("lease_until", sa.Double()),
        sa.Column("handle", sa.Text()),
        sa.Column("dispatched_at", sa.Double()),
        sa.Column("started_at", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        sa.Column("queue_deadline_at", sa.Double()),
        sa.Column("deadline_at", sa.Double()),
        sa.Column("waiting_since", sa.Double()),
        sa.Column("stopping_since", sa.Double()),
        sa.Column("stop_reason", sa.String(length=32)),
        sa.Column("cancel_requested_at", sa.Double()),
        sa.Column("cancelled_by", sa.String(length=200)),
        sa.Column("reason", sa.String(length=32)),
        sa.Column("message", sa.Text()),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("signal", sa.String(length=16)),
        sa.Column("peak_memory_bytes", sa.BigInteger()),
        sa.Column("cpu_seconds", sa.Double()),
        sa.Column("archived_epoch", sa.Integer(), server_default="1", nullable=False),
        sa.Column("archived_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("archived_offset", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("archived_spool", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("idempotency_key", sa.String(length=255)),
        sa.Column("request_hash", sa.String(length=128)),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_runs"),
    )


def _run_indexes() -> None:
    op.create_index("ix_runs_owner", "runs", ["owner_id", "sequence"])
    op.create_index("ix_runs_queue", "runs", ["priority_order", "sequence"], sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index("ix_runs_queue_deadline", "runs", ["queue_deadline_at"], sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index(
        "ix_runs_queue_of_owner",
        "runs",
        ["owner_id", "priority_order", "sequence"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )
    op.create_index("ix_runs_supervised", "runs", ["lease_owner"], sqlite_where=_SUPERVISED, postgresql_where=_SUPERVISED)
    op.create_index("uq_runs_id", "runs", ["id"], unique=True)
    op.create_index(
        "uq_runs_idempotency", "runs", ["owner_id", "idempotency_key"], unique=True, sqlite_where=_KEYED, postgresql_where=_KEYED
    )


def _logs() -> None:
    op.create_table(
        "run_labels",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_labels_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_run_labels"),
    )
    op.create_index("ix_run_labels_value", "run_labels", ["name", "value"])
    op.create_table(
        "run_epochs",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("base_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_epochs_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "epoch", name="pk_run_epochs"),
    )
    op.create_table(
        "output_chunks",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("last_offset", sa.BigInteger(), nullable=False),
        sa.Column("spool", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_output_chunks_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "first_seq", name="pk_output_chunks"),
    )
    op.create_index("ix_output_chunks_offset", "output_chunks", ["run_id", "last_offset", "first_seq"])


def _talk() -> None:
    op.create_table(
        "questions",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("owner_id", sa.String(length=80), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("who", sa.String(length=16), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("default_value", sa.Text()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("value", sa.Text()),
        sa.Column("digest", sa.String(length=200)),
        sa.Column("reply_id", sa.String(length=200)),
        sa.Column("answered_by_id", sa.String(length=80)),
        sa.Column("answered_by", sa.String(length=200)),
        sa.Column("answered_at", sa.Double()),
        sa.Column("delivered_at", sa.Double()),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_questions_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_questions"),
    )
    op.create_index("ix_questions_deadline", "questions", ["expires_at"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("ix_questions_open", "questions", ["owner_id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("ix_questions_run", "questions", ["run_id", "attempt", "number"])
    op.create_table(
        "inputs",
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("input_id", sa.String(length=200), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("eof", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("delivered_at", sa.Double()),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_inputs_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_inputs"),
    )
    op.create_index("uq_inputs_id", "inputs", ["run_id", "input_id"], unique=True)


def _counts() -> None:
    op.create_table(
        "tallies",
        sa.Column("scope", sa.String(length=90), nullable=False),
        sa.Column("owner_id", sa.String(length=80)),
        sa.Column("queued", sa.Integer(), server_default="0", nullable=False),
        sa.Column("active", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waiting", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("queued >= 0 AND active >= 0 AND waiting >= 0", name="never_negative"),
        sa.PrimaryKeyConstraint("scope", name="pk_tallies"),
    )
    op.create_table(
        "ticks",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_ticks"),
    )


def _people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("disabled_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
    )
    op.create_index("uq_users_name", "users", ["name"], unique=True)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("user_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=32), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("last_used_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tokens_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
    )
    op.create_index("ix_tokens_user", "tokens", ["user_id"])
    op.create_index("uq_tokens_hash", "tokens", ["hash"], unique=True)


def _signing_in() -> None:
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=80), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hash", name="pk_sessions"),
    )
    op.create_index("ix_sessions_expiry", "sessions", ["expires_at"])
    op.create_index("ix_sessions_user", "sessions", ["user_id"])
    op.create_table(
        "login_links",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double()),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_login_links_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hash", name="pk_login_links"),
    )
    op.create_table(
        "sign_in_attempts",
        sa.Column("sequence", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_sign_in_attempts"),
    )
    op.create_index("ix_sign_in_attempts_scope", "sign_in_attempts", ["scope", "at"])


def _tune_postgresql() -> None:
    # Chunks are compressed already, and the few counts are updated all the time.
    op.execute("ALTER TABLE output_chunks ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE tallies SET (fillfactor = 25)")
    op.execute("ALTER TABLE runs SET (fillfactor = 80)")
