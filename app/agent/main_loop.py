"""The agent's life beside the program: one loop that records, serves and carries questions, until it is told to finish.

Order is the point: what the program wrote before it asked, was answered or ended is recorded before that is.
"""

from __future__ import annotations

import os
import select
import signal
import time
from functools import partial

from app.agent.commands import Commands
from app.agent.program.start import Born
from app.agent.program.stdin import Stdin
from app.agent.program.usage import Gauge, Group, Reading
from app.agent.questions import flat_json
from app.agent.questions.question_files import Desk, Handed, Open
from app.agent.questions.request import question, reply
from app.agent.records.recorder import Cap, Recorder
from app.agent.records.spool import Spool, SpoolFailed
from app.agent.records.wire_format import HEARTBEAT_S, MAX_OUTPUT, Kind
from app.agent.server import Client, ClientGone, Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# With the bytes of a character that was not complete, still one record.
READ_BYTES = MAX_OUTPUT - 3
DRAIN_BYTES = 1024 * 1024
LOOK_AT_DESK_S = 0.5
PIPES_OPEN_S = 2.0
LEAVE_WITHIN_S = 1.0
FIRST_USE_S, USE_EVERY_S = 1.0, 5.0
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


def live(born: Born) -> None:
    """Stay with the program to its end and beyond, until the last follower has what it needs."""
    life = Life(born)
    try:
        life.begin()
        life.loop()
    except SpoolFailed as failure:
        life.give_up(failure)
    life.linger()


class Life:
    """Everything the agent holds of its attempt."""

    def __init__(self, born: Born) -> None:
        self._born = born
        number = born.config.number
        self._spool = Spool(born.folder)
        self._cap = Cap(int(number(b"output_limit", 64 * 1024 * 1024)))
        self._recorder = Recorder(self._record_output)
        self._desk = Desk(born.desk)
        self._questions: list[Open] = []
        self._max_questions = int(number(b"max_questions", 1000))
        self._stdin = Stdin(born.stdin)
        self._streams = {fd: kind for fd, kind in ((born.stdout, Kind.STDOUT), (born.stderr, Kind.STDERR)) if fd >= 0}
        self._listener = Listener(born.folder, self._spool)
        self._clients: dict[int, Client] = {}
        self._commands = Commands(self._reply, self._stdin, self._signal)
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._status: tuple[int, object] | None = None
        self._ended = False
        now = time.monotonic()
        self._budget_s, self._spent_at = number(b"backstop_s", 1e9), now
        self._linger_s = number(b"linger_s", 3600)
        self._heartbeat_at = now
        self._desk_at = 0.0  # look at once: somebody may have asked already
        self._leave_at = self._exit_at = self._use_at = float("inf")
        self._gauge, self._group = Gauge(), Group(born.guardian)

    # --- beginning and end

    def begin(self) -> None:
        """Record that the program runs (or why not) and listen."""
        self._watch(self._listener.fd, self._accept)
        if self._born.error:
            self._end({"exit_code": 127, "signal": None, "launch_error": self._born.error}, None)
            return
        self._record(Kind.STARTED, {"pid": self._born.pid})
        self._use_at = time.monotonic() + FIRST_USE_S
        for fd in self._streams:
            os.set_blocking(fd, False)
            self._watch(fd, partial(self._read, fd))
        self._exited = os.pidfd_open(self._born.pid)
        self._watch(self._exited, self._reap)
        self._watch(self._born.bell, self._rung)

    def loop(self) -> None:
        """Serve everything that is ready, again and again, until it is time to leave."""
        while (now := time.monotonic()) < self._leave_at and not self._all_said():
            for fd, _ in self._poll.poll(self._pause_s(now) * 1000):
                if ready := self._ready.get(fd):
                    ready()
            self._tick(time.monotonic())
            for client in list(self._clients.values()):
                self._push(client)

    def _all_said(self) -> bool:
        return self._commands.finished and self._ended and not self._clients

    def give_up(self, failure: SpoolFailed) -> None:
        """End the program because its output cannot be kept any more, and say so if there is room for that."""
        self._recorder = Recorder(lambda kind, data: None)
        self._spool.release_reserve()
        message = f"The program was ended because its output could not be stored: {failure}."
        try:
            self._end_group()
            if not self._ended:
                self._record(Kind.NOTICE, {"code": "spool_failed", "message": message})
                self._end({"exit_code": None, "signal": "SIGKILL", "launch_error": message}, None)
        except SpoolFailed:
            self._leave_at = 0.0  # the end is not on record, so the attempt counts as lost: which it is

    def linger(self) -> None:
        """Go on serving what there is after the spool failed; nothing is left to record then."""
        if not self._commands.finished:
            self._streams.clear()
            self.loop()

    # --- the loop's inside

    def _watch(self, fd: int, ready: Callable[[], object], events: int = READABLE) -> None:
        self._ready[fd] = ready
        self._poll.register(fd, events)

    def _forget(self, fd: int) -> None:
        if self._ready.pop(fd, None):
            self._poll.unregister(fd)

    def _pause_s(self, now: float) -> float:
        times = [self._heartbeat_at + HEARTBEAT_S, self._leave_at, self._exit_at, self._recorder.due()]
        if not self._ended:
            times.append(self._desk_at + LOOK_AT_DESK_S)
            if self._is_watched():
                times.append(self._use_at)
        return max(0.0, min(at for at in times if at is not None) - now)

    def _tick(self, now: float) -> None:
        self._recorder.tick(now)
        if not self._ended:
            if now >= self._desk_at + LOOK_AT_DESK_S:
                self._look_at_desk()
            self._spend(now)
            if self._is_watched() and now >= self._use_at:
                self._use_at = now + USE_EVERY_S
                self._measure()
            if self._status is not None and (not self._streams or now >= self._exit_at):
                self._finish()
        if now >= self._heartbeat_at + HEARTBEAT_S:
            self._heartbeat_at = now
            for client in list(self._clients.values()):
                self._say(client, Kind.HEARTBEAT, {"position": self._spool.position})

    def _spend(self, now: float) -> None:
        """Count the time that is the program's own; kill it when nobody else did in time."""
        spent_s, self._spent_at = now - self._spent_at, now
        if all(asked.settled for asked in self._questions):
            self._budget_s -= spent_s
        if self._budget_s < 0 and self._status is None:
            message = "The program was killed: its time was long over and nobody had stopped it."
            self._record(Kind.NOTICE, {"code": "time_limit", "message": message})
            self._budget_s = float("inf")
            self._signal(signal.SIGKILL)

    # --- what the program uses: told to whoever follows, and kept by nobody here

    def _is_watched(self) -> bool:
        return bool(self._clients) and self._status is None

    def _measure(self) -> None:
        if reading := self._group.read(time.monotonic()):
            self._report(reading)

    def _report(self, reading: Reading) -> None:
        body = self._gauge.take(reading, time.monotonic())
        for client in list(self._clients.values()):
            self._say(client, Kind.USE, body)

    # --- records

    def _record(self, kind: Kind, body: dict[str, object]) -> None:
        self._spool.append(kind, time.time(), flat_json.dumps(body))

    def _record_output(self, kind: int, data: bytes) -> None:
        kept, first_withheld = self._cap.admit(data)
        if kept:
            self._spool.append(kind, time.time(), kept)
        if first_withheld:
            message = f"The output is longer than {self._cap.limit} bytes; the rest is not kept."
            self._record(Kind.NOTICE, {"code": "output_limit", "message": message, "from": self._cap.limit})

    def _read(self, fd: int) -> int:
        """Read once from a stream of the program's; return the number of bytes."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return 0
        if data:
            self._recorder.feed(self._streams[fd], data, time.monotonic())
        else:
            self._close_stream(fd)
        return len(data)

    def _close_stream(self, fd: int) -> None:
        self._forget(fd)
        del self._streams[fd]
        os.close(fd)

    def _drain(self) -> None:
        """Record what the program has written up to now; a flood by others does not hold this up for ever."""
        for fd in list(self._streams):
            left = DRAIN_BYTES
            while left > 0 and (size := self._read(fd)):
                left -= size
        self._recorder.flush(time.monotonic())

    # --- questions

    def _rung(self) -> None:
        try:
            os.read(self._born.bell, READ_BYTES)
        except BlockingIOError:
            return
        self._look_at_desk()

    def _look_at_desk(self) -> None:
        self._desk_at = time.monotonic()
        requests = self._desk.collect()
        if requests:
            self._drain()
        for handed in requests:
            self._ask(handed)

    def _ask(self, handed: Handed) -> None:
        if handed.request is None:
            self._desk.refuse(handed, str(handed.refusal))
        elif len(self._questions) >= self._max_questions:
            self._desk.refuse(handed, f"A run may ask at most {self._max_questions} questions.")
        else:
            body = handed.request.body
            self._spool.append(Kind.QUESTION, time.time(), question(len(self._questions) + 1, body))
            self._questions.append(Open(handed.name, handed.lines, body.get("default")))

    def _reply(self, body: dict[str, object]) -> str | None:
        """Hand a reply over; return why not. The first one counts, and its record precedes whatever the program does with it."""
        number, state = body.get("number"), str(body.get("state"))
        if not isinstance(number, int) or not 0 < number <= len(self._questions):
            return "There is no question of that number."
        asked = self._questions[number - 1]
        if asked.settled:
            return "The question has its reply already."
        if not asked.taken:
            asked.taken = True
            self._drain()
            if not self._ended:
                self._record(Kind.TAKEN, {"number": number, "state": state})
        message = body.get("message")
        contents = reply(asked.lines, state, body.get("value"), asked.default, str(message) if message else None)
        try:
            self._desk.answer(asked.name, contents)
        except OSError as error:
            return f"The reply could not be handed over: {error.strerror}."
        asked.settled = True
        return None

    # --- the program's end

    def _signal(self, number: int) -> None:
        """Signal the whole group; the guardian in it minds SIGKILL only."""
        if not self._ended and self._born.guardian:
            os.killpg(self._born.guardian, number)

    def _reap(self) -> None:
        _, status, usage = os.wait4(self._born.pid, 0)
        self._status = (status, usage)
        self._exit_at = time.monotonic() + PIPES_OPEN_S
        self._forget(self._exited)
        os.close(self._exited)

    def _finish(self) -> None:
        """Record the end. Processes that are left of the program end here too, whether they kept its pipes open or not."""
        if self._status is None:
            return
        self._end_group()
        self._look_at_desk()
        self._drain()
        self._recorder.flush(time.monotonic(), everything=True)
        status, usage = self._status
        code = os.waitstatus_to_exitcode(status)
        end: dict[str, object] = {"exit_code": code, "signal": None, "launch_error": None}
        if code < 0:
            end |= {"exit_code": None, "signal": _signal_name(-code)}
        self._end(end, usage)

    def _end_group(self) -> None:
        """Kill what is left of the program's group and take leave of its guardian; its number is nobody's afterwards."""
        guardian, self._born.guardian = self._born.guardian, 0
        if guardian:
            os.killpg(guardian, signal.SIGKILL)
            os.waitpid(guardian, 0)

    def _end(self, end: dict[str, object], usage: object) -> None:
        for fd in list(self._streams):
            self._close_stream(fd)
        self._stdin.close()
        self._end_group()
        self._record(Kind.EXIT, end | self._measures(usage))
        self._ended = True
        self._exit_at = float("inf")
        self._leave_at = time.monotonic() + self._linger_s

    def _measures(self, usage: object) -> dict[str, object]:
        cap = self._cap
        peak = getattr(usage, "ru_maxrss", None)
        cpu = round(getattr(usage, "ru_utime", 0.0) + getattr(usage, "ru_stime", 0.0), 6)
        return {
            "peak_memory_bytes": None if peak is None else max(peak * 1024, self._gauge.highest),
            "cpu_seconds": None if usage is None else cpu,
            "withheld_bytes": cap.withheld,
            "output_bytes": cap.recorded,
        }

    # --- clients

    def _accept(self) -> None:
        if client := self._listener.accept():
            self._clients[client.fd] = client
            self._watch(client.fd, partial(self._hear, client))

    def _hear(self, client: Client) -> None:
        try:
            for kind, body in client.receive():
                self._obey(client, kind, body)
        except ClientGone:
            self._part(client)
        if self._stdin.push():
            self._watch(self._stdin.fd, self._feed, select.POLLOUT | select.POLLERR)

    def _obey(self, client: Client, kind: int, body: dict[str, object]) -> None:
        if kind == Kind.FOLLOW:
            client.follow(body.get("from"))
            self._say(client, Kind.HEARTBEAT, {"position": self._spool.position})
            return
        self._say(client, Kind.ACK, self._commands.obey(kind, body, ended=self._ended))
        if self._commands.finished:
            self._leave_at = min(self._leave_at, time.monotonic() + LEAVE_WITHIN_S)

    def _feed(self) -> None:
        fd = self._stdin.fd
        if not self._stdin.push():
            self._forget(fd)

    def _say(self, client: Client, kind: Kind, body: dict[str, object]) -> None:
        try:
            client.say(kind, time.time(), body)
        except ClientGone:
            self._part(client)

    def _push(self, client: Client) -> None:
        try:
            more = client.push()
        except ClientGone:
            self._part(client)
            return
        if client.fd in self._ready:
            self._poll.modify(client.fd, READABLE | (select.POLLOUT if more else 0))

    def _part(self, client: Client) -> None:
        if self._clients.pop(client.fd, None):
            self._forget(client.fd)
            client.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
