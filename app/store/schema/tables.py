"""The tables of runs and of what is kept beside them: columns, constraints and indexes. Those of people and of the queue have
modules of their own (account_tables.py, queue_tables.py), imported here so that the metadata knows them all.

No statement lives here; the migrations lead to exactly these tables.
Times are float seconds since the epoch by the database's clock, sizes are bytes, JSON is stored as text.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    literal_column,
)

from app.domain.runs.run import SUPERVISED, Status
from app.store.schema import account_tables as account_tables
from app.store.schema import queue_tables as queue_tables
from app.store.schema.columns import Number, id_column, of_run
from app.store.schema.columns import metadata as metadata

runs = Table(
    "runs",
    metadata,
    # The order of submission: assigned under the lock of the row `all`, so it is also the order of the commits.
    Column("sequence", Number, primary_key=True, autoincrement=True),
    id_column("id"),
    id_column("owner_id"),
    Column("owner_name", String(200), nullable=False),
    Column("priority_order", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("stdin", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="1"),
    # Who supervises: the token rises with each claim and fences every write of the claims before it.
    Column("token", Number, nullable=False, server_default="0"),
    # The token before the first claim of the present attempt.
    Column("first_token", BigInteger, nullable=False, server_default="0"),
    Column("lease_owner", String(64)),
    Column("lease_until", Double),
    # The process whose lease had run out when the present one took the run; empty when the run was free.
    Column("taken_from", String(64)),
    Column("handle", Text),
    Column("dispatched_at", Double),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("queue_deadline_at", Double),
    Column("deadline_at", Double),
    Column("waiting_since", Double),
    Column("stopping_since", Double),
    Column("stop_reason", String(32)),
    Column("cancel_requested_at", Double),
    # The name of the person; it differs from owner_name exactly when an admin cancelled another's run.
    Column("cancelled_by", String(200)),
    Column("reason", String(32)),
    Column("message", Text),
    Column("exit_code", Integer),
    Column("signal", String(16)),
    Column("peak_memory_bytes", BigInteger),
    Column("cpu_seconds", Double),
    # What is known of the present attempt, as JSON (see domain.evidence).
    Column("evidence", Text),
    # While the run is starting: what it waits for, as a sentence.
    Column("held_up", Text),
    # How far output_chunks reaches; moves only together with a new chunk or a new epoch.
    Column("archived_epoch", Integer, nullable=False, server_default="1"),
    Column("archived_seq", BigInteger, nullable=False, server_default="0"),
    Column("archived_offset", BigInteger, nullable=False, server_default="0"),
    Column("archived_spool", BigInteger, nullable=False, server_default="0"),
    # When the run came back into the queue for its present attempt, if that is not the first.
    Column("queued_again_at", Double),
    # A queued run is not dispatched before this time.
    Column("not_before", Double),
    # When the present attempt's program got the word to start, in a place where it waits for one.
    Column("let_go_at", Double),
    # Of a run that was moved to the front: the priority that it had. Then priority_order is FRONT.
    Column("front_of", Integer),
    # Which limited labels a queued run falls under: their digests in order, '' for none.
    Column("label_class", Text, nullable=False, server_default=""),
    # The submission's place in a trace, as W3C writes it.
    Column("traceparent", String(55)),
    Column("idempotency_key", String(255)),
    Column("request_hash", String(128)),
    # The largest column comes last, so that reading the others does not walk over it.
    Column("spec", Text, nullable=False),
)

# Conditions with literal statuses: only so can both planners see that a partial index serves a statement.
QUEUED: ColumnElement[str] = literal_column(f"'{Status.QUEUED.value}'")
IS_QUEUED: ColumnElement[bool] = runs.c.status == QUEUED
# A run that waits for its time is not ready; whoever finds that the time has come takes it away.
IS_READY: ColumnElement[bool] = and_(IS_QUEUED, runs.c.not_before.is_(None))
IS_HELD_BACK: ColumnElement[bool] = and_(IS_QUEUED, runs.c.not_before.is_not(None))
IS_SUPERVISED: ColumnElement[bool] = runs.c.status.in_(
    [literal_column(f"'{status}'") for status in sorted(status.value for status in SUPERVISED)]
)

Index("uq_runs_id", runs.c.id, unique=True)
Index("ix_runs_queue", runs.c.priority_order, runs.c.sequence, sqlite_where=IS_QUEUED, postgresql_where=IS_QUEUED)
Index(
    "ix_runs_lane",
    runs.c.owner_id,
    runs.c.priority_order,
    runs.c.label_class,
    runs.c.sequence,
    runs.c.created_at,
    sqlite_where=IS_READY,
    postgresql_where=IS_READY,
)
Index("ix_runs_not_before", runs.c.not_before, sqlite_where=IS_HELD_BACK, postgresql_where=IS_HELD_BACK)
Index("ix_runs_queue_deadline", runs.c.queue_deadline_at, sqlite_where=IS_QUEUED, postgresql_where=IS_QUEUED)
Index("ix_runs_supervised", runs.c.lease_owner, sqlite_where=IS_SUPERVISED, postgresql_where=IS_SUPERVISED)
Index(
    "ix_runs_ended_at",
    runs.c.ended_at,
    sqlite_where=runs.c.ended_at.is_not(None),
    postgresql_where=runs.c.ended_at.is_not(None),
)
Index("ix_runs_owner", runs.c.owner_id, runs.c.sequence)
Index(
    "uq_runs_idempotency",
    runs.c.owner_id,
    runs.c.idempotency_key,
    unique=True,
    sqlite_where=runs.c.idempotency_key.is_not(None),
    postgresql_where=runs.c.idempotency_key.is_not(None),
)

# The attempts of runs before the present one, which is in `runs`. An attempt has a part of the run's log: these events and bytes.
attempts = Table(
    "attempts",
    metadata,
    of_run(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at", Double),
    Column("ended_at", Double, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("exit_code", Integer),
    Column("signal", String(16)),
    Column("peak_memory_bytes", BigInteger),
    Column("cpu_seconds", Double),
    Column("evidence", Text),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),
)

# A copy of every label, for searching; the truth is in the spec.
run_labels = Table(
    "run_labels",
    metadata,
    of_run(primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", String(256), nullable=False),
)
Index("ix_run_labels_value", run_labels.c.name, run_labels.c.value)

# The values of secret environment variables, as JSON; the spec has their names only. Gone when the run has ended.
run_secrets = Table(
    "run_secrets",
    metadata,
    of_run(primary_key=True),
    Column("name", String(253), primary_key=True),
    Column("value", Text, nullable=False),
)

# The epochs after the first: each keeps the events up to its base and rewrites what followed.
run_epochs = Table(
    "run_epochs",
    metadata,
    of_run(primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("base_seq", BigInteger, nullable=False),
)

# The archive of the logs: seqs follow on without gaps within a run; data is zlib of payloads joined by newlines.
output_chunks = Table(
    "output_chunks",
    metadata,
    of_run(primary_key=True),
    Column("first_seq", BigInteger, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),
    Column("spool", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
Index("ix_output_chunks_offset", output_chunks.c.run_id, output_chunks.c.last_offset, output_chunks.c.first_seq)

questions = Table(
    "questions",
    metadata,
    id_column("id", primary_key=True),
    of_run(),
    # The run's owner, so that one statement can decide who may answer.
    id_column("owner_id"),
    Column("attempt", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("who", String(16), nullable=False),
    Column("asked", Text, nullable=False),
    Column("default_value", Text),
    Column("state", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("value", Text),
    # Of a secret only: a salted digest that outlives its value, to recognise the same answer.
    Column("digest", String(200)),
    Column("reply_id", String(200)),
    Column("answered_by_id", String(80)),
    Column("answered_by", String(200)),
    Column("answered_at", Double),
    Column("delivered_at", Double),
)
IS_OPEN: ColumnElement[bool] = questions.c.state == literal_column("'open'")
Index("ix_questions_run", questions.c.run_id, questions.c.attempt, questions.c.number)
Index("ix_questions_open", questions.c.owner_id, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)
Index("ix_questions_deadline", questions.c.expires_at, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)

inputs = Table(
    "inputs",
    metadata,
    of_run(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("input_id", String(200), nullable=False),
    Column("data", Text, nullable=False),
    Column("eof", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("delivered_at", Double),
)
Index("uq_inputs_id", inputs.c.run_id, inputs.c.input_id, unique=True)

# What `/metrics` counts: one row for each name, label values and bucket. `total` is the sum of what was observed.
metric_counts = Table(
    "metric_counts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("labels", String(200), primary_key=True),
    Column("le", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False, server_default="0"),
    Column("total", Double, nullable=False, server_default="0"),
)

# What each living process says of itself; worth nothing after `until`.
process_gauges = Table(
    "process_gauges",
    metadata,
    Column("process_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Double, nullable=False),
    Column("until", Double, nullable=False),
)

# Who steered what (see domain.audit); `subject` is a run's id or the scope of a limit.
audit = Table(
    "audit",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    id_column("by_id"),
    Column("by_name", String(200), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(400)),
    Column("before", Text),
    Column("after", Text),
)
Index("ix_audit_subject", audit.c.subject, audit.c.number)

# What the program of an attempt left to be kept. Its files are in the storage, in a folder that the token is part of.
artefacts = Table(
    "artefacts",
    metadata,
    of_run(primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("began_at", Double, nullable=False),
    # Until when it may be collected or removed by the process that is at it.
    Column("until", Double),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Column("storage", String(64), nullable=False, server_default=""),
    Column("files", Integer, nullable=False, server_default="0"),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("left_out", Integer, nullable=False, server_default="0"),
    Column("message", Text, nullable=False, server_default=""),
    Column("removed_at", Double),
)
IS_HELD = artefacts.c.removed_at.is_(None)
Index("ix_artefacts_age", artefacts.c.began_at, sqlite_where=IS_HELD, postgresql_where=IS_HELD)

artefact_files = Table(
    "artefact_files",
    metadata,
    of_run(primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # As JSON in ASCII: no name that a program chose can trouble a database.
    Column("name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("modified_at", Double, nullable=False),
)

# Forms of running code whose check began. `token` is the claim that is at it; 0 = none.
form_checks = Table(
    "form_checks",
    metadata,
    of_run(primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("token", BigInteger, nullable=False),
    Column("kills", Integer, nullable=False),
    Column("refusal", Text),
)

# Short leases of periodic work, so that one process of many does it at a time.
ticks = Table(
    "ticks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("until", Double, nullable=False),
)
