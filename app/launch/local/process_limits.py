"""How a spec's limits are laid on a local process: the resource limits and the niceness, as the agent sets them. Pure.

There is no container here, so each limit is the nearest thing that the kernel offers to one process without privileges:

- memory: RLIMIT_DATA, the writable private memory of each process. RLIMIT_AS would count address space, of which node and the
  JVM reserve gigabytes that they never touch. A program that is over it gets an allocation error, not a kill.
- disk: RLIMIT_FSIZE bounds each file, not their sum.
- cpu: RLIMIT_CPU ends a process that used more than its cores could have given it in its whole time; what keeps many programs
  from starving the service is niceness, and more of it for a program that asked for less than a core.
- processes: RLIMIT_NPROC counts all of the user's (root is exempt); it stops a fork bomb from taking the machine, no more.
"""

from __future__ import annotations

import math
import resource

from app.domain.runs.spec import RunSpec
from app.launch.environment import CPU_LIMIT, DISK_LIMIT, MEMORY_LIMIT, PIDS_LIMIT, millicores

MAX_OPEN_FILES = 4096
MAX_PROCESSES = 16384
NICE, NICE_BELOW_ONE_CORE = 5, 10
CPU_MARGIN_S = 60
BACKSTOP_MARGIN_S = 30.0


def limit_words(spec: RunSpec) -> list[str]:
    """Return `resource:soft:hard` for each limit."""
    cpu_s = math.ceil((spec.timeout_s + spec.grace_s + CPU_MARGIN_S) * max(1.0, spec.cpu))
    limits = (
        (resource.RLIMIT_DATA, spec.memory_bytes, spec.memory_bytes),
        (resource.RLIMIT_FSIZE, spec.disk_bytes, spec.disk_bytes),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 5),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES, MAX_OPEN_FILES),
        (resource.RLIMIT_NPROC, MAX_PROCESSES, MAX_PROCESSES),
        (resource.RLIMIT_CORE, 0, 0),
    )
    return [f"{kind}:{soft}:{hard}" for kind, soft, hard in limits]


def variables(spec: RunSpec) -> dict[str, str]:
    """Return the environment variables that tell the program its limits."""
    limits = {
        CPU_LIMIT: millicores(spec.cpu),
        MEMORY_LIMIT: spec.memory_bytes,
        DISK_LIMIT: spec.disk_bytes,
        PIDS_LIMIT: MAX_PROCESSES,
    }
    return {name: str(value) for name, value in limits.items()}


def niceness(spec: RunSpec) -> int:
    """Return by how much the program makes way for the service."""
    return NICE if spec.cpu >= 1 else NICE_BELOW_ONE_CORE


def backstop_s(spec: RunSpec) -> float:
    """Return after how many seconds of the program's own time the agent kills it if nobody else did."""
    return spec.timeout_s + spec.grace_s + BACKSTOP_MARGIN_S
