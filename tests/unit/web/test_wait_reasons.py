"""Where runs stand, for those who ask often: as of now in a short queue, looked up once a second in a long one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from app.domain.queue.admission import Limits
from app.domain.runs.run import Run
from app.service import queries
from app.service.queries import QueueSnapshot
from app.web import wait_reasons
from app.web.wait_reasons import WaitReasonCache
from tests.unit.web.doubles import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[QueueSnapshot]:
    """Every look at the whole queue."""
    made: list[QueueSnapshot] = []
    monkeypatch.setattr(
        queries, "queue_snapshot", lambda services: made.append(QueueSnapshot(services.store.queue.positions(), ())) or made[-1]
    )  # type: ignore[func-returns-value]
    return made


def queued(site: Site) -> Run:
    run = site.services.store.runs.get(site.submit()["id"])
    assert run is not None
    return run


def test_in_a_short_queue_each_answer_is_of_now(site: Site, looks: list[QueueSnapshot]) -> None:
    runs = [queued(site) for _ in range(3)]
    known = WaitReasonCache(site.services)
    for _ in range(2):
        assert [wait and wait.position for wait in map(known.of_run, runs)] == [1, 2, 3]
    assert len(looks) == 6


def test_a_long_queue_is_looked_at_once_for_many(site: Site, looks: list[QueueSnapshot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_reasons, "LONG", 2)
    monkeypatch.setattr(wait_reasons, "time", SimpleNamespace(monotonic=lambda: 100.0))
    runs = [queued(site) for _ in range(3)]
    known = WaitReasonCache(site.services)
    for _ in range(3):
        assert [wait and wait.position for wait in map(known.of_run, runs)] == [1, 2, 3]
        assert [known.of_id(run.id)[1] for run in runs] == [known.of_run(run) for run in runs]
    assert len(looks) == 1
    newest = queued(site)
    assert (wait := known.of_run(newest)) is not None and wait.position == 4, "younger than the look"


def test_a_run_that_is_not_queued_costs_no_look(site: Site, looks: list[QueueSnapshot]) -> None:
    run = queued(site)
    site.services.store.queue.dispatch_next(Limits())
    started = site.services.store.runs.get(run.id)
    assert started is not None and WaitReasonCache(site.services).of_run(started) is None
    assert looks == []
