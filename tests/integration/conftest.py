"""One PostgreSQL for all, one Podwire of three replicas and two workers for tests that need nothing special, others on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.socket_site import Server
from tests.servers import Postgres

_RUNNING: list[Podwire] = []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the session."""
    server = Postgres(max_connections=300)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def podwire(postgres: Postgres) -> Iterator[Podwire]:
    """Three web replicas and two workers that all tests of the session share: leave them as they were found."""
    with ExitStack() as stack:
        yield _start(stack, postgres)


@pytest.fixture(scope="session")
def small(postgres: Postgres) -> Iterator[Podwire]:
    """Three replicas and one worker with room for one run at a time, a short queue and few questions; shared by the session."""
    with ExitStack() as stack:
        limits = {"max_active": 1, "max_active_per_owner": 1, "max_pending_per_owner": 20, "max_queue": 40, "max_questions": 3}
        yield _start(stack, postgres, web=3, workers=1, **limits)


@pytest.fixture(scope="module")
def socket_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One gunicorn for the module, of which a person may have CAP sockets."""
    server = Server(tmp_path_factory.mktemp("sockets"), max_sockets_per_user=request.module.CAP)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(socket_server: Server) -> Iterator[Server]:
    """The module's gunicorn; what the test opens is closed after it."""
    yield socket_server
    socket_server.close_sockets()


@pytest.fixture
def other_podwire(postgres: Postgres) -> Iterator[Callable[..., Podwire]]:
    """Start a Podwire of this test's own, with the settings that it needs."""
    with ExitStack() as stack:
        yield lambda **options: _start(stack, postgres, **options)


def _start(stack: ExitStack, postgres: Postgres, **options: Any) -> Podwire:
    podwire = Podwire(postgres, **options)
    _RUNNING.append(podwire)
    stack.callback(_RUNNING.remove, podwire)
    stack.callback(podwire.stop)
    podwire.start()
    return podwire


@pytest.fixture
def client(podwire: Podwire) -> Iterator[Client]:
    """A new person, whose requests go to the replicas in turn. After the test, every process must run."""
    yield podwire.client()
    podwire.must_run()


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """A file to which a program can append, to show how often it was started."""
    return tmp_path / "starts"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Show the last lines of every process of ours with a failed test."""
    report = yield
    if report.failed:
        for number, podwire in enumerate(_RUNNING):
            report.sections.append((f"processes of Podwire {number} in {podwire.folder}", podwire.tails()))
    return report
