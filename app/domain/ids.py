"""Identifiers: how they are made and what they may look like. Nothing is looked up here."""

from __future__ import annotations

import re
import secrets

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_RUN_ID = re.compile(r"r[a-z2-7]{19}\Z")
_PROBE = "rprobe"


def _new(prefix: str, length: int = 20) -> str:
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length - len(prefix)))


def new_run_id() -> str:
    """Return a fresh run id: `r` and 19 characters (95 random bits), safe in URLs, file names, DNS labels and Redis keys.

    It is never one that `new_probe_id` could return.
    """
    while (made := _new("r")).startswith(_PROBE):
        pass
    return made


def new_probe_id() -> str:
    """Return a fresh id in the form of a run's, for an attempt that belongs to no run: no run ever has it."""
    return _new(_PROBE)


def new_user_id() -> str:
    """Return a fresh user id: `u` and 19 characters."""
    return _new("u")


def is_run_id(text: str) -> bool:
    """Say whether the text has the form of a run id."""
    return _RUN_ID.match(text) is not None


def question_id(run_id: str, attempt: int, number: int) -> str:
    """Return the id of the attempt's question with that number, so that reading the agent's record again yields the same id."""
    return f"{run_id}-{attempt}-{number}"
