"""Artefacts: the files that a run's program leaves to be kept, where they lie in the storage, and how long. Pure.

A name that a program chose never becomes a path here: it is a text in SQL, and the file has a number.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.runs.run import Run

LABEL = "workspace"
_SEGMENT_LENGTH = 40
_UNSAFE = re.compile(r"[^a-z0-9]+")
# A text of this form could be taken for an encoded one, so it is encoded as well.
_LOOKS_ENCODED = re.compile(r".*-[0-9a-f]{12}\Z")
_SAFE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
_UNSAFE_IN_FILE = re.compile(r"[^a-z0-9.]+")
_FILE_LENGTH = 60


class ArtefactState(StrEnum):
    """What became of one attempt's artefacts."""

    COLLECTING = "collecting"
    KEPT = "kept"
    LOST = "lost"
    REMOVING = "removing"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class ArtefactRules:
    """What is kept of one attempt, in bytes, and how long, in seconds; `keep_s` 0 is for ever."""

    max_files: int = 1000
    max_bytes: int = 1024**3
    collect_within_s: float = 120.0
    keep_s: float = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there to be kept: its path below the folder, as the bytes that the program chose."""

    path: bytes
    modified_at: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The end of a collection: how many files were not kept, by why; `more` when the rest was not even counted."""

    counts: dict[str, int] = field(default_factory=dict)
    more: bool = False


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file that is kept. `number` counts from 1 within its attempt."""

    number: int
    name: str
    size_bytes: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class Holding:
    """What is kept of one attempt. `token` and `storage` say which folder of which storage holds it.

    `until` is when the collecting is given up.
    """

    run_id: str
    attempt: int
    state: ArtefactState
    began_at: float
    until: float | None = None
    token: int = 0
    storage: str = ""
    files: int = 0
    size_bytes: int = 0
    left_out: int = 0
    message: str = ""
    removed_at: float | None = None


_WHY = {
    "links": "symbolic links",
    "special": "not regular files",
    "unreadable": "not readable",
    "names": "names that are too long or too deep",
    "bytes": "more than the limit of {max_bytes} bytes",
    "files": "more than the limit of {max_files} files",
}


def explain(left: LeftOut, rules: ArtefactRules) -> str:
    """Say what was not kept and why; empty when everything was."""
    limits = {"max_bytes": rules.max_bytes, "max_files": rules.max_files}
    parts = [f"{count} ({_WHY.get(why, why).format(**limits)})" for why, count in sorted(left.counts.items()) if count]
    if not parts and not left.more:
        return ""
    return f"Not kept: {', '.join(parts) or 'some'}{', and more that were not counted' if left.more else ''}."


def segment(text: str) -> str:
    """Return the text as the name of a folder that is safe everywhere: a DNS label, without regard to case.

    Different texts have different names: what had to be changed ends in a hash of the text.
    """
    if len(text) <= _SEGMENT_LENGTH and _SAFE.match(text) and not _LOOKS_ENCODED.match(text):
        return text
    plain = _UNSAFE.sub("-", text[:200].lower())[:_SEGMENT_LENGTH].strip("-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{plain or 'x'}-{digest}"


def folder_of(run: Run) -> tuple[str, str]:
    """Return the folder of a run below the storage's root: of its label `workspace`, else of its owner, and of its id."""
    return segment(run.spec.labels.get(LABEL) or run.owner_name), run.id


def file_name(number: int, name: str) -> str:
    """Return the name under which a file lies in the storage: its number, and a hint for people of what it is."""
    hint = _UNSAFE_IN_FILE.sub("-", name.rpartition("/")[2].lower()[:200])[-_FILE_LENGTH:].strip("-.")
    return f"{number:06d}-{hint or 'file'}"


class Names:
    """Texts for the paths of one collection: as they are where they are UTF-8, else escaped; never twice the same."""

    def __init__(self) -> None:
        """Begin with no name given."""
        self._given: set[str] = set()

    def text(self, path: bytes) -> str:
        """Return the name of the next path."""
        name = path.decode("utf-8", "backslashreplace")
        while name in self._given:
            name += "~"
        self._given.add(name)
        return name


def raw(path: str) -> bytes:
    """Return the bytes of a path that travelled as text (PEP 383)."""
    return os.fsencode(path)
