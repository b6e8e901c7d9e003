"""The writer of a run's log against every loss that Redis can suffer and every takeover: whoever reads, reads each byte once.

A model check: random histories of writing, archiving, flushing, restarting with a lost tail, takeovers with the former writer
still running, and readers with a cursor that look in between. In the end every reader must hold exactly what the archive holds.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.domain.errors import Fenced
from app.domain.ports import Head
from app.domain.runs.events import Entry, Kind, Position, output_bytes, output_fields, resume_point
from app.live.memory import MemoryEventLog
from app.supervise.log.run_log import RunLog, adopt
from tests.unit.supervise.doubles import RUN_ID, MemoryArchive


class FrailLog(MemoryEventLog):
    """A live log that can come back from a restart without its last events, as a Redis with `appendfsync everysec` does."""

    def lose_tail(self, count: int, restarted: bool) -> None:
        self._starts += restarted
        if (log := self._logs.get(RUN_ID)) and count:
            log.entries = log.entries[:-count]
            seq = log.entries[-1].seq if log.entries else min(log.head.floor, log.head.seq)
            log.head = Head(log.head.token, log.head.epoch, seq, log.head.floor, log.head.server)


class Reader:
    """What a watcher holds: events by seq, and the position it would resume from."""

    def __init__(self) -> None:
        self.position = Position()
        self.events: list[bytes] = []

    def look(self, log: FrailLog, archive: MemoryArchive) -> None:
        archived = archive.archive_state()
        if (fallback := resume_point(self.position, archived.bases)) is not None:
            del self.events[fallback:]
            self.position = Position(archived.epoch, fallback)
        head = log.head(RUN_ID)
        if head and head.epoch == archived.epoch and head.floor <= self.position.seq and head.seq >= archived.seq:
            self._take(log.read(RUN_ID, head.epoch, self.position.seq, 100), archived.epoch)
        else:
            self._take([e for e in archive.entries if e.seq > self.position.seq], archived.epoch)

    def _take(self, entries: list[Entry], epoch: int) -> None:
        for entry in entries:
            assert entry.seq == self.position.seq + 1
            self.events.append(entry.payload)
            self.position = Position(max(epoch, self.position.epoch), entry.seq)


class Histories(RuleBasedStateMachine):
    """Random histories. The agent's output is one fixed string; whoever writes continues at the log's own spool position."""

    AGENT = bytes(range(256)) * 8

    @initialize()
    def begin(self) -> None:
        self.log, self.archive = FrailLog(), MemoryArchive()
        self.readers = [Reader() for _ in range(3)]
        self.former: RunLog | None = None
        self.writer = self.claim()

    def claim(self) -> RunLog:
        return adopt(self.archive.claim(), self.log, self.archive, self.log.server_id())  # type: ignore[arg-type]

    def write(self, writer: RunLog, size: int) -> None:
        data = self.AGENT[writer.top.spool : writer.top.spool + size]
        if data:
            fields = output_fields("stdout", writer.top.offset, data)
            writer.add(0.0, Kind.OUTPUT, fields, spool=writer.top.spool + len(data), size=len(data))

    @rule(size=st.integers(1, 40), publish=st.booleans())
    def output(self, size: int, publish: bool) -> None:
        self.write(self.writer, size)
        if publish:
            self.writer.publish()

    @rule()
    def notice(self) -> None:
        self.writer.add(0.0, Kind.NOTICE, {"code": f"by-token-{self.writer.token}"})
        self.writer.publish()

    @rule()
    def archive_turn(self) -> None:
        self.writer.archive()

    @rule(count=st.integers(0, 3), restarted=st.just(True))
    def redis_restarts_without_its_tail(self, count: int, restarted: bool) -> None:
        self.log.lose_tail(count, restarted)

    @rule()
    def redis_is_flushed(self) -> None:
        self.log.clear()

    @rule()
    def takeover(self) -> None:
        self.former, self.writer = self.writer, self.claim()

    @rule(size=st.integers(1, 10))
    def the_former_writer_wakes_up(self, size: int) -> None:
        if self.former is None:
            return
        self.write(self.former, size)
        try:
            self.former.publish()
            self.former.archive()
        except Fenced:
            self.former = None

    @rule(which=st.integers(0, 2))
    def look(self, which: int) -> None:
        self.readers[which].look(self.log, self.archive)

    @invariant()
    def the_archive_is_a_prefix_of_what_the_agent_wrote(self) -> None:
        if hasattr(self, "archive"):
            data = bytes_of([entry.payload for entry in self.archive.entries])
            assert data == self.AGENT[: len(data)]

    def teardown(self) -> None:
        if not hasattr(self, "writer"):
            return
        self.writer.publish()
        while self.writer.archive():
            pass
        truth = [entry.payload for entry in self.archive.entries]
        assert bytes_of(truth) == self.AGENT[: self.writer.top.spool]
        for reader in self.readers:
            reader.look(self.log, self.archive)
            reader.look(self.log, self.archive)
            assert reader.events == truth


def bytes_of(payloads: list[bytes]) -> bytes:
    events = [json.loads(payload) for payload in payloads]
    return b"".join(output_bytes(event) for event in events if event["kind"] == "output")


Histories.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestHistories = pytest.mark.trap("S3")(Histories.TestCase)


def test_a_tail_from_before_a_restart_is_not_trusted() -> None:
    """The reader saw an event that the restarted server has lost; the next writer must not continue where the server stands."""
    history = Histories()
    history.begin()
    for _ in range(2):
        history.output(size=5, publish=True)
    history.look(0)
    history.redis_restarts_without_its_tail(count=1, restarted=True)
    history.takeover()
    assert history.writer.epoch == 2
    history.output(size=9, publish=True)
    history.teardown()


def test_a_trusted_tail_is_kept_and_the_new_epoch_begins_after_it() -> None:
    history = Histories()
    history.begin()
    history.output(size=5, publish=True)
    history.archive_turn()
    history.output(size=5, publish=True)
    history.takeover()
    assert (history.writer.epoch, history.writer.top.seq, history.writer.top.spool) == (2, 2, 10)
    assert history.archive.bases == [(2, 2)]
    history.teardown()
