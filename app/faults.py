"""Points at which a test may hold a process, to do something bad to the service at exactly that moment.

Installed only where PODWIRE_FAULT_DIR names a folder, which nobody sets but the tests of recovery. The points are the methods
of the collaborators; no other module knows of them.

A point is `OBJECT.METHOD:called`, `:committing` (its transaction is complete and holds its locks, and is not committed yet) or
`:returned`. A test arms it by a file of that name in the folder. The first process that gets there renames the file to
`POINT@PID` and stays until that file is removed, or for HOLD_S.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

HOLD_S = 25.0
POINTS = {
    "submissions": ("submit",),
    "queue": ("dispatch_next",),
    "leases": ("claim",),
    "attempts": ("set_handle",),
    "runs": ("finish",),
    "publisher": ("publish",),
    "launcher": ("launch",),
    "log": ("append",),
}


def install(folder: Path, engine: Engine, collaborators: Mapping[str, object]) -> None:
    """Put the points into the collaborators of this process. `engine` is the one that they commit with."""
    inside = threading.local()
    for name, methods in POINTS.items():
        for method in methods:
            setattr(collaborators[name], method, _holding(folder, inside, f"{name}.{method}", collaborators[name]))
    event.listen(engine, "commit", lambda _: _stay(folder, f"{inside.method}:committing") if _within(inside) else None)


def _within(inside: threading.local) -> bool:
    return getattr(inside, "method", None) is not None


def _holding(folder: Path, inside: threading.local, name: str, target: object) -> Callable[..., Any]:
    work = getattr(target, name.partition(".")[2])

    def held(*args: Any, **named: Any) -> Any:
        _stay(folder, f"{name}:called")
        inside.method = name
        try:
            result = work(*args, **named)
        finally:
            inside.method = None
        _stay(folder, f"{name}:returned")
        return result

    return held


def _stay(folder: Path, point: str) -> None:
    taken = folder / f"{point}@{os.getpid()}"
    with suppress(FileNotFoundError):
        (folder / point).rename(taken)
        end = time.monotonic() + HOLD_S
        while taken.exists() and time.monotonic() < end:
            time.sleep(0.01)
