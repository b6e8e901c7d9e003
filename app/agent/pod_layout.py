"""What the agent of a pod lays out before the program's container begins: one folder that both containers see.

The program's container mounts it read-only (a FIFO can be written to all the same), with the folder `ask` writable inside.
Nothing here is read back: what the program answers comes through the FIFO `note` and is judged in pod.py.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress

F_SETPIPE_SZ, PIPE_BYTES = 1031, 1024 * 1024
FIFOS = ("stdout", "stderr", "stdin", "go", "note", "bell")
# What the pod's postStart hook runs: it waits for the mark `ready`, woken by a word in the FIFO `hook`, whoever of the two made
# that. It sleeps in the kernel: of fifty hooks that look again and again, a node has nothing left to start pods with. An agent of
# another version that says no word costs a second.
HOOK = "mkfifo /podwire/hook; exec 3<>/podwire/hook; until [ -e /podwire/ready ]; do read -r -t 1 -u 3 word; done; exit 0"
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


class PodLayout:
    """The folder shared with the program, and the agent's ends of its FIFOs."""

    def __init__(self, shared: str, spool: str, busybox: str = "/bin/busybox") -> None:
        """Make everything, and say nothing yet that lets the program's container begin. `spool` is the agent's own folder."""
        self._shared = shared
        parts = os.path.dirname(os.path.abspath(__file__))
        for name in ("files", "bin", "lib", "ask"):
            os.makedirs(os.path.join(shared, name), exist_ok=True)
        _copy(busybox, os.path.join(shared, "busybox"), 0o755)
        _copy(os.path.join(parts, "run.sh"), os.path.join(shared, "run.sh"), 0o644)
        _copy(os.path.join(parts, "podwire.py"), os.path.join(shared, "lib", "podwire.py"), 0o644)
        with open(os.path.join(parts, "ask.sh"), encoding="utf-8") as source:
            self._write("bin/ask", source.read().replace("#!/bin/sh", f"#!{shared}/busybox sh", 1), 0o755)
        for name in FIFOS:
            os.mkfifo(os.path.join(shared, name), 0o666)
        with suppress(FileExistsError):
            os.mkfifo(os.path.join(shared, "hook"), 0o666)
        os.symlink(shared, os.path.join(spool, "podwire"))
        self.note, self.go, self.stdin = self._both("note"), self._both("go"), self._both("stdin")
        self.stdout, self.stderr = self._end("stdout", os.O_RDONLY), self._end("stderr", os.O_RDONLY)
        # Until the program holds them open itself, these keep the streams from ending.
        self._keepers = [self._end("stdout", os.O_WRONLY), self._end("stderr", os.O_WRONLY)]
        for fd in (self.stdout, self.stderr):
            with suppress(OSError):  # more than the user's pipes may hold
                fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)

    def _end(self, name: str, mode: int) -> int:
        return os.open(os.path.join(self._shared, name), mode | os.O_NONBLOCK | os.O_CLOEXEC)

    def _both(self, name: str) -> int:
        return self._end(name, os.O_RDWR)

    def _write(self, name: str, text: str, mode: int) -> None:
        path = os.path.join(self._shared, name)
        draft = os.open(path + ".draft", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(draft, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.rename(path + ".draft", path)

    def ready(self) -> None:
        """Let the program's container begin: the hook that holds its start back looks for this mark."""
        self._write("ready", "", 0o644)
        # Kept open for as long as the agent lives, so that the word stays until it is read.
        self._hook = self._both("hook")
        os.write(self._hook, b"ready\n")

    def put_file(self, name: str, text: str) -> str | None:
        """Lay a file out for the program; return why not."""
        if not FILE_NAME.match(name):
            return f"The file name {name[:100]!r} is not a plain one."
        try:
            self._write(f"files/{name}", text, 0o755)
        except (OSError, UnicodeError) as error:
            return f"The file {name!r} could not be written: {error}."
        return None

    def send_word(self, word: str) -> None:
        """Send a word to the program's first process. It reads at once, or it never will."""
        try:
            os.write(self.go, f"{word}\n".encode())
        except BlockingIOError:
            return

    def let_streams_end(self) -> None:
        """From now on the streams end when the program's last writer has closed them."""
        while self._keepers:
            os.close(self._keepers.pop())


def _copy(source: str, target: str, mode: int) -> None:
    """Copy a small file. `shutil` would take longer to import than this takes."""
    with open(source, "rb") as file:
        data = file.read()
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as copy:
        copy.write(data)
