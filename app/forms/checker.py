"""Checks values against forms' schemas in child processes, a few at once, each stopped when it takes too long or too much.

No count of nodes foresees what a schema costs, so it is never a server's own process that pays.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.domain.errors import FieldError, FormsBusy, FormTooCostly, FormUncheckable, InvalidInput
from app.forms.exit_code import ExitCode

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
PLACES = 2
# The child is stopped by its own limit on CPU; this is for a machine that gives it none.
WALL_S = 20.0


class FormChecker:
    """The places for children of this process. Any thread may check."""

    def __init__(self, places: int = PLACES, wall_s: float = WALL_S, words: tuple[str, ...] = ()) -> None:
        """`words` is the child's command line, where it is not our own."""
        self._places = threading.BoundedSemaphore(places)
        self._wall_s = wall_s
        self._words = words or (sys.executable, "-P", "-m", "app.forms.child")

    @contextmanager
    def place(self, wait_s: float) -> Iterator[None]:
        """Hold a place for a child. Raises: FormsBusy when none is free in time."""
        if not self._places.acquire(timeout=wait_s):
            raise FormsBusy()
        try:
            yield
        finally:
            self._places.release()

    def check(self, schema: Mapping[str, object], value: object, field: str = "value", wait_s: float = 5.0) -> None:
        """Return when the value fits the schema.

        Raises: InvalidInput when it does not, FormTooCostly, FormUncheckable, FormsBusy.
        """
        with self.place(wait_s):
            self.check_in_place(schema, value, field)

    def check_in_place(self, schema: Mapping[str, object], value: object, field: str = "value") -> None:
        """Do the same for whoever holds a place."""
        code, said = self._run(json.dumps({"schema": schema, "value": value}).encode())
        if code == ExitCode.DONE and said:
            if fault := json.loads(said):
                raise InvalidInput([FieldError(field, str(fault))])
            return
        if code == ExitCode.UNCHECKABLE:
            raise FormUncheckable()
        if code == ExitCode.TOO_COSTLY or code < 0:
            raise FormTooCostly()
        logger.error("the process that checks forms ended with code %d; is the installation whole?", code)
        raise FormsBusy()

    def _run(self, asked: bytes) -> tuple[int, bytes]:
        """Run a child to its end; it is gone, with its pipes, when this returns."""
        environment = {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        try:
            child = subprocess.Popen(self._words, stdin=pipe, stdout=pipe, stderr=nothing, env=environment, cwd=os.sep)
        except OSError as error:
            logger.warning("no process to check a form: %s", error)
            raise FormsBusy() from error
        with child:
            try:
                said, _ = child.communicate(asked, timeout=self._wall_s)
            except subprocess.TimeoutExpired:
                said = b""
            finally:
                child.kill()
        return child.returncode, said
