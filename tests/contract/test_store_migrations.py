"""Migrations: they lead to the tables, once, whoever starts them; and what a database that is away looks like."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, select, text

from app.domain.errors import StoreUnavailable
from app.store.engine import begin, db_now, make_engine, reading
from app.store.schema import migrate as migrate_module
from app.store.schema.migrate import migrate, schema_is_current
from app.store.schema.tables import metadata, ticks
from app.store.store import make_store

# The number that the newest file begins with; one chain without branches.
NEWEST = max(path.name for path in (Path(migrate_module.__file__).parent / "migrations/versions").glob("0*.py"))[:4]


@pytest.mark.trap("D16")
def test_three_processes_that_migrate_at_once_leave_one_schema(empty_database_url):
    engine = make_engine(empty_database_url)
    assert schema_is_current(engine) is False
    program = (
        "import sys; from app.store.schema.migrate import migrate; print('ready', flush=True); input(); migrate(sys.argv[1])"
    )
    command = [sys.executable, "-W", "error", "-c", program, empty_database_url]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert schema_is_current(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [NEWEST]
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == [], "the migrations lead to exactly the tables"
    engine.dispose()


@pytest.mark.trap("D16")
def test_every_migration_only_adds(empty_database_url):
    """The former version works on the newer tables: it finds all that it knows, and may leave out all that it does not."""
    engine, config = make_engine(empty_database_url), migrate_module._config()
    before = {}
    for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
        with begin(engine) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, script.revision)
            after = shape(connection)
        for table, columns in before.items():
            known, now = dict(columns), dict(after[table])
            assert {name: now.get(name) for name in known} == known, f"{script.revision} changes {table}"
            required = [name for name, (_, nullable, default) in now.items() if not nullable and default is None]
            assert set(required) <= set(known), f"{script.revision}: {table} has a new column without a default"
        before = after
    engine.dispose()


def shape(connection):
    """Return every table's columns with what matters to whoever writes them."""
    seen = inspect(connection)
    return {
        table: {one["name"]: (str(one["type"]), one["nullable"], one["default"]) for one in seen.get_columns(table)}
        for table in seen.get_table_names()
    }


@pytest.mark.trap("D16")
def test_a_database_of_a_later_version_is_left_alone(database_url):
    engine = make_engine(database_url)
    with begin(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    migrate(database_url)
    assert schema_is_current(engine)
    engine.dispose()


def test_a_transaction_is_all_or_nothing_and_the_clock_is_the_database_s(engine):
    row = {"name": "a", "owner": "p", "until": db_now()}
    with pytest.raises(RuntimeError), begin(engine) as connection:
        connection.execute(ticks.insert().values(**row))
        raise RuntimeError
    with reading(engine) as connection:
        assert connection.execute(select(ticks)).all() == []
        clocks = [connection.execute(select(db_now())).scalar_one() for _ in range(50)]
    assert clocks == sorted(clocks) and clocks[-1] < clocks[0] + 60
    assert all(isinstance(clock, float) for clock in clocks) and 1.7e9 < clocks[0] < 1e10


def test_a_database_that_is_away_is_store_unavailable(tmp_path):
    for url in (f"sqlite:///{tmp_path}/no/such/folder.db", f"postgresql://nobody@/x?host={tmp_path}"):
        engine = make_engine(url)
        with pytest.raises(StoreUnavailable) as away:
            make_store(engine, "process").runs.get("r")
        assert away.value.retryable and away.value.__cause__ is not None
        with pytest.raises(StoreUnavailable):
            make_store(engine, "process").leases.renew("p", 1.0)
        engine.dispose()


@pytest.mark.parametrize("use", [reading, begin])
def test_connections_that_break_as_soon_as_they_are_made_are_no_mistake_of_ours(postgresql, use):
    url = postgresql.database()
    engine, other = make_engine(url), make_engine(url)
    make_store(engine, "process").clock.now()
    tested = []

    def cut(connection, record, proxy):
        tested.append(connection)
        with other.connect() as murderer:
            murderer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": connection.info.backend_pid})

    event.listen(engine, "checkout", cut, insert=True)
    with pytest.raises(StoreUnavailable), use(engine) as connection:
        connection.execute(text("SELECT 1"))
    assert len(tested) > 1
    event.remove(engine, "checkout", cut)
    assert make_store(engine, "process").clock.now() > 0
    engine.dispose()
    other.dispose()


@pytest.mark.parametrize("use", [reading, begin])
def test_a_connection_that_breaks_between_its_check_and_its_use_is_no_mistake_of_ours(postgresql, use):
    url = postgresql.database()
    engine, other = make_engine(url), make_engine(url)
    make_store(engine, "process").clock.now()

    def cut(connection, record, proxy):
        with other.connect() as murderer:
            murderer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": connection.info.backend_pid})

    event.listen(engine, "checkout", cut)
    with pytest.raises(StoreUnavailable), use(engine) as connection:
        connection.execute(text("SELECT 1"))
    event.remove(engine, "checkout", cut)
    assert make_store(engine, "process").clock.now() > 0
    engine.dispose()
    other.dispose()


def test_lost_connections_are_replaced(postgresql):
    url = postgresql.database()
    engine, other = make_engine(url), make_engine(url)
    store = make_store(engine, "process")
    store.clock.now()
    with begin(other) as connection:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"))
    assert store.clock.now() > 0
    engine.dispose()
    other.dispose()
