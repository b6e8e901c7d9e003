"""Connections and transactions on SQLite and PostgreSQL, the database's clock, the translation of the drivers' errors.

No table and no statement of a use case belongs here.
"""

from __future__ import annotations

import select
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from sqlalchemy import Connection, Double, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.domain.errors import StoreUnavailable

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 15
BUSY_TIMEOUT_S = 10
REST_S = 2.0
# Errors do not quote what was to be stored: it may be a secret, and errors are logged.
_QUIET: dict[str, Any] = {"hide_parameters": True}
_UNAVAILABLE = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError, exc.DisconnectionError)


class db_now(FunctionElement[float]):
    """The database's clock: float seconds since the epoch, with milliseconds or better; one moment within a statement."""

    type = Double()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    return "round((julianday('now') - 2440587.5) * 86400.0, 3)"


@compiles(db_now, "postgresql")
def _postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # Not clock_timestamp(): it may change within a statement, so no index could serve a comparison with it.
    return "extract(epoch from statement_timestamp())::double precision"


def make_engine(url: str, pool_size: int = 5, max_overflow: int = 5) -> Engine:
    """Return an engine for `sqlite:///file` or `postgresql://…`; nothing connects yet. Make it after a fork.

    At most `pool_size + max_overflow` connections are open; a caller waits up to 5 s for one.
    """
    parsed = make_url(url)
    pool = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": CONNECT_TIMEOUT_S}
    return _sqlite(parsed, pool) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed, pool)


def _sqlite(url: URL, pool: dict[str, Any]) -> Engine:
    # Threads of one process take turns at a lock of their own: SQLite's busy handler sleeps and is not fair.
    options = {"writer": threading.Lock()}
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, execution_options=options, **_QUIET, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    # The driver must not begin transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None
    _set_wal(connection)
    # What is deleted may be a secret: its place in the file is overwritten.
    for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "temp_store = MEMORY", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _set_wal(connection: sqlite3.Connection) -> None:
    # The busy handler is not asked when the journal's mode changes, so the first connections to a new file may collide.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer half-way could fail at once, so writers say so first. Readers need no transaction.
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


_POSTGRESQL_SETTINGS = {
    "statement_timeout": STATEMENT_TIMEOUT_S * 1000,
    "idle_in_transaction_session_timeout": 30_000,
    # Compiling a statement takes longer than any of ours runs, and what they look up by key is in memory: no disk has to seek.
    "jit": "off",
    "random_page_cost": 1.1,
}


def _postgresql(url: URL, pool: dict[str, Any]) -> Engine:
    arguments = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "podwire",
        # A peer that vanished without a word is noticed within about half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": " ".join(f"-c {name}={value}" for name, value in _POSTGRESQL_SETTINGS.items()),
    }
    pool |= {"connect_args": arguments, "pool_use_lifo": True}
    engine = create_engine(url.set(drivername="postgresql+psycopg"), **_QUIET, **pool)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _test_at_checkout)
    return engine


def _note_use(connection: object, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _test_at_checkout(connection: Any, record: ConnectionPoolEntry, proxy: object) -> None:
    """Replace a connection that died in the pool: at once when its end has arrived, by a test after a rest otherwise.

    Testing each time would be a quarter of a request's round trips. A healthy connection at rest has nothing to say.
    """
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    if poller.poll(0):
        raise exc.DisconnectionError("the server has ended the connection")
    if time.monotonic() < record.info.get("used_at", 0.0) + REST_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise exc.DisconnectionError("the connection did not survive its rest") from error


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """Run one write transaction: committed at the end, rolled back on any error. Raises: StoreUnavailable."""
    with translated(), engine.get_execution_options().get("writer") or nullcontext(), _connected(engine) as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Run statements that only read, each seeing its own moment. Raises: StoreUnavailable."""
    with translated(), _connected(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


def _connected(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except exc.InvalidRequestError as error:
        # Of the pool, when what it made anew is broken again: not a mistake of ours, as this class of errors is otherwise.
        raise StoreUnavailable() from error


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's errors about connections, locks and time limits into StoreUnavailable; mistakes pass."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise StoreUnavailable() from error
