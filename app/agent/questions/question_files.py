"""Where running code hands its questions in and gets its replies: files in one folder, hostile until proven otherwise.

A request is `NAME.ask`, complete from its first moment because it was renamed to that; its reply is `NAME.reply`, made the
same way. Asker and agent share nothing else, so it works from any language and from another container.
"""

from __future__ import annotations

import itertools
import os
import stat
from contextlib import suppress

from app.agent.questions.request import MAX_REQUEST_BYTES, Refused, Request, parse, reply, wants_lines

MAX_LOOKED_AT = 2000
MAX_NAME = 100


class SubmittedRequest:
    """A request as it lay in the folder: its name and what it asks, or why it is refused."""

    def __init__(self, name: str, request: Request | None, refusal: Refused | None, lines: bool) -> None:
        self.name, self.request, self.refusal, self.lines = name, request, refusal, lines


class QuestionFiles:
    """The folder of requests and replies. Whatever lies in it, no method raises for it, except `answer`."""

    def __init__(self, folder: int) -> None:
        """Take the folder by descriptor, so that nothing put in its place later is ever followed."""
        self._folder = folder
        self._stuck: set[str] = set()

    def collect(self) -> list[SubmittedRequest]:
        """Take the new requests away, oldest first."""
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in itertools.islice(entries, MAX_LOOKED_AT):
                    if entry.name.endswith(".ask") and len(entry.name) <= MAX_NAME and entry.name not in self._stuck:
                        found.append(entry.name)
        except OSError:
            return []
        return [handed for name in sorted(found, key=self._age) if (handed := self._claim(name)) is not None]

    def _age(self, name: str) -> tuple[int, str]:
        try:
            return (os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_mtime_ns, name)
        except OSError:
            return (0, name)

    def _claim(self, name: str) -> SubmittedRequest | None:
        try:
            data = self._read(name)
            os.unlink(name, dir_fd=self._folder)
        except (OSError, UnicodeError):
            self._stuck.add(name)
            return None
        stem = name.removesuffix(".ask")
        try:
            request = parse(data)
        except Refused as refusal:
            return SubmittedRequest(stem, None, refusal, wants_lines(data))
        return SubmittedRequest(stem, request, None, request.lines)

    def _read(self, name: str) -> bytes:
        """Read a regular file, and a little more than is allowed at most. A link, pipe or device is an OSError."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=self._folder), "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("not a regular file")
            return file.read(MAX_REQUEST_BYTES + 1) or b""

    def answer(self, name: str, contents: bytes) -> None:
        """Put a reply there, whole at once. Raises: OSError."""
        draft = f".{name}.draft"
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(draft, flags, 0o600, dir_fd=self._folder), "wb") as file:
            file.write(contents)
        os.rename(draft, f"{name}.reply", src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def refuse(self, handed: SubmittedRequest, message: str) -> None:
        """Tell the asker that this was no question; if even that cannot be written, it has no reader anyway."""
        try:
            self.answer(handed.name, reply(handed.lines, "refused", None, None, message))
        except OSError:
            return


class Open:
    """A question that has a number; `taken` once its reply is on record, `settled` once it was handed over."""

    def __init__(self, name: str, lines: bool, default: object) -> None:
        self.name, self.lines, self.default = name, lines, default
        self.taken = self.settled = False
