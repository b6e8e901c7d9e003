"""The secret part of an attempt's environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt


def secrets_of(attempt: Attempt) -> Mapping[str, str]:
    """Return the values of the attempt's secrets. Raises: LaunchRefused when one is missing.

    They are wiped when a run ends, so only a supervisor that was overtaken can miss one.
    """
    if missing := [name for name in attempt.spec.secrets if name not in attempt.secrets]:
        raise LaunchRefused(f"The values of the run's secrets are not there any more: {', '.join(missing)[:200]}.")
    return {name: attempt.secrets[name] for name in attempt.spec.secrets}
