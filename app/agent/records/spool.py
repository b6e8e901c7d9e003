"""The spool: the file that holds every record of an attempt, and nothing but whole records as far as anyone can see."""

from __future__ import annotations

import os
from contextlib import suppress

from app.agent.records.wire_format import HEADER, MAX_PAYLOAD, encode

CHUNK_BYTES = 256 * 1024
RESERVE_BYTES = 64 * 1024


class SpoolFailed(Exception):
    """A record could not be written: the disk is full, most likely."""


class Spool:
    """Appends records and hands ranges of them out. `position` is the end of the last whole record."""

    def __init__(self, folder: int) -> None:
        """Create the file in the folder; it must not be there."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open("spool", flags, 0o600, dir_fd=folder)
        self._folder = folder
        self.position = 0
        self._reserve()

    def _reserve(self) -> None:
        """Set space aside, so that there is a place to say that the disk is full when it is."""
        reserve = os.open("reserve", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
        with suppress(OSError):  # a file system without it, or no space already: then the first record will tell
            os.posix_fallocate(reserve, 0, RESERVE_BYTES)
        os.close(reserve)

    def release_reserve(self) -> None:
        """Give the space that was set aside back, for the last words."""
        with suppress(OSError):
            os.unlink("reserve", dir_fd=self._folder)

    def append(self, kind: int, time: float, payload: bytes) -> None:
        """Write one record. Raises: SpoolFailed; the record is not there then, not even in part."""
        frame = encode(kind, time, payload)
        written = 0
        try:
            while written < len(frame):
                written += os.pwrite(self._file, frame[written:] if written else frame, self.position + written)
        except OSError as error:
            if written:
                os.ftruncate(self._file, self.position)
            raise SpoolFailed(error.strerror) from error
        self.position += len(frame)

    def read(self, position: int) -> bytes:
        """Return the records from a position: whole ones, about a chunk of them; empty at the end.

        Raises: ValueError when no record begins there.
        """
        if position > self.position:
            raise ValueError(f"The spool ends at {self.position}.")
        data = os.pread(self._file, min(CHUNK_BYTES, self.position - position), position)
        end = whole(data)
        if data and not end:
            raise ValueError(f"No record begins at {position}.")
        return data[:end] if end < len(data) else data


def whole(data: bytes) -> int:
    """Return how many of the bytes are whole records. Raises: ValueError where none can begin."""
    end = 0
    while end + HEADER.size <= len(data):
        length = HEADER.unpack_from(data, end)[0]
        if length > MAX_PAYLOAD:
            raise ValueError(f"No record begins at byte {end}.")
        if end + HEADER.size + length > len(data):
            break
        end += HEADER.size + length
    return end
