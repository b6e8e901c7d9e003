"""Reads the folder that a program left: every regular file below it, never what a link points to. Trusts nothing in it.

Run in a pod (`python -I -S <this file> FOLDER MAX_FILES MAX_BYTES`) it writes frames to stdout. A program that still runs may
change the folder meanwhile: every step opens one name below a folder that is open already, and follows no link.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from app.agent.records import wire_format
from app.agent.records.wire_format import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    # A file begins with its path and when it was changed; bytes are of the file before; a dict is the end: what was left out.
    Step = tuple[str, float] | bytes | dict[str, int]

CHUNK_BYTES = 256 * 1024
MAX_PATH_BYTES = 1024
MAX_DEPTH = 64
# Looking goes on beyond the limits so that people are told what is missing, but not for ever.
MAX_LOOKS = 100_000
HANG_UP_WITHIN_S = 30.0
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Gathering:
    """One walk through a folder, within its limits."""

    def __init__(self, max_files: int, max_bytes: int) -> None:
        """Nothing is read yet."""
        self._files, self._bytes, self._looks = max_files, max_bytes, MAX_LOOKS
        self.left: dict[str, int] = {}

    def walk(self, folder: int, prefix: str = "", depth: int = 0) -> Iterator[Step]:
        """Yield the files below an open folder; those of each folder in the order of their names, before its folders."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(self._look(found), key=lambda entry: (entry.is_dir(follow_symlinks=False), entry.name))
        except OSError:
            self._leave("unreadable")
            return
        for entry in entries:
            path = prefix + entry.name
            if entry.is_symlink():
                self._leave("links")
            elif len(os.fsencode(path)) > MAX_PATH_BYTES or depth >= MAX_DEPTH:
                self._leave("names")
            elif entry.is_dir(follow_symlinks=False):
                yield from self._enter(folder, entry.name, path, depth)
            elif not entry.is_file(follow_symlinks=False):
                self._leave("special")
            else:
                yield from self._file(folder, entry.name, path)

    def _look(self, found: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in found:
            if self._looks <= 0:
                self.left["more"] = 1
                return
            self._looks -= 1
            yield entry

    def _enter(self, folder: int, name: str, path: str, depth: int) -> Iterator[Step]:
        try:
            below = os.open(name, FOLDER_FLAGS, dir_fd=folder)
        except OSError:
            self._leave("unreadable")
            return
        try:
            yield from self.walk(below, path + "/", depth + 1)
        finally:
            os.close(below)

    def _file(self, folder: int, name: str, path: str) -> Iterator[Step]:
        if self._files <= 0:
            self._leave("files")
            return
        try:
            file = os.open(name, FILE_FLAGS, dir_fd=folder)
        except OSError:
            self._leave("unreadable")
            return
        try:
            # What was a file a moment ago may be something else by now.
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                self._leave("special")
                return
            if status.st_size > self._bytes:
                self._leave("bytes")
                return
            self._files -= 1
            yield path, status.st_mtime
            yield from self._contents(file, status.st_size)
        finally:
            os.close(file)

    def _contents(self, file: int, size: int) -> Iterator[bytes]:
        """Yield what was there when the file was opened: one that grows meanwhile does not grow here."""
        while size > 0:
            try:
                data = os.read(file, min(CHUNK_BYTES, size))
            except OSError:
                self._leave("unreadable")
                return
            if not data:
                return
            size -= len(data)
            self._bytes -= len(data)
            yield data

    def _leave(self, why: str) -> None:
        self.left[why] = self.left.get(why, 0) + 1


def gather(folder: int, max_files: int, max_bytes: int) -> Iterator[Step]:
    """Yield what there is to keep below an open folder, then what was left out."""
    gathering = Gathering(max_files, max_bytes)
    yield from gathering.walk(folder)
    yield gathering.left


def frame(step: Step) -> bytes:
    """Return a step as a frame. Paths travel as text (PEP 383)."""
    import json

    if isinstance(step, bytes):
        return wire_format.encode(Kind.CONTENT, 0.0, step)
    if isinstance(step, dict):
        return wire_format.encode(Kind.GATHERED, time.time(), json.dumps(step).encode())
    return wire_format.encode(Kind.ARTEFACT, step[1], json.dumps(step[0]).encode())


def main(path: str, max_files: int, max_bytes: int) -> None:
    """Write all frames to stdout; then stay until the other side hangs up, which it does when it has everything."""
    folder = os.open(path, FOLDER_FLAGS)
    for step in gather(folder, max_files, max_bytes):
        _write(frame(step))
    select.select([0], [], [], HANG_UP_WITHIN_S)


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
