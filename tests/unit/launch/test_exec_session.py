"""The rules of a link to a pod's agent, without a socket and with a clock that only the test turns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.agent.records.wire_format import Kind
from app.domain.ids import new_run_id
from app.domain.ports import Attempt, Record
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.link.exec_session import (
    CROWDED_PAUSE_S,
    DIAL_WITHIN_S,
    FEW,
    FORBIDDEN_S,
    LASTING_S,
    LONGEST_DIAL_S,
    NEVER,
    ExecSession,
    Shared,
    State,
)
from app.launch.kubernetes.pods.verdict import judge

ATTEMPT = Attempt(new_run_id(), 1, RunSpec(script="print(1)", language="python"), handle="uid-1")
RUNNING = {"phase": "Running", "containerStatuses": [{"name": name, "state": {"running": {}}} for name in ("agent", "run")]}
WAITS = {"waiting": {"reason": "ImagePullBackOff", "message": "the registry is slow"}}


def session(shared: Shared | None = None, position: int = 0) -> ExecSession:
    return ExecSession(shared or Shared(), ATTEMPT, position, 0.0)


def beat(**facts: object) -> Record:
    return Record(Kind.HEARTBEAT, 0.0, json.dumps(facts).encode(), 0)


def look(made: ExecSession, now: float, status: dict[str, Any], *, changed: bool = False) -> bool:
    pod = {"metadata": {"uid": "uid-1"}, "status": status}
    made.wants_look(now, changed=True)
    news = made.saw(pod, judge(pod), changed, now)
    made.conclude(judge(pod), now)
    return news


def kinds(made: ExecSession) -> list[int]:
    return [kind for kind, _ in made.commands]


def test_every_row_of_the_table_of_states() -> None:
    made = session()
    assert (made.state, made.wants_dial(0.0)) == (State.AWAY, True)
    made.dialling(0.0)
    made.dialled(0.0)
    assert (made.state, made.wants_dial(99.0)) == (State.SILENT, False)
    made.broke()
    assert made.state is State.AWAY
    made.dialling(1.0)
    made.dialled(1.0)
    made.received([beat(waits=False)], 1.0)
    assert made.state is State.TALKING
    made.broke()
    made.broke()
    assert (made.state, made.wants_dial(99.0)) == (State.LOST, False), "it stays lost"


def test_a_silent_connection_is_given_up_later_each_time_up_to_a_bound() -> None:
    made, now, patience = session(), 0.0, []
    for _ in range(6):
        made.dialling(now)
        made.dialled(now)
        kept = next(tenths / 10 for tenths in range(1, 1000) if made.too_long_silent(now + tenths / 10))
        patience.append(kept - 0.1)
        now += 100.0
    doubled = [min(LONGEST_DIAL_S, DIAL_WITHIN_S * 2**number) for number in range(6)]
    assert patience == pytest.approx(doubled)


def test_commands_from_before_the_answer_come_before_the_files_and_the_word_to_start() -> None:
    made = session()
    made.commands.append((Kind.SIGNAL, {"id": "stop"}))
    made.dialled(0.0)
    assert made.received([beat(waits=True)], 0.0) is True
    made.start()
    assert kinds(made) == [Kind.SIGNAL, Kind.FILE, Kind.START]
    assert made.commands[-1][1]["uid"] == "uid-1"


def test_of_a_crowd_each_is_dialled_once_the_cluster_shows_that_it_runs() -> None:
    shared = Shared()
    shared.awaited.update(range(FEW))
    made = session(shared)
    assert (made.dial_at, made.wants_dial(1.0)) == (CROWDED_PAUSE_S, False)
    look(made, 1.0, RUNNING)
    assert made.wants_dial(1.0)
    made.received([beat(waits=False)], 1.0)
    assert shared.awaited == set(range(FEW))


def test_an_attempt_nobody_ever_heard_of_ends_where_rights_are_refused_for_long_and_another_does_not() -> None:
    refusal = ApiFailure(403, "Forbidden", 'pods "x" is forbidden: User "a" cannot create resource')
    for position, ends in ((0, 1), (500, 0)):
        made = session(position=position)
        made.refused(refusal, 0.0)
        assert made.records == []
        made.refused(refusal, FORBIDDEN_S + 1)
        made.refused(refusal, FORBIDDEN_S + 2)
        assert [record.kind for record in made.records] == [Kind.EXIT] * ends


def test_a_fault_is_told_once_and_ends_the_attempt_when_it_has_lasted_over_links() -> None:
    shared = Shared()
    status = {"phase": "Pending", "containerStatuses": [{"name": "agent", "state": WAITS}]}
    first = session(shared)
    assert look(first, 0.0, status) is True, "its events are asked for first"
    assert look(first, 1.0, status) is False
    told = [record.kind for record in first.records]
    assert (told.count(Kind.NOTICE), told.count(Kind.HELD), told.count(Kind.EXIT)) == (1, 1, 0)
    first.close()
    second = session(shared)
    look(second, LASTING_S["LaunchFailed"] + 1, status)
    assert [record.kind for record in second.records if record.kind in (Kind.NOTICE, Kind.EXIT)] == [Kind.EXIT]


def test_the_end_that_the_cluster_shows_is_sent_to_the_agent_once() -> None:
    ended = [{"name": "agent", "state": {"running": {}}}, {"name": "run", "state": {"terminated": {"exitCode": 3}}}]
    made = session()
    made.dialled(0.0)
    look(made, 0.0, {"phase": "Running", "containerStatuses": ended})
    assert (kinds(made), made.look_at) == ([], 0.5), "nobody hears it yet: soon again"
    made.received([beat(waits=False, started=True)], 0.0)
    for now in (1.0, 2.0):
        look(made, now, {"phase": "Running", "containerStatuses": ended})
    assert kinds(made) == [Kind.EXITED]


def test_events_are_asked_for_until_the_program_has_begun() -> None:
    made = session()
    assert (made.wants_events(0.0), made.wants_events(2.0)) == (False, True)
    made.asked([], 2.0)
    assert (made.wants_events(2.0), made.wants_events(5.0)) == (False, True)
    made.dialled(5.0)
    made.received([beat(started=True)], 5.0)
    assert (made.ask_at, made.wants_events(500.0)) == (NEVER, False)
