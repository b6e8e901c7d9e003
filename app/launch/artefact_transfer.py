"""How what a program left gets from its place to here: read in place on this machine, or by a process beside it in its pod."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.agent.gather import FOLDER_FLAGS, gather
from app.agent.records.wire_format import Frame, Kind
from app.domain.errors import AttemptGone, LauncherUnavailable, LinkLost
from app.domain.runs.artefacts import Found, LeftOut, raw
from app.launch.kubernetes.link.exec_socket import ExecSocket
from app.launch.local.folder import ARTEFACTS

SILENCE_S = 20.0


def collected(attempt: Path, max_files: int, max_bytes: int) -> Iterator[Found | bytes | LeftOut]:
    """Yield what is in the artefacts' folder of an attempt on this machine. Raises: AttemptGone, LauncherUnavailable."""
    folder = _folder(attempt)
    if folder is None:
        yield LeftOut()
        return
    try:
        for step in gather(folder, max_files, max_bytes):
            if isinstance(step, dict):
                yield _left(step)
            elif isinstance(step, bytes):
                yield step
            else:
                yield Found(raw(step[0]), step[1])
    finally:
        os.close(folder)


def _folder(attempt: Path) -> int | None:
    """Open the folder; None where the program has put something else in its place, or there never was one."""
    try:
        held = os.open(attempt, FOLDER_FLAGS)
    except FileNotFoundError as error:
        raise AttemptGone("the run's folder was removed.") from error
    except OSError as error:
        raise LauncherUnavailable(f"The run's folder could not be opened: {error.strerror}.") from error
    try:
        return os.open(ARTEFACTS, FOLDER_FLAGS, dir_fd=held)
    except OSError:
        return None
    finally:
        os.close(held)


def received(connection: ExecSocket, clock: Callable[[], float] = time.monotonic) -> Iterator[Found | bytes | LeftOut]:
    """Yield what gather.py sends over an exec connection, which is closed in the end. Raises: LinkLost."""
    poll = select.poll()
    poll.register(connection.fd, select.POLLIN)
    received_at, begun = clock(), False
    try:
        while True:
            frames = connection.receive()
            for frame in frames:
                step = _step(frame)
                if isinstance(step, bytes) and not begun:
                    raise LinkLost("What the program left arrives in disorder.")
                begun = begun or isinstance(step, Found)
                yield step
                if isinstance(step, LeftOut):
                    return
            if frames:
                received_at = clock()
            elif clock() > received_at + SILENCE_S:
                raise LinkLost("What the program left does not arrive.")
            else:
                poll.poll(1000)
    finally:
        connection.close()


def _step(frame: Frame) -> Found | bytes | LeftOut:
    kind, at, payload = frame
    try:
        if kind == Kind.CONTENT:
            return payload
        if kind == Kind.ARTEFACT:
            return Found(raw(json.loads(payload)), at)
        if kind == Kind.GATHERED:
            return _left(json.loads(payload))
    except (ValueError, TypeError, AttributeError) as error:
        raise LinkLost("What the program left arrives damaged.") from error
    raise LinkLost(f"What the program left arrives with a frame of kind {kind}.")


def _left(counts: dict[str, int]) -> LeftOut:
    found = {str(why): int(count) for why, count in counts.items()}
    more = found.pop("more", 0) > 0
    return LeftOut(found, more)
