"""The tables of the queue: counts and limits, lanes, shares; as in tables.py, no statement lives here."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ColumnElement, Double, Index, Integer, String, Table, Text

from app.store.schema.columns import id_column, metadata

# Scopes: one row `all`, `owner:<id>` per owner, `group:<name>` per group, `label:<digest>` per limited label, with the counts
# of the runs that have not ended, the limits (null: the default, which is in `owner:*` and `group:*`, or else in the settings)
# and the weight among others. Whoever writes more than one row locks `all` first, then these, then the run.
tallies = Table(
    "tallies",
    metadata,
    Column("scope", String(90), primary_key=True),
    id_column("owner_id", nullable=True),
    Column("queued", Integer, nullable=False, server_default="0"),
    Column("active", Integer, nullable=False, server_default="0"),
    Column("waiting", Integer, nullable=False, server_default="0"),
    Column("max_pending", Integer),
    Column("max_active", Integer),
    Column("max_queued", Integer),
    Column("weight", Integer, nullable=False, server_default="1"),
    # Of an owner: the group in which the owner's runs count.
    Column("group_name", String(64)),
    # Of all: since when nothing is started, and since when nothing is taken in.
    Column("paused_at", Double),
    Column("closed_at", Double),
    # Of a label: what the digest is of.
    Column("label_name", String(64)),
    Column("label_value", String(256)),
    # Of `all`: how many labels are limited.
    Column("limited_labels", Integer, nullable=False, server_default="0"),
    CheckConstraint("queued >= 0 AND active >= 0 AND waiting >= 0", name="never_negative"),
)
IS_LABEL: ColumnElement[bool] = tallies.c.label_name.is_not(None)
Index("ix_tallies_labels", tallies.c.scope, sqlite_where=IS_LABEL, postgresql_where=IS_LABEL)
Index(
    "ix_tallies_group",
    tallies.c.group_name,
    sqlite_where=tallies.c.group_name.is_not(None),
    postgresql_where=tallies.c.group_name.is_not(None),
)

# Where the queue begins: the first ready run of each owner, priority and label class, null when there is none now.
lanes = Table(
    "lanes",
    metadata,
    id_column("owner_id", primary_key=True),
    Column("priority_order", Integer, primary_key=True, autoincrement=False),
    Column("label_class", Text, primary_key=True),
    Column("head", BigInteger),
    # When the head was submitted.
    Column("since", Double),
)

# How far each owner and group has come in each effective band, and the virtual times: see app/domain/queue/fairshare.py.
shares = Table(
    "shares",
    metadata,
    Column("scope", String(160), primary_key=True),
    Column("band", Integer, primary_key=True, autoincrement=False),
    Column("come", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False),
)
