"""The rules of a watcher's connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.domain.errors import LimitReached
from app.domain.runs.events import Position
from app.live.batch import Reset, make_batch, nothing_more
from app.service.queries import WaitReason
from app.web.streams.close_codes import CloseCode, Violation
from app.web.streams.frames import AnswerFrame, InputFrame
from app.web.streams.protocol import Out, Refusal, Session, failure, parse_command, success

END = b'{"epoch":1,"seq":2,"kind":"end"}'


def body(frame: bytes) -> dict[str, Any]:
    """Return the message of an unmasked text frame."""
    if frame[0] != 0x81:
        raise AssertionError(frame[:4])
    skip = {126: 4, 127: 10}.get(frame[1], 2)
    decoded: dict[str, Any] = json.loads(frame[skip:])
    return decoded


def test_batches_go_out_as_they_are_and_the_end_closes() -> None:
    session = Session(to_start=False)
    batch = make_batch(1, 1, [END])
    assert session.on_item(batch) == Out((batch.frame,), CloseCode.ENDED)
    assert session.on_item(nothing_more(Position(1, 2))) == Out((), CloseCode.ENDED)
    assert session.on_item(None) == Out()
    assert body(session.on_item(Reset(2, 5)).frames[0]) == {"type": "reset", "epoch": 2, "seq": 5}


def test_the_place_in_the_queue_is_told_when_it_changes() -> None:
    session = Session(to_start=True)
    (frame,) = session.on_wait(True, WaitReason(2, "2nd")).frames
    assert body(frame) == {"type": "queue", "position": 2, "message": "2nd"}
    assert session.on_wait(True, WaitReason(2, "2nd")) == Out() and session.to_start
    assert session.on_wait(True, WaitReason(1, "1st")).frames
    assert session.on_wait(False, None) == Out() and not session.to_start


def test_what_a_start_waits_for_is_told_and_taken_back() -> None:
    session = Session(to_start=True)
    assert session.on_wait(True, WaitReason(1, "1st")).frames
    assert session.on_wait(True, None) == Out(), "nothing is in the way of most starts"
    (frame,) = session.on_wait(True, WaitReason(None, "quota")).frames
    assert body(frame) == {"type": "queue", "position": None, "message": "quota"}
    (frame,) = session.on_wait(True, None).frames
    assert body(frame) == {"type": "queue", "position": None, "message": "It is being started."}
    assert session.on_wait(True, None) == Out() and session.to_start
    assert session.on_wait(False, None) == Out() and not session.to_start


def test_a_run_that_is_back_in_the_queue_has_its_place_told_again() -> None:
    session = Session(to_start=False)
    again = b'{"epoch":1,"seq":1,"kind":"status","time":1,"status":"queued","attempt":2}'
    starting = b'{"epoch":1,"seq":2,"kind":"status","time":1,"status":"starting","attempt":2}'
    said = b'{"epoch":1,"seq":1,"kind":"output","time":1,"text":"\\"status\\":\\"queued\\" "status":"queued""}'
    for payloads in ([said], [again, starting]):
        session.on_item(make_batch(1, 0, payloads))
        assert not session.to_start
    session.on_item(make_batch(1, 0, [again]))
    assert session.to_start and session.on_wait(True, WaitReason(1, "attempt 2 of 3")).frames


def test_commands_are_read() -> None:
    command = parse_command('{"type":"answer","id":"c1","question":"q","value":{"a":[1]}}')
    assert isinstance(command, AnswerFrame) and command.value == {"a": [1]}
    command = parse_command('{"type":"input","id":"c2","data":"x\\n"}')
    assert isinstance(command, InputFrame) and (command.data, command.eof) == ("x\n", False)
    for text in ("", "5", "{", "{}", '{"type":"input"}', '{"type":"input","id":5}', '{"type":{},"id":"c"}', "[" * 9999):
        with pytest.raises(Violation) as broken:
            parse_command(text)
        assert broken.value.code is CloseCode.BAD_FRAME
    with pytest.raises(Refusal) as refused:
        parse_command('{"type":"answer","id":"c3","question":"q"}')
    reply = body(refused.value.frame)
    assert (reply["id"], reply["ok"], reply["error"]["errors"][0]["field"]) == ("c3", False, "value")


def test_replies_carry_the_facts_of_an_error() -> None:
    assert body(success("c1", {"id": "not this"})) == {"type": "reply", "id": "c1", "ok": True}
    error = body(failure("c1", LimitReached("Enough.", limit=3, current=3)))["error"]
    assert error == {"code": "limit_reached", "message": "Enough.", "limit": 3, "current": 3}
