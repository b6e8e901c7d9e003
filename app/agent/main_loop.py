"""The agent's main loop: it records, serves and carries questions beside the program, until it is told to finish.

Order is the point: what the program wrote before it asked, was answered or ended is recorded before that is. Where the program
runs and how it is signalled is not known here: that is a `Program` (program/program.py), of which there are two.
"""

from __future__ import annotations

import os
import select
import signal
import time
from functools import partial

from app.agent.commands import Commands
from app.agent.followers import READABLE, Followers
from app.agent.program.stdin import Stdin
from app.agent.program.usage import UsageMeter
from app.agent.questions import flat_json
from app.agent.questions.open_questions import OpenQuestions
from app.agent.questions.question_files import QuestionFiles
from app.agent.records.recorder import Cap, Recorder
from app.agent.records.spool import Spool, SpoolFailed
from app.agent.records.wire_format import HEARTBEAT_S, MAX_OUTPUT, Kind
from app.agent.server import Client, Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from app.agent.program.program import Program
    from app.agent.program.usage import Reading

# With the bytes of a character that was not complete, still one record.
READ_BYTES = MAX_OUTPUT - 3
DRAIN_BYTES = 1024 * 1024
LOOK_FOR_REQUESTS_S = 0.5
PIPES_OPEN_S = 2.0
LEAVE_WITHIN_S = 1.0
FIRST_USE_S, USE_EVERY_S = 1.0, 5.0


def follow(program: Program) -> None:
    """Stay with the program to its end and beyond, until the last follower has what it needs."""
    loop = MainLoop(program)
    try:
        loop.begin()
        loop.run()
    except SpoolFailed as failure:
        loop.give_up(failure)
    loop.linger()


class MainLoop:
    """Everything the agent holds of its attempt. Its public methods are for the program; all run in the one thread.

    `ended` says that the end is on record, `finished` that a follower has taken everything.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        number = program.config.number
        self._spool = Spool(program.folder)
        self._cap = Cap(int(number(b"output_limit", 64 * 1024 * 1024)))
        self._recorder = Recorder(self._record_output)
        self._questions = OpenQuestions(QuestionFiles(program.requests), int(number(b"max_questions", 1000)), self)
        self._stdin = Stdin(program.stdin)
        self._streams = {fd: kind for fd, kind in ((program.stdout, Kind.STDOUT), (program.stderr, Kind.STDERR)) if fd >= 0}
        self._followers = Followers(Listener(program.folder, self._spool), self, self._receive)
        self._commands = Commands(self._questions.reply, self._stdin, program.signal, program.commands)
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._exit: dict[str, object] | None = None
        self.ended = False
        now = time.monotonic()
        self._budget_s, self._spent_at = number(b"backstop_s", 1e9), now
        self._linger_s = number(b"linger_s", 3600)
        self._heartbeat_at = now
        self._requests_at = 0.0  # look at once: somebody may have asked already
        self._leave_at = self._exit_at = self._use_at = float("inf")
        self._meter = UsageMeter()

    # --- beginning and end

    def begin(self) -> None:
        """Listen, and let the program begin."""
        self._followers.listen()
        self._program.begin(self)

    def watch_program(self, end: int, ready: Callable[[], object]) -> None:
        """Watch the program's streams, then the descriptor that tells of its end, then the bell of its questions."""
        for fd in self._streams:
            self.watch(fd, partial(self._read, fd))
        self.watch(end, ready)
        self.watch(self._program.bell, self._bell_rang)

    def started(self, pid: int) -> None:
        """Record that the program runs."""
        self.record(Kind.STARTED, {"pid": pid})
        self._spent_at = time.monotonic()
        self._use_at = self._spent_at + FIRST_USE_S

    def run(self) -> None:
        """Serve everything that is ready, again and again, until it is time to leave."""
        while (now := time.monotonic()) < self._leave_at and not self._is_over():
            for fd, _ in self._poll.poll(self._pause_s(now) * 1000):
                if ready := self._ready.get(fd):
                    ready()
            self._tick(time.monotonic())
            self._followers.push()

    def _is_over(self) -> bool:
        return self.finished and self.ended and not self._followers

    def give_up(self, failure: SpoolFailed) -> None:
        """End the program because its output cannot be kept any more, and say so if there is room for that."""
        self._recorder = Recorder(lambda kind, data: None)
        self._spool.release_reserve()
        message = f"The program was ended because its output could not be stored: {failure}."
        try:
            self._program.kill_rest()
            if not self.ended:
                self.record(Kind.NOTICE, {"code": "spool_failed", "message": message})
                self.end({"exit_code": None, "signal": "SIGKILL", "launch_error": message})
        except SpoolFailed:
            self._leave_at = 0.0  # the end is not on record, so the attempt counts as lost: which it is

    def linger(self) -> None:
        """Go on serving what there is after the spool failed; nothing is left to record then."""
        if not self.finished:
            self._streams.clear()
            self.run()

    # --- the loop's inside

    def watch(self, fd: int, ready: Callable[[], object], events: int = READABLE) -> None:
        """Call `ready` whenever there is something on the descriptor."""
        self._ready[fd] = ready
        self._poll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Watch the descriptor for these events instead."""
        self._poll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Watch the descriptor no more."""
        if self._ready.pop(fd, None):
            self._poll.unregister(fd)

    def _pause_s(self, now: float) -> float:
        times = [self._heartbeat_at + HEARTBEAT_S, self._leave_at, self._exit_at, self._recorder.due(), self._program.due()]
        if not self.ended:
            times.append(self._requests_at + LOOK_FOR_REQUESTS_S)
            if self._is_watched():
                times.append(self._use_at)
        return max(0.0, min(at for at in times if at is not None) - now)

    def _tick(self, now: float) -> None:
        self._program.tick(now)
        self._recorder.tick(now)
        if not self.ended:
            if now >= self._requests_at + LOOK_FOR_REQUESTS_S:
                self._read_requests()
            self._count_time(now)
            if self._is_watched() and now >= self._use_at:
                self._use_at = now + USE_EVERY_S
                self._program.measure()
            if self._exit is not None and (not self._streams or now >= self._exit_at):
                self._finish()
        if now >= self._heartbeat_at + HEARTBEAT_S:
            self._heartbeat_at = now
            self._followers.broadcast(Kind.HEARTBEAT, {"position": self._spool.position})

    def _count_time(self, now: float) -> None:
        """Count the time that is the program's own; kill it when nobody else did in time."""
        if not self._program.running:
            return
        spent_s, self._spent_at = now - self._spent_at, now
        if not self._questions.waiting:
            self._budget_s -= spent_s
        if self._budget_s < 0 and self._exit is None:
            message = "The program was killed: its time was long over and nobody had stopped it."
            self.record(Kind.NOTICE, {"code": "time_limit", "message": message})
            self._budget_s = float("inf")
            self._program.signal(signal.SIGKILL)

    # --- what the program uses: for whoever follows, and kept by nobody here

    def _is_watched(self) -> bool:
        return bool(self._followers) and self._exit is None

    def report(self, reading: Reading) -> None:
        """Tell every follower what the program uses."""
        body = self._meter.take(reading, time.monotonic())
        self._followers.broadcast(Kind.USE, body)

    # --- records

    def record(self, kind: Kind, body: dict[str, object]) -> None:
        """Write a record into the spool. Raises: SpoolFailed."""
        self.append(kind, flat_json.dumps(body))

    def append(self, kind: int, payload: bytes) -> None:
        """Write a record that is encoded already. Raises: SpoolFailed."""
        self._spool.append(kind, time.time(), payload)

    def _record_output(self, kind: int, data: bytes) -> None:
        kept, first_withheld = self._cap.admit(data)
        if kept:
            self.append(kind, kept)
        if first_withheld:
            message = f"The output is longer than {self._cap.limit} bytes; the rest is not kept."
            self.record(Kind.NOTICE, {"code": "output_limit", "message": message, "from": self._cap.limit})

    def _read(self, fd: int) -> int:
        """Read once from a stream of the program's; return the number of bytes."""
        self._program.before_output()
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
        self.forget(fd)
        del self._streams[fd]
        os.close(fd)

    def drain(self) -> None:
        """Record what the program has written up to now; a flood by others does not hold this up for ever."""
        for fd in list(self._streams):
            left = DRAIN_BYTES
            while left > 0 and (size := self._read(fd)):
                left -= size
        self._recorder.flush(time.monotonic())

    # --- questions

    def _bell_rang(self) -> None:
        try:
            os.read(self._program.bell, READ_BYTES)
        except BlockingIOError:
            return
        self._read_requests()

    def _read_requests(self) -> None:
        self._requests_at = time.monotonic()
        self._questions.collect()

    # --- the program's end

    def settle(self, end: dict[str, object]) -> None:
        """Take how the program ended. It is recorded when its streams are at their end, or soon if others hold them open."""
        self._exit = end
        self._exit_at = time.monotonic() + PIPES_OPEN_S

    @property
    def settled(self) -> bool:
        """Whether it is known how the program ended."""
        return self._exit is not None or self.ended

    @property
    def finished(self) -> bool:
        """Whether a follower has taken everything there is."""
        return self._commands.finished

    def leave(self) -> None:
        """Leave at once."""
        self._leave_at = 0.0

    def _finish(self) -> None:
        """Record the end. Processes that are left of the program end here too, whether they kept its pipes open or not."""
        if self._exit is None:
            return
        self._program.kill_rest()
        self._read_requests()
        self.drain()
        self._recorder.flush(time.monotonic(), everything=True)
        self.end(self._exit)

    def end(self, end: dict[str, object]) -> None:
        """Record the end, and go on serving what there is for `linger_s`."""
        for fd in list(self._streams):
            self._close_stream(fd)
        self._stdin.close()
        self._program.kill_rest()
        self.record(Kind.EXIT, end | self._measures())
        self.ended = True
        self._exit_at = float("inf")
        self._leave_at = time.monotonic() + self._linger_s

    def _measures(self) -> dict[str, object]:
        cap, usage = self._cap, self._program.usage()
        peak = getattr(usage, "ru_maxrss", None)
        cpu = round(getattr(usage, "ru_utime", 0.0) + getattr(usage, "ru_stime", 0.0), 6)
        return {
            "peak_memory_bytes": None if peak is None else max(peak * 1024, self._meter.highest),
            "cpu_seconds": None if usage is None else cpu,
            "withheld_bytes": cap.withheld,
            "output_bytes": cap.recorded,
            **self._program.measures(),
        }

    # --- clients

    def _receive(self, client: Client) -> None:
        try:
            for kind, body in client.receive():
                self._execute(client, kind, body)
        finally:
            if self._stdin.push():
                self.watch(self._stdin.fd, self._feed, select.POLLOUT | select.POLLERR)

    def _execute(self, client: Client, kind: int, body: dict[str, object]) -> None:
        if kind == Kind.FOLLOW:
            client.follow(body.get("from"))
            self._followers.send(client, Kind.HEARTBEAT, {"position": self._spool.position})
            if (fields := self._program.heartbeat_fields()) is not None:
                self._followers.send(client, Kind.HEARTBEAT, {"position": self._spool.position, **fields})
            return
        self._followers.send(client, Kind.ACK, self._commands.obey(kind, body, ended=self.ended))
        if self.finished:
            self._leave_at = min(self._leave_at, time.monotonic() + LEAVE_WITHIN_S)

    def _feed(self) -> None:
        fd = self._stdin.fd
        if not self._stdin.push():
            self.forget(fd)
