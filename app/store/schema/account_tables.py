"""The tables of people, and of the ways in which they sign in; as in tables.py, no statement lives here."""

from __future__ import annotations

from sqlalchemy import Column, Double, ForeignKey, Index, String, Table

from app.store.schema.columns import Number, id_column, metadata


def _of_user() -> Column[str]:
    return id_column("user_id", ForeignKey("users.id", ondelete="CASCADE"))


users = Table(
    "users",
    metadata,
    id_column("id", primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
)
Index("uq_users_name", users.c.name, unique=True)

# API tokens. Only the SHA-256 of the token is kept; the prefix is shown so that people can tell theirs apart.
tokens = Table(
    "tokens",
    metadata,
    id_column("id", primary_key=True),
    _of_user(),
    Column("name", String(200), nullable=False),
    Column("prefix", String(32), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
)
Index("uq_tokens_hash", tokens.c.hash, unique=True)
Index("ix_tokens_user", tokens.c.user_id)

# Browser sessions, by the SHA-256 of the id in the cookie.
sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    _of_user(),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)
Index("ix_sessions_user", sessions.c.user_id)
Index("ix_sessions_expiry", sessions.c.expires_at)

# Links that sign a person in once, by the SHA-256 of their secret part.
login_links = Table(
    "login_links",
    metadata,
    Column("hash", String(64), primary_key=True),
    _of_user(),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
)

# Failed sign-ins, counted over all replicas. `scope` is what is limited: an address or a name.
sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=True),
    Column("scope", String(200), nullable=False),
    Column("at", Double, nullable=False),
)
Index("ix_sign_in_attempts_scope", sign_in_attempts.c.scope, sign_in_attempts.c.at)
