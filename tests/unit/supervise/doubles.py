"""Doubles of what a supervisor works with: an archive in memory that obeys the rules of the real one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from app.domain.errors import Fenced
from app.domain.ports import ArchiveState
from app.domain.runs.events import Entry
from app.domain.runs.run import Priority, Progress, Run, Status
from app.domain.runs.spec import RunSpec
from app.store.log.chunks import Chunk

RUN_ID = "r" + "a" * 19


def make_run(**changes: object) -> Run:
    spec = RunSpec(command=("true",), timeout_s=100, grace_s=10)
    run = Run(RUN_ID, 1, "u1", "ann", spec, Priority.NORMAL, Status.STARTING, created_at=0.0, token=1)
    return replace(run, **changes)  # type: ignore[arg-type]


class MemoryArchive:
    """The archive of one run: fenced by its token, contiguous, with epochs."""

    def __init__(self) -> None:
        self.run = make_run(token=0)
        self.bases: list[tuple[int, int]] = []
        self.entries: list[Entry] = []

    def claim(self) -> Run:
        self.run = replace(self.run, token=self.run.token + 1)
        return self.run

    def archive(self, run_id: str, token: int, chunk: Chunk, progress: Progress) -> None:
        if token != self.run.token or chunk.first_seq != self.run.archived.seq + 1:
            raise Fenced()
        self.entries += [Entry(chunk.first_seq + i, p) for i, p in enumerate(payloads_of(chunk))]
        self.run = replace(self.run, archived=progress)

    def open_epoch(self, run_id: str, token: int) -> int:
        if token != self.run.token:
            raise Fenced()
        epoch = self.run.archived.epoch + 1
        self.bases.append((epoch, self.run.archived.seq))
        self.run = replace(self.run, archived=replace(self.run.archived, epoch=epoch))
        return epoch

    def archive_state(self) -> ArchiveState:
        return ArchiveState(self.run.archived.epoch, self.run.archived.seq, tuple(self.bases), False)


def payloads_of(chunk: Chunk) -> Sequence[bytes]:
    return zlib.decompress(chunk.data).split(b"\n")
