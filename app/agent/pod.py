"""The agent of a pod: the same life as beside a local program, but the program has a container of its own.

`python -I -S <this file> key=value…`. The program's first process (run.sh) waits for the word to start, which a supervisor gives
over the link; it tells how the program ended. What it cannot tell, because it was killed itself, a supervisor reads from the
container's status and says as EXITED. Whichever comes first is recorded, once, for every follower that there will ever be.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from app.agent.commands import Commands
from app.agent.main_loop import FIRST_USE_S, READ_BYTES, Life
from app.agent.pod_layout import Place
from app.agent.program.start import Born, Config
from app.agent.program.stdin import Stdin
from app.agent.program.usage import Reading
from app.agent.records.spool import SpoolFailed
from app.agent.records.wire_format import Kind
from app.agent.server import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Obey = Callable[[dict[str, object]], str | None]

SHARED, SPOOL, ARTEFACTS = "/podwire", "/spool", "/artefacts"
HOLD_S = 5.0
MAX_NOTE_BYTES = 64 * 1024


class Use:
    """What the program's container has used, in the form of the kernel's resource usage. `ooms` counts processes killed.

    A kernel that does not keep the peak tells 0, which no container has: then it is not known.
    """

    def __init__(self, peak: int = 0, now: int = 0, cpu_ns: int = 0, ooms: int = 0) -> None:
        self.ru_maxrss, self.ooms = peak // 1024 if peak else None, ooms
        self.ru_utime, self.ru_stime = cpu_ns / 1e9, 0.0
        self.reading = Reading(now, peak, cpu_ns / 1e9)


class PodCommands(Commands):
    """The commands that only the agent of a pod knows, besides the common ones."""

    def __init__(self, common: tuple[Obey, Stdin, Callable[[int], None]], more: dict[int, Obey]) -> None:
        super().__init__(*common)
        self._more = more

    def _carry_out(self, kind: int, body: dict[str, object], ended: bool) -> str | None:
        obey = self._more.get(kind)
        return obey(body) if obey else super()._carry_out(kind, body, ended)


class PodLife(Life):
    """Everything the agent of a pod holds of its attempt."""

    def __init__(self, place: Place, folder: int, config: Config) -> None:
        born = Born(folder, config, -1, -1)
        born.stdin = place.stdin if config.value.get(b"stdin") else -1
        born.stdout, born.stderr = place.stdout, place.stderr
        super().__init__(born)
        self._place = place
        more: dict[int, Obey] = {Kind.FILE: self._file, Kind.START: self._start}
        more |= {Kind.EXITED: self._exited_as, Kind.NOTE: self._note, Kind.LEAVING: self._leaves_because}
        self._commands = PodCommands((self._reply, self._stdin, self._signal), more)
        self._notes = b""
        self._last_words = ""
        # Whether a supervisor let the program go, its container waits for the word, it has the word, it has started.
        self._let_go = self._here = self._sent_off = self._running = False
        self._leaving = False
        self._use: Use | None = None
        self._fault = ""
        self._own_word: dict[str, object] | None = None
        self._why: dict[str, object] = {}
        self._hold_until = float("inf")
        self._exit: dict[str, object] = {}

    # --- beginning

    def begin(self) -> None:
        """Listen, then let the program's container begin."""
        self._watch(self._listener.fd, self._accept)
        for fd in self._streams:
            self._watch(fd, partial(self._read, fd))
        self._watch(self._place.note, self._hear_notes)
        self._watch(self._born.bell, self._rung)
        signal.signal(signal.SIGTERM, self._told_to_leave)
        self._place.ready()

    def _told_to_leave(self, number: int, frame: object) -> None:
        """The pod is being taken away: why is known to a supervisor, so give it some time to say so."""
        self._leaving = True
        if self._commands.finished or not self._sent_off:
            self._leave_at = 0.0
        elif not self._ended:
            self._place.say("TERM")
        os.write(self._born.bell, b".")

    def _file(self, body: dict[str, object]) -> str | None:
        return self._place.put_file(str(body.get("name")), str(body.get("text")))

    def _start(self, body: dict[str, object]) -> str | None:
        """Start the program, once; never one that was stopped before, nor one of another pod of this name."""
        uid = self._born.config.value.get(b"uid", b"").decode()
        if uid and body.get("uid", uid) != uid:
            return "This is another pod."
        if self._status is None and not self._ended and not self._leaving:
            self._let_go = True
            self._send_off()
        return None

    def _send_off(self) -> None:
        """Give the program's container the word to start, once it is there to hear it: until then, the program can be stopped."""
        if self._let_go and self._here and not self._sent_off and self._status is None and not self._leaving:
            self._sent_off = True
            self._place.say("start")

    def _obey(self, client: Client, kind: int, body: dict[str, object]) -> None:
        super()._obey(client, kind, body)
        if kind == Kind.FOLLOW:
            waits = not self._let_go and self._status is None and not self._ended
            body = {"position": self._spool.position, "waits": waits, "started": self._running or self._ended}
            self._say(client, Kind.HEARTBEAT, body)

    # --- what the program's first process says

    def _read(self, fd: int) -> int:
        if not self._running:
            self._hear_notes()  # that it started comes before what it wrote
        return super()._read(fd)

    def _hear_notes(self) -> None:
        try:
            self._notes += os.read(self._place.note, READ_BYTES)
        except BlockingIOError:
            return
        *lines, self._notes = self._notes[-MAX_NOTE_BYTES:].split(b"\n")
        for line in lines:
            self._heed(line.decode(errors="replace"))

    def _heed(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "here" and not self._here:
            self._here = True
            self._send_off()
        if word == "started" and not self._running and not self._ended:
            self._running, self._spent_at = True, time.monotonic()
            self._use_at = self._spent_at + FIRST_USE_S
            self._place.let_streams_end()
            self._record(Kind.STARTED, {"pid": 1})
        elif word == "use":
            self._used(_use(rest))
        elif word in ("missing", "denied"):
            self._fault = word
            self._settle({"exit_code": 127 if word == "missing" else 126, "signal": None, "launch_error": self._sentence()})
        elif word == "end" and rest.isdigit():
            self._program_ended(int(rest))
        elif line and self._running:
            self._last_words = line

    def _measure(self) -> None:
        self._place.say("use")  # the program's first process answers with a note

    def _used(self, use: Use | None) -> None:
        if use is not None and not self._ended:
            self._use = use
            self._report(use.reading)

    def _sentence(self) -> str:
        command = self._born.config.value.get(b"command", b"").decode(errors="replace")
        fault = "was not found" if self._fault == "missing" else "is not executable"
        return f"The command {command!r} {fault}."

    def _program_ended(self, status: int) -> None:
        # The shell prints something only when a command was killed; a code above 128 alone can be the program's own.
        killed = status > 128 and self._last_words
        end: dict[str, object] = {"exit_code": None if killed else status, "signal": _name(status - 128) if killed else None}
        end["launch_error"] = None
        if self._use and self._use.ooms and status != 0:
            end["reason"] = "OOMKilled"
        if self._leaving:
            self._own_word = {"reason": "PodDeleted", **self._why, **end}
            self._hold_until = time.monotonic() + (0.0 if self._why else HOLD_S)
        else:
            self._settle(end)

    # --- the end

    def _exited_as(self, body: dict[str, object]) -> str | None:
        """Take a supervisor's word for how the container ended, unless its first process gave its own before."""
        keys = ("exit_code", "signal", "reason", "message", "began", "hopeless")
        end = {key: body.get(key) for key in keys if body.get(key) is not None}
        own = self._own_word or {}
        if not own and self._status is None:
            self._use = None  # the answer to a question asked before the end, which says nothing about the end
        self._settle({"exit_code": None, "signal": None, "launch_error": None, **own, **end})
        return None

    def _leaves_because(self, body: dict[str, object]) -> str | None:
        """Take a supervisor's word for why the pod is being taken away; the end goes on for as long as its grace."""
        self._why = {key: body[key] for key in ("reason", "message") if body.get(key)}
        if self._own_word is not None:
            self._own_word |= self._why if self._own_word["reason"] == "PodDeleted" else {}
            self._hold_until = 0.0
        return None

    def _settle(self, end: dict[str, object]) -> None:
        if self._status is not None or self._ended:
            return
        self._place.let_streams_end()
        self._exit, self._status = end, (0, self._use)
        self._exit_at = time.monotonic() + 2.0
        self._hold_until = float("inf")

    def _tick(self, now: float) -> None:
        if now >= self._hold_until and self._own_word:
            self._settle(self._own_word)
        super()._tick(now)

    def _pause_s(self, now: float) -> float:
        return max(0.0, min(super()._pause_s(now), self._hold_until - now))

    def _spend(self, now: float) -> None:
        if self._running:
            super()._spend(now)

    def _finish(self) -> None:
        if self._status is not None:
            self._look_at_desk()
            self._drain()
            self._recorder.flush(time.monotonic(), everything=True)
            self._end(self._exit, self._use)

    def _measures(self, usage: object) -> dict[str, object]:
        return super()._measures(usage) | left_artefacts(ARTEFACTS)

    def _signal(self, number: int) -> None:
        """Signal the program and all its children; one that has not started never will."""
        if self._sent_off:
            self._place.say(signal.Signals(number).name.removeprefix("SIG"))
        else:
            self._place.say("stop")
            self._settle({"exit_code": None, "signal": signal.Signals(number).name, "launch_error": None})

    def _end_group(self) -> None:
        if self._sent_off and self._status is None:
            self._place.say("KILL")

    # --- what a supervisor knows and the pod does not

    def _note(self, body: dict[str, object]) -> str | None:
        """Record news from outside, in its place among the output."""
        if not self._ended:
            self._drain()
            self._record(Kind.NOTICE, {key: value for key, value in body.items() if key != "id"})
        return None


def left_artefacts(path: str) -> dict[str, object]:
    """Say whether there is anything in the folder; nothing where there is no such folder."""
    try:
        with os.scandir(path) as found:
            return {"artefacts": any(True for _ in found)}
    except FileNotFoundError:
        return {}
    except OSError:
        return {"artefacts": True}


def _use(text: str) -> Use | None:
    try:
        peak, now, cpu_ns, ooms = (int(word) for word in text.split())
    except ValueError:
        return None
    return Use(peak, now, cpu_ns, ooms)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def main(words: list[str], shared: str = SHARED, spool: str = SPOOL) -> None:
    """Be the agent of this pod until the last follower has what it needs."""
    config = Config("\0".join(words).encode(errors="surrogateescape"))
    busybox = config.value.get(b"busybox", b"/bin/busybox").decode()
    folder = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    life = PodLife(Place(shared, spool, busybox), folder, config)
    try:
        life.begin()
        life.loop()
    except SpoolFailed as failure:
        life.give_up(failure)
    life.linger()


if __name__ == "__main__":
    main(sys.argv[1:])
