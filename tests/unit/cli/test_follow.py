"""The rules of following a run, without a socket: whatever the connection does, every byte and every event is shown once."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.client.backoff import retry_delay_s
from app.cli.client.follow import (
    After,
    Follower,
    Hello,
    Missing,
    ProtocolFault,
    Reset,
    Told,
    Waits,
    after_close,
    explain_close,
)
from app.domain.runs.events import Position


def output(seq: int, offset: int, data: bytes, epoch: int = 1) -> dict[str, Any]:
    event: dict[str, Any] = {"epoch": epoch, "seq": seq, "kind": "output", "time": 1.0, "stream": "stdout", "offset": offset}
    try:
        return event | {"text": data.decode()}
    except UnicodeDecodeError:
        return event | {"base64": base64.b64encode(data).decode()}


def other(seq: int, kind: str, epoch: int = 1, **fields: object) -> dict[str, Any]:
    return {"epoch": epoch, "seq": seq, "kind": kind, "time": 1.0, **fields}


def events(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"type": "events", "events": list(listed)}


def shown(items: list[Any]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Told))


def fresh(items: list[Any]) -> list[str]:
    return [i.event["kind"] for i in items if isinstance(i, Told) and not i.again and i.event["kind"] != "output"]


def test_shows_output_in_order_and_moves_its_cursor() -> None:
    follower = Follower()
    items = follower.receive(events(output(1, 0, b"a"), output(2, 1, b"\xff\x00"), output(3, 3, "é".encode())))
    assert shown(items) == b"a\xff\x00\xc3\xa9"
    assert follower.cursor == Position(1, 3)


@pytest.mark.trap("S3")
def test_an_event_that_comes_twice_is_shown_once() -> None:
    follower = Follower()
    follower.receive(events(output(1, 0, b"ab"), other(2, "question", question={"id": "q"})))
    items = follower.receive(events(output(1, 0, b"ab"), other(2, "question", question={"id": "q"}), output(3, 2, b"c")))
    assert shown(items) == b"c"
    assert fresh(items) == []


@pytest.mark.trap("S8")
@pytest.mark.parametrize("bad", [output(3, 1, b"x"), output(2, 1, b"x", epoch=0)])
def test_a_gap_or_an_older_epoch_is_a_fault_and_the_cursor_stays(bad: dict[str, Any]) -> None:
    follower = Follower()
    follower.receive(events(output(1, 0, b"a")))
    with pytest.raises(ProtocolFault):
        follower.receive(events(bad))
    assert follower.cursor == Position(1, 1)


def test_after_a_reset_only_what_is_new_is_shown() -> None:
    follower = Follower()
    waiting, question = {"status": "waiting", "attempt": 1}, {"question": {"id": "q"}}
    follower.receive(events(output(1, 0, b"abc"), other(2, "status", **waiting), other(3, "question", **question)))
    assert follower.receive({"type": "reset", "epoch": 2, "seq": 0}) == [Reset(2, 0)]
    assert follower.cursor == Position(2, 0)
    # The same records again, cut differently and with one more notice, as the next writer numbers them.
    items = follower.receive(
        events(
            output(1, 0, b"ab", 2),
            output(2, 2, b"cd", 2),
            other(3, "status", 2, **waiting),
            other(4, "notice", 2, code="takeover", message="m"),
            other(5, "question", 2, **question),
        )
    )
    assert shown(items) == b"d"
    assert fresh(items) == ["notice"]


@pytest.mark.trap("S8")
def test_a_frame_with_a_fault_counts_as_not_seen_at_all() -> None:
    follower = Follower()
    question = other(2, "question", question={"id": "q"})
    with pytest.raises(ProtocolFault):
        follower.receive(events(output(1, 0, b"a"), question, output(9, 1, b"x")))
    items = follower.receive(events(output(1, 0, b"a"), question))
    assert (shown(items), fresh(items), follower.cursor) == (b"a", ["question"], Position(1, 2))


def test_a_status_that_truly_comes_twice_is_told_twice() -> None:
    follower = Follower()
    running = {"status": "running", "attempt": 1}
    items = follower.receive(events(other(1, "status", **running), other(2, "status", **running)))
    assert fresh(items) == ["status", "status"]
    follower.receive({"type": "reset", "epoch": 2, "seq": 1})
    items = follower.receive(events(other(2, "status", 2, **running), other(3, "status", 2, **running)))
    assert fresh(items) == ["status"]


def test_a_reset_beyond_the_cursor_drops_nothing() -> None:
    follower = Follower()
    follower.receive(events(output(1, 0, b"a")))
    follower.receive({"type": "reset", "epoch": 2, "seq": 9})
    assert follower.cursor == Position(2, 1)


def test_bytes_that_never_came_are_named() -> None:
    items = Follower().receive(events(output(1, 0, b"a"), output(2, 5, b"f")))
    assert Missing(1, 5) in items
    assert shown(items) == b"af"


def test_a_watcher_that_begins_in_the_middle_misses_nothing() -> None:
    follower = Follower(Position(1, 7), offset=None)
    items = follower.receive(events(output(8, 500, b"x")))
    assert items == [Told(output(8, 500, b"x"), b"x")]
    assert follower.offset == 501


@pytest.mark.trap("S7")
def test_nothing_is_shown_after_the_end() -> None:
    follower = Follower()
    follower.receive(events(other(1, "end", status="succeeded")))
    assert follower.receive(events(other(2, "end", status="failed"), output(3, 0, b"x"))) == []
    follower.receive({"type": "reset", "epoch": 2, "seq": 0})
    assert follower.cursor == Position(1, 1)
    assert follower.end is not None and follower.end["status"] == "succeeded"


def test_frames_that_are_not_events() -> None:
    follower = Follower()
    assert follower.receive({"type": "hello", "run": {"id": "r"}, "position": "0-0"}) == [Hello({"id": "r"})]
    assert follower.receive({"type": "queue", "position": 3, "message": "3rd in the queue"}) == [Waits("3rd in the queue")]
    assert follower.receive({"type": "something newer"}) == []


@pytest.mark.parametrize(
    "frame",
    [
        None,
        [],
        {"type": "events"},
        {"type": "events", "events": ["x"]},
        {"type": "events", "events": [{"seq": 1}]},
        {"type": "events", "events": [{"epoch": 1, "seq": True, "kind": "notice"}]},
        {"type": "events", "events": [{"epoch": 1, "seq": 1, "kind": "output", "offset": 0}]},
        {"type": "events", "events": [{"epoch": 1, "seq": 1, "kind": "output", "offset": 0, "base64": "A"}]},
        {"type": "reset", "epoch": 1},
        {"type": "reset", "epoch": 1, "seq": -1},
    ],
)
def test_malformed_frames_are_faults(frame: object) -> None:
    with pytest.raises(ProtocolFault):
        Follower().receive(frame)


def test_what_follows_a_closed_connection() -> None:
    follower = Follower()
    for code in (None, 1000, 1001, 1006, 1011, 1012, 1013, 4408):
        assert after_close(code, follower) is After.RECONNECT
    for code in (1003, 1009, 4400, 4401, 4404):
        assert after_close(code, follower) is After.REFUSED
        assert explain_close(code)
    follower.receive(events(other(1, "end", status="succeeded")))
    assert after_close(None, follower) is After.FINISHED


def test_waiting_grows_and_is_spread_over_all_of_the_time() -> None:
    assert [retry_delay_s(n, 1.0) for n in (0, 1, 2, 30)] == [0.5, 1.0, 2.0, 20.0]
    assert retry_delay_s(5, 0.0) == 0.0


PARTS = st.one_of(st.binary(min_size=1, max_size=5), st.sampled_from("sqan"))


@pytest.mark.trap("S3")
@given(truth=st.lists(PARTS, max_size=25), seed=st.integers(0, 2**32))
def test_every_byte_and_every_event_once_over_any_connection(truth: list[bytes | str], seed: int) -> None:
    """A server that drops, repeats and re-numbers: the follower still shows the log exactly once."""
    chance = random.Random(seed)
    follower, seen, told, epoch = Follower(), b"", [], 1
    log = _log(truth, epoch, 0, [])
    while follower.end is None:
        start = chance.randint(0, follower.cursor.seq)
        items = follower.receive(events(*log[start : chance.randint(start, len(log))]))
        seen += shown(items)
        told += fresh(items)
        if follower.end is None and chance.random() < 0.4:
            epoch += 1
            base = chance.randint(0, follower.cursor.seq)
            log = _log(truth, epoch, base, log)
            follower.receive({"type": "reset", "epoch": epoch, "seq": base})
    assert seen == b"".join(part for part in truth if isinstance(part, bytes))
    assert told == [*(KINDS[part] for part in truth if isinstance(part, str)), "end"]


KINDS = {"s": "status", "q": "question", "a": "answer", "n": "notice", "end": "end"}


def _log(truth: list[bytes | str], epoch: int, base: int, former: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the log of the epoch: what the former one had up to its base, then the same records again."""
    log, offset = former[:base], 0
    for seq, part in enumerate([*truth, "end"], start=1):
        if seq > base:
            log.append(output(seq, offset, part, epoch) if isinstance(part, bytes) else _named(seq, part, epoch))
        offset += len(part) if isinstance(part, bytes) else 0
    return log


def _named(seq: int, part: str, epoch: int) -> dict[str, Any]:
    return other(seq, KINDS[part], epoch, status="x")
