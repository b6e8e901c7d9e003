"""What a run uses and used, as the API shows it: to its owner, of its present attempt, and only what is known."""

from __future__ import annotations

from dataclasses import replace

from app.domain.queue.admission import Limits
from app.domain.runs.evidence import Evidence
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Progress, Reason, Run, Status
from app.domain.runs.usage import Use
from app.web.api.runs.resources import evidence_resource
from tests.unit.web.doubles import Site

USE = Use(attempt=1, at=1700000000.25, memory_bytes=100, peak_memory_bytes=200, cpu_seconds=1.5, cpu_cores=0.25)
DIGEST = "docker.io/library/python@sha256:" + "ab" * 32


def running(site: Site) -> Run:
    run_id = site.submit(memory="64Mi")["id"]
    site.services.store.queue.dispatch_next(Limits(100, 10, 100, 10))
    claimed = site.services.store.leases.claim(run_id, "p1", 60)
    assert claimed is not None
    known = Evidence(1, "node1", DIGEST, started=claimed.created_at + 1)
    started = replace(transition(claimed, Step.START, site.services.store.clock.now()), evidence=known)
    return site.services.store.runs.save(claimed, started)


def test_what_a_run_uses_is_shown_while_it_runs(site: Site) -> None:
    run = running(site)
    assert site.client().get(f"/v1/runs/{run.id}").get_json()["use"] is None
    site.services.uses.put(run.id, USE)
    assert site.client().get(f"/v1/runs/{run.id}").get_json()["use"] == {
        "memory_bytes": 100,
        "peak_memory_bytes": 200,
        "memory_limit_bytes": 64 * 1024**2,
        "cpu_seconds": 1.5,
        "cpu_cores": 0.25,
        "at": "2023-11-14T22:13:20.250Z",
    }
    assert "use" not in site.client().get("/v1/runs").get_json()["items"][0]
    site.services.uses.put(run.id, replace(USE, attempt=2))
    assert site.client().get(f"/v1/runs/{run.id}").get_json()["use"] is None, "of another attempt"


def test_evidence_stays_and_the_last_reading_does_not(site: Site) -> None:
    run = running(site)
    site.services.uses.put(run.id, USE)
    outcome = Outcome(Status.SUCCEEDED, Reason.COMPLETED, "Done.", 0)
    site.services.store.runs.finish(
        run, transition(run, Step.END, site.services.store.clock.now(), outcome=outcome), None, Progress()
    )
    shown = site.client().get(f"/v1/runs/{run.id}").get_json()
    assert shown["use"] is None
    evidence = shown["evidence"]
    assert (evidence["node"], evidence["image"], evidence["memory_limit_bytes"]) == ("node1", DIGEST, 64 * 1024**2)
    known = {name for name, at in evidence["phases"].items() if at is not None}
    assert known == {"queued", "started", "ended"}
    assert evidence["phases"]["queued"] == shown["created_at"] and evidence["phases"]["ended"] == shown["ended_at"]


def test_a_run_that_waits_in_the_queue_has_hardly_any(site: Site) -> None:
    evidence = site.client().get(f"/v1/runs/{site.submit()['id']}").get_json()["evidence"]
    assert (evidence["node"], evidence["image"]) == (None, None)
    assert [name for name, at in evidence["phases"].items() if at] == ["queued"]


def test_the_phases_of_another_attempt_begin_when_it_was_queued(site: Site) -> None:
    run = running(site)
    again = replace(run, attempt=2, queued_again_at=run.created_at + 50, ended_at=None)
    told = evidence_resource(again).phases
    assert told.queued == run.created_at + 50
    assert evidence_resource(run).phases.queued == run.created_at
