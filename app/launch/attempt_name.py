"""The name of an attempt where it runs: a folder's, or with a prefix a pod's. Always the same, and told from others. Pure."""

from __future__ import annotations

import re

from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt

_NAME = re.compile(r"(r[a-z2-7]{19})-([1-9][0-9]{0,8})\Z")


def attempt_name(attempt: Attempt, prefix: str = "") -> str:
    """Return the name. Raises: LaunchRefused for an id or a number that is none of ours."""
    name = f"{attempt.run_id}-{attempt.number}"
    if not _NAME.match(name):
        raise LaunchRefused("The run's id or attempt is not one of ours.")
    return prefix + name


def parse_attempt_name(name: str, prefix: str = "") -> tuple[str, int] | None:
    """Return the run id and the attempt's number, or None for a name that is not an attempt's."""
    found = _NAME.match(name.removeprefix(prefix)) if name.startswith(prefix) else None
    return (found[1], int(found[2])) if found else None
