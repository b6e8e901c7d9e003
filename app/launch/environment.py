"""What of an attempt's environment is alike for every launcher: the names of its limits, and its secret part. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt

# The program's limits, as whole numbers: thousandths of a core, bytes, processes with their threads.
CPU_LIMIT, MEMORY_LIMIT, DISK_LIMIT = "PODWIRE_CPU_MILLICORES", "PODWIRE_MEMORY_BYTES", "PODWIRE_DISK_BYTES"
PIDS_LIMIT = "PODWIRE_PIDS"


def secrets_of(attempt: Attempt) -> Mapping[str, str]:
    """Return the values of the attempt's secrets. Raises: LaunchRefused when one is missing.

    They are wiped when a run ends, so only a supervisor that was overtaken can miss one.
    """
    if missing := [name for name in attempt.spec.secrets if name not in attempt.secrets]:
        raise LaunchRefused(f"The values of the run's secrets are not there any more: {', '.join(missing)[:200]}.")
    return {name: attempt.secrets[name] for name in attempt.spec.secrets}


def millicores(cpu: float) -> int:
    """Return cores as the thousandths that a limit can be set to."""
    return max(1, round(cpu * 1000))
