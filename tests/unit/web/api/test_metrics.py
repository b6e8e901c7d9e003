"""`/metrics`: what the reference says, in Prometheus' format, with as many series for a thousand people as for one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.domain.errors import StoreUnavailable
from app.domain.metrics import ARTEFACT_BYTES
from app.domain.person import Person
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Priority, Reason, Status
from app.domain.runs.spec import RunSpec
from app.service.queue.dispatch import dispatch
from app.service.runs.submit import submit
from tests.exposition import DOCUMENT, Scrape, documented, parse
from tests.unit.web.doubles import Limits, Site


def scrape(site: Site) -> Scrape:
    answer = site.client(None).get("/metrics")
    assert answer.status_code == 200 and answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


@pytest.mark.trap("M4")
def test_the_reference_is_made_from_the_table() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/metrics-doc"], capture_output=True, text=True, check=True, cwd=DOCUMENT.parents[1]
    )
    assert made.stdout == DOCUMENT.read_text(), "run: .venv/bin/python scripts/metrics-doc > docs/metrics.md"


@pytest.mark.trap("M4")
def test_a_scrape_has_what_the_reference_lists_and_nothing_else(site: Site) -> None:
    assert scrape(site).types == documented()


@pytest.mark.trap("C7")
@pytest.mark.trap("M3")
def test_a_thousand_people_and_runs_make_no_series_more(tmp_path) -> None:  # type: ignore[no-untyped-def]
    site = Site(tmp_path, Limits(10_000, 10_000, 10_000, 10_000))
    # Once that every labelled fact has happened.
    before = set(scrape(site).values)
    reasons = list(Reason)
    for number in range(1_000):
        person = Person(f"u-{number}", f"person {number}")
        priority = list(Priority)[number % 5]
        accepted = submit(site.services, person, RunSpec(command=("true",)), priority).run
        run = site.services.store.leases.claim(accepted.id, f"p-{number}", 60.0)
        assert run
        outcome = Outcome(Status.FAILED, reasons[number % len(reasons)], "")
        site.services.store.runs.finish(run, transition(run, Step.END, 1.0, outcome=outcome), None, run.archived)
        site.client(None).get(f"/v1/runs/{accepted.id}")
    after = scrape(site)
    added = {name for name, _ in set(after.values) - before}
    # Ends that no code path makes, such as Completed and failed, are in the closed set but not there from the start.
    assert set(after.values) >= before and added == {"podwire_ended_runs_total"}
    assert len(after.values) - len(before) <= len(reasons)
    assert after.by("podwire_queue_wait_seconds_count", "priority") == {priority.value: 200 for priority in Priority}
    assert sum(after.by("podwire_ended_runs_total", "reason").values()) == 1_000
    assert after.value("podwire_dispatch_seconds_count") == 1_000
    assert after.by("podwire_refusals_total", "code") == {"unauthenticated": 1_000}
    assert after.value("podwire_runs", state="active") == 0
    assert not any("u-1" in str(labels) for _, labels in after.values)


@pytest.mark.trap("M1")
def test_nothing_is_negative_and_buckets_are_cumulative(site: Site) -> None:
    site.submit(priority="high")
    site.client().post("/v1/runs", json={"script": 5})
    found = scrape(site)
    assert all(value >= 0 for value in found.values.values())
    assert found.by("podwire_queue_depth", "priority") == {"high": 1}
    assert found.by("podwire_refusals_total", "code") == {"invalid_input": 1}
    dispatch(site.services)
    buckets = [value for (name, _), value in scrape(site).values.items() if name == "podwire_dispatch_seconds_bucket"]
    assert buckets == sorted(buckets)


def test_large_numbers_are_written_in_full(site: Site) -> None:
    site.services.store.counters.note(ARTEFACT_BYTES.count(by=123456789))
    assert "podwire_artefact_bytes_total 123456789\n" in site.client(None).get("/metrics").get_data(as_text=True)


def test_without_the_database_there_are_no_numbers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StoreUnavailable()

    monkeypatch.setattr(type(site.services.store.counters), "counts", broken)
    answer = site.client(None).get("/metrics")
    assert answer.status_code == 503 and answer.get_json()["code"] == "store_unavailable"
