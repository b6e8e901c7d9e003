"""What a supervisor learns about its attempt, and what one that takes over still knows."""

from __future__ import annotations

import json
from dataclasses import replace

from app.agent.records.wire_format import Kind as Wire
from app.domain.ports import Record
from app.domain.runs.events import Entry, Kind
from app.domain.runs.events import encode as event
from app.domain.runs.evidence import Evidence, decode, encode
from app.domain.runs.run import Status
from app.domain.runs.usage import Use
from app.supervise.attempt_evidence import AttemptEvidence
from app.supervise.session import AttemptUpdate, End, Session
from tests.unit.supervise.doubles import make_run

POD = {"node": "node1", "image": "python@sha256:aa", "created": 4.0, "scheduled": 4.0}
USE = {"memory_bytes": 10, "peak_memory_bytes": 20, "cpu_seconds": 1.5, "cpu_cores": None}


def record(kind: Wire, body: dict[str, object], at: float, position: int = 9) -> Record:
    return Record(kind, at, json.dumps(body).encode(), position)


def output(at: float) -> Record:
    return Record(Wire.STDOUT, at, b"x", 9)


def test_one_supervisor_learns_everything_from_the_claim_to_the_exit() -> None:
    run = make_run(dispatched_at=2.0, lease_until=23.0)
    session = Session(run, 0, AttemptEvidence(run, lease_s=20))
    assert session.record(record(Wire.EVIDENCE, POD, 5.0, 0)) == [], "the step to running carries it"
    session.record(record(Wire.STARTED, {"pid": 1}, 6.0))
    session.run = replace(run, status=Status.RUNNING)
    for at in (7.0, 8.0):
        session.record(output(at))
    (end,) = session.record(record(Wire.EXIT, {"exit_code": 0}, 9.0))
    assert isinstance(end, End)
    assert session.evidence.known == Evidence(
        1, dispatched=2.0, claimed=3.0, started=6.0, first_byte=7.0, exited=9.0, **POD  # type: ignore[arg-type]
    )  # fmt: skip


def test_what_comes_after_the_start_is_stored_at_once_and_once() -> None:
    run = make_run(status=Status.RUNNING, deadline_at=100.0)
    session = Session(run, 0)
    assert session.record(record(Wire.EVIDENCE, POD, 5.0, 0)) == [AttemptUpdate()]
    assert session.record(record(Wire.EVIDENCE, POD, 6.0, 0)) == []
    assert session.evidence.of(run).evidence.node == "node1"


def test_a_supervisor_that_takes_over_claims_no_launch_for_itself() -> None:
    stored = decode(encode(Evidence(1, dispatched=2.0, claimed=3.0, node="node1")), 1)
    run = make_run(handle="uid", evidence=stored, dispatched_at=50.0, lease_until=80.0, status=Status.RUNNING)
    assert AttemptEvidence(run, lease_s=20).known == stored
    assert AttemptEvidence(replace(run, evidence=Evidence(1)), lease_s=20).known == Evidence(1)


def test_the_beginning_that_another_heard_is_recalled_from_the_log() -> None:
    run = make_run(handle="uid", status=Status.RUNNING)
    evidence = AttemptEvidence(run)
    evidence.observe(output(90.0), 100)
    assert evidence.lacks(101) and evidence.known.first_byte is None, "output that follows other output is not the first"
    events = [
        (4.0, Kind.STATUS, {"status": "starting", "attempt": 1}),
        (4.5, Kind.OUTPUT, {"text": "of no attempt"}),
        (6.0, Kind.STATUS, {"status": "running", "attempt": 1}),
        (6.5, Kind.NOTICE, {"message": "x"}),
        (7.0, Kind.OUTPUT, {"text": "x"}),
        (8.0, Kind.OUTPUT, {"text": "y"}),
    ]
    evidence.recall(Entry(seq, event(1, seq, at, kind, fields)) for seq, (at, kind, fields) in enumerate(events, start=1))
    assert (evidence.known.started, evidence.known.first_byte) == (6.0, 7.0)
    assert not evidence.lacks(101)


def test_the_log_of_another_attempt_tells_nothing() -> None:
    evidence = AttemptEvidence(make_run(attempt=2, status=Status.RUNNING))
    entries = [Entry(1, event(1, 1, 6.0, Kind.STATUS, {"status": "running", "attempt": 1}))]
    evidence.recall([*entries, Entry(2, event(1, 2, 7.0, Kind.OUTPUT, {"text": "x"}))])
    assert evidence.known == Evidence(2)
    assert AttemptEvidence(make_run(attempt=2, evidence=Evidence(1, node="node1"))).known == Evidence(2)


def test_an_end_that_only_the_link_tells_has_no_time_of_the_program_s_own() -> None:
    evidence = AttemptEvidence(make_run())
    evidence.observe(record(Wire.EXIT, {"reason": "NodeLost"}, 9.0, 0), 0)
    assert evidence.known.exited is None


def test_a_reading_is_passed_on_and_is_no_event() -> None:
    session = Session(make_run(status=Status.RUNNING), 0)
    assert session.record(record(Wire.USE, USE, 5.0, 0)) == [AttemptUpdate(Use(1, 5.0, 10, 20, 1.5, None))]
    assert session.record(record(Wire.USE, {"memory_bytes": "much"}, 5.0, 0)) == []
    assert session.record(record(Wire.HEARTBEAT, {}, 5.0, 0)) == []


def test_a_run_out_of_memory_says_how_much_it_held() -> None:
    session = Session(make_run(status=Status.RUNNING), 0)
    limit = session.run.spec.memory_bytes
    exit_record = {"reason": "OOMKilled", "exit_code": 1, "peak_memory_bytes": limit - 1024**2}
    (end,) = session.record(record(Wire.EXIT, exit_record, 9.0))
    assert isinstance(end, End)
    assert end.outcome.message == (
        "The program needed more memory than its limit of 512 MiB (at most it held 511 MiB) and was ended."
    )
