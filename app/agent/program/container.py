"""The program in a container of its own: started, measured and signalled by words to its first process (run.sh).

That process says how the program ended. What it cannot say, because it was killed itself, a supervisor reads from the container's
status and sends as EXITED. Whichever comes first is recorded, once, for every follower that there will ever be.
"""

from __future__ import annotations

import os
import signal
import time

from app.agent.commands import signal_name
from app.agent.main_loop import READ_BYTES
from app.agent.program.start import open_requests
from app.agent.program.usage import Reading
from app.agent.records.wire_format import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from app.agent.commands import Obey
    from app.agent.pod_layout import PodLayout
    from app.agent.program.program import Loop
    from app.agent.program.start import Config

ARTEFACTS = "/artefacts"
HOLD_S = 5.0
MAX_NOTE_BYTES = 64 * 1024


class ContainerUsage:
    """What the program's container has used, in the form of the kernel's resource usage. `ooms` counts processes killed.

    A kernel that does not keep the peak tells 0, which no container has: then it is not known.
    """

    def __init__(self, peak: int = 0, now: int = 0, cpu_ns: int = 0, ooms: int = 0) -> None:
        self.ru_maxrss, self.ooms = peak // 1024 if peak else None, ooms
        self.ru_utime, self.ru_stime = cpu_ns / 1e9, 0.0
        self.reading = Reading(now, peak, cpu_ns / 1e9)


class ContainerProgram:
    """The program of a pod's attempt."""

    def __init__(self, layout: PodLayout, folder: int, config: Config) -> None:
        """Say nothing to the program's container yet. `folder` is the agent's own, with the spool."""
        self.config, self.folder = config, folder
        self.requests, self.bell = open_requests(folder)
        self.stdin = layout.stdin if config.value.get(b"stdin") else -1
        self.stdout, self.stderr = layout.stdout, layout.stderr
        self.commands: dict[int, Obey] = {
            Kind.FILE: self._put_file,
            Kind.START: self._start,
            Kind.EXITED: self._on_exit_command,
            Kind.NOTE: self._note,
            Kind.LEAVING: self._on_reason_command,
        }
        self._layout = layout
        self._notes = b""
        self._last_line = ""
        # Whether a supervisor let the program go, its container waits for the word, it has the word, it has started.
        self._let_go = self._here = self._sent_off = self.running = False
        self._leaving = False
        self._use: ContainerUsage | None = None
        self._fault = ""
        self._own_end: dict[str, object] | None = None
        self._why: dict[str, object] = {}
        self._hold_until = float("inf")

    # --- beginning

    def begin(self, loop: Loop) -> None:
        """Let the program's container begin."""
        self._loop = loop
        loop.watch_program(self._layout.note, self._read_notes)
        signal.signal(signal.SIGTERM, self._pod_is_leaving)
        self._layout.ready()

    def _pod_is_leaving(self, number: int, frame: object) -> None:
        """The pod is being taken away: why is known to a supervisor, so give it some time to say so."""
        self._leaving = True
        if self._loop.finished or not self._sent_off:
            self._loop.leave()
        elif not self._loop.ended:
            self._layout.send_word("TERM")
        os.write(self.bell, b".")

    def _put_file(self, body: dict[str, object]) -> str | None:
        return self._layout.put_file(str(body.get("name")), str(body.get("text")))

    def _start(self, body: dict[str, object]) -> str | None:
        """Start the program, once; never one that was stopped before, nor one of another pod of this name."""
        uid = self.config.value.get(b"uid", b"").decode()
        if uid and body.get("uid", uid) != uid:
            return "This is another pod."
        if not self._loop.settled and not self._leaving:
            self._let_go = True
            self._send_off()
        return None

    def _send_off(self) -> None:
        """Give the program's container the word to start, once it is there to hear it: until then, the program can be stopped."""
        if self._let_go and self._here and not self._sent_off and not self._loop.settled and not self._leaving:
            self._sent_off = True
            self._layout.send_word("start")

    def heartbeat_fields(self) -> dict[str, object]:
        """Return whether the program waits for START, and whether it has started."""
        return {"waits": not self._let_go and not self._loop.settled, "started": self.running or self._loop.ended}

    # --- what the program's first process says

    def before_output(self) -> None:
        """Read what it says: that the program started comes before what the program wrote."""
        if not self.running:
            self._read_notes()

    def _read_notes(self) -> None:
        try:
            self._notes += os.read(self._layout.note, READ_BYTES)
        except BlockingIOError:
            return
        *lines, self._notes = self._notes[-MAX_NOTE_BYTES:].split(b"\n")
        for line in lines:
            self._on_note(line.decode(errors="replace"))

    def _on_note(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "here" and not self._here:
            self._here = True
            self._send_off()
        if word == "started" and not self.running and not self._loop.ended:
            self.running = True
            self._layout.let_streams_end()
            self._loop.started(1)
        elif word == "use":
            self._on_usage(_usage(rest))
        elif word in ("missing", "denied"):
            self._fault = word
            self._settle({"exit_code": 127 if word == "missing" else 126, "signal": None, "launch_error": self._sentence()})
        elif word == "end" and rest.isdigit():
            self._on_end(int(rest))
        elif line and self.running:
            self._last_line = line

    def measure(self) -> None:
        """Ask the program's first process, which answers with a note."""
        self._layout.send_word("use")

    def _on_usage(self, use: ContainerUsage | None) -> None:
        if use is not None and not self._loop.ended:
            self._use = use
            self._loop.report(use.reading)

    def _sentence(self) -> str:
        command = self.config.value.get(b"command", b"").decode(errors="replace")
        fault = "was not found" if self._fault == "missing" else "is not executable"
        return f"The command {command!r} {fault}."

    def _on_end(self, status: int) -> None:
        # The shell prints something only when a command was killed; a code above 128 alone can be the program's own.
        killed = status > 128 and self._last_line
        end: dict[str, object] = {"exit_code": status, "signal": None, "launch_error": None}
        if killed:
            end |= {"exit_code": None, "signal": signal_name(status - 128)}
        if self._use and self._use.ooms and status != 0:
            end["reason"] = "OOMKilled"
        if self._leaving:
            self._own_end = {"reason": "PodDeleted", **self._why, **end}
            self._hold_until = time.monotonic() + (0.0 if self._why else HOLD_S)
        else:
            self._settle(end)

    # --- the end

    def _on_exit_command(self, body: dict[str, object]) -> str | None:
        """Take a supervisor's word for how the container ended, unless its first process gave its own before."""
        keys = ("exit_code", "signal", "reason", "message", "began", "hopeless")
        end = {key: body.get(key) for key in keys if body.get(key) is not None}
        own = self._own_end or {}
        if not own and not self._loop.settled:
            self._use = None  # the answer to a question asked before the end, which says nothing about the end
        self._settle({"exit_code": None, "signal": None, "launch_error": None, **own, **end})
        return None

    def _on_reason_command(self, body: dict[str, object]) -> str | None:
        """Take a supervisor's word for why the pod is being taken away; the end goes on for as long as its grace."""
        self._why = {key: body[key] for key in ("reason", "message") if body.get(key)}
        if self._own_end is not None:
            self._own_end |= self._why if self._own_end["reason"] == "PodDeleted" else {}
            self._hold_until = 0.0
        return None

    def _settle(self, end: dict[str, object]) -> None:
        if not self._loop.settled:
            self._layout.let_streams_end()
            self._hold_until = float("inf")
            self._loop.settle(end)

    def due(self) -> float:
        """Return until when the supervisor is given time to say why the pod leaves."""
        return self._hold_until

    def tick(self, now: float) -> None:
        """End without the supervisor's reason once its time is over."""
        if now >= self._hold_until and self._own_end:
            self._settle(self._own_end)

    def usage(self) -> object:
        """Return what was heard last of the container's use."""
        return self._use

    def measures(self) -> dict[str, object]:
        """Say whether there are artefacts."""
        return left_artefacts(ARTEFACTS)

    def signal(self, number: int) -> None:
        """Signal the program and all its children; one that has not started never will."""
        if self._sent_off:
            self._layout.send_word(signal.Signals(number).name.removeprefix("SIG"))
        else:
            self._layout.send_word("stop")
            self._settle({"exit_code": None, "signal": signal.Signals(number).name, "launch_error": None})

    def kill_rest(self) -> None:
        """Kill the program unless it is known that it ended."""
        if self._sent_off and not self._loop.settled:
            self._layout.send_word("KILL")

    # --- what a supervisor knows and the pod does not

    def _note(self, body: dict[str, object]) -> str | None:
        """Record news from outside, in its place among the output."""
        if not self._loop.ended:
            self._loop.drain()
            self._loop.record(Kind.NOTICE, {key: value for key, value in body.items() if key != "id"})
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


def _usage(text: str) -> ContainerUsage | None:
    try:
        peak, now, cpu_ns, ooms = (int(word) for word in text.split())
    except ValueError:
        return None
    return ContainerUsage(peak, now, cpu_ns, ooms)
