"""The storage of artefacts: a folder that workers and web processes share. Only files of ours are in it, under names of ours.

`ROOT/LABEL/RUN/ATTEMPT-TOKEN/NUMBER-HINT`. A supervisor writes into a folder that has its token, so one that was overtaken is in
nobody's way; SQL says which folder counts. The file `.podwire-storage` tells one storage from another.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.domain.errors import ArtefactMissing, WorkspacesUnavailable
from app.domain.ids import is_run_id
from app.domain.runs.artefacts import Artefact, Holding, file_name

MARK = ".podwire-storage"
FULL = (errno.ENOSPC, errno.EDQUOT)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Place = tuple[str, str]


class Workspaces:
    """The storage below one root, which somebody else provides: it is never created here. Thread-safe, from any process.

    Every method raises WorkspacesUnavailable where the root is missing or the storage fails.
    """

    def __init__(self, root: Path) -> None:
        """Touch nothing yet."""
        self._root = root

    def storage_id(self) -> str:
        """Return the identity of the storage that is mounted here; the first one to ask gives it one."""
        with self._translated():
            if not (self._root / MARK).exists():
                self._found()
            return (self._root / MARK).read_text().strip()

    def _found(self) -> None:
        """Write the mark whole: of several processes that do so at once, one wins."""
        draft = self._root / f"{MARK}.{uuid.uuid4().hex}"
        draft.write_text(uuid.uuid4().hex + "\n")
        try:
            with suppress(FileExistsError):
                os.link(draft, self._root / MARK)
        except OSError:
            # A file system without hard links.
            if not (self._root / MARK).exists():
                os.rename(draft, self._root / MARK)
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def draft(self, place: Place, attempt: int, token: int) -> Iterator[Draft]:
        """Give a new folder for an attempt's files; what the same token left there before is cleared, and nothing else.

        On any error the folder is removed again, as far as that is possible.
        """
        with self._translated():
            folder = self._root.joinpath(*place, f"{attempt}-{token}")
            if not self._root.is_dir():
                raise FileNotFoundError(errno.ENOENT, "no such folder", str(self._root))
            if folder.exists():
                shutil.rmtree(folder)
        try:
            with self._translated():
                yield Draft(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def settle(self, place: Place, attempt: int, token: int) -> None:
        """Remove what overtaken supervisors of this very attempt left beside the folder that counts."""
        with self._translated():
            for other in self._root.joinpath(*place).glob(f"{attempt}-*"):
                if other.name != f"{attempt}-{token}":
                    shutil.rmtree(other, ignore_errors=True)

    def open(self, place: Place, holding: Holding, artefact: Artefact) -> int:
        """Return a descriptor of an artefact's file, for the caller to close. Raises: ArtefactMissing.

        Each step opens one name and follows no link, whatever somebody else put into the storage.
        """
        if self.storage_id() != holding.storage:
            raise WorkspacesUnavailable(
                "This replica sees another storage than the one which the artefact was written to. "
                "Mount the same one, PODWIRE_WORKSPACES_DIR, into all web and worker processes."
            )
        steps = (*place, f"{holding.attempt}-{holding.token}")
        with self._translated():
            try:
                return _open(self._root, steps, file_name(artefact.number, artefact.name))
            except FileNotFoundError as error:
                raise ArtefactMissing() from error

    def remove(self, place: Place) -> None:
        """Remove everything of one run, and nothing else. Idempotent."""
        folder, run_id = place
        if not is_run_id(run_id) or folder != os.path.basename(folder) or folder in ("", ".", ".."):
            raise WorkspacesUnavailable(f"{place} is not the folder of a run.")
        with self._translated():
            if not self._root.is_dir():
                raise FileNotFoundError(errno.ENOENT, "no such folder", str(self._root))
            with suppress(FileNotFoundError):
                shutil.rmtree(self._root / folder / run_id)
            # Only where nothing is left in it; a run that comes at this moment makes it again.
            with suppress(OSError):
                os.rmdir(self._root / folder)

    def run_folders(self) -> Iterator[tuple[str, float]]:
        """Yield (run id, seconds since the epoch when it was last changed) of every folder of a run in the storage."""
        with self._translated():
            for folder in (entry for entry in os.scandir(self._root) if entry.is_dir(follow_symlinks=False)):
                with suppress(FileNotFoundError):
                    for entry in os.scandir(folder.path):
                        if is_run_id(entry.name) and entry.is_dir(follow_symlinks=False):
                            yield entry.name, entry.stat(follow_symlinks=False).st_mtime

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._root.is_dir():
                detail = "The storage of artefacts is not there on this replica: mount it at PODWIRE_WORKSPACES_DIR."
            elif error.errno in FULL:
                detail = "The storage of artefacts is full."
            else:
                detail = f"The storage of artefacts fails: {error.strerror}."
            raise WorkspacesUnavailable(detail, full=error.errno in FULL) from error


class Draft:
    """The folder that one attempt's files are written into. Errors of the file system pass to `Workspaces.draft`."""

    def __init__(self, folder: Path) -> None:
        """Make nothing before the first file: most programs leave none."""
        self._folder = folder
        self._file, self._made = -1, False

    def begin(self, number: int, name: str) -> None:
        """Begin the next file."""
        self.end()
        if not self._made:
            _make(self._folder)
            self._made = True
        self._file = os.open(self._folder / file_name(number, name), _NEW, 0o640)

    def write(self, data: bytes) -> None:
        """Add to the file."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def end(self) -> None:
        """End the file: it is on the storage. Nothing happens where none was begun."""
        file, self._file = self._file, -1
        if file >= 0:
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def abandon(self) -> None:
        """Let go of the file that was begun."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _make(folder: Path) -> None:
    """Make the folder, also while a sweep removes its parent because it is empty."""
    for _ in range(10):
        with suppress(FileNotFoundError):
            folder.mkdir(mode=0o750, parents=True)
            return
    folder.mkdir(mode=0o750, parents=True)


def _open(root: Path, steps: tuple[str, ...], name: str) -> int:
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in steps:
            below = os.open(step, _FOLDER, dir_fd=held)
            os.close(held)
            held = below
        file = os.open(name, _FILE, dir_fd=held)
    finally:
        os.close(held)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
    return file
