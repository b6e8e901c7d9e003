"""What a program uses while it runs: the memory and the processor time of its process group, and the rate between two readings.

A pod's program is measured by its container's cgroup instead (run.sh); both ways end in a UsageMeter.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Looking through all processes may take this much processor time, and beyond it this share of the time.
LOOK_CREDIT_S, LOOK_SHARE = 0.05, 1 / 5000
_PAGE_BYTES, _TICKS_PER_S = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat, counted from the state on.
_GROUP, _UTIME, _CSTIME, _RSS = 2, 11, 14, 21


class Reading:
    """One look: `memory` and `peak` in bytes, `cpu_s` in seconds since the start."""

    def __init__(self, memory: int, peak: int, cpu_s: float) -> None:
        self.memory, self.peak, self.cpu_s = memory, peak, cpu_s


class UsageMeter:
    """Turns readings into what followers are told. `highest` is the most memory that any of them showed, in bytes."""

    def __init__(self) -> None:
        self.highest = 0
        self._cpu_s = 0.0
        self._at: float | None = None

    def take(self, reading: Reading, now: float) -> dict[str, object]:
        """Return the body of USE. `now` is of a clock that does not jump; the rate is of the time since the last reading."""
        cpu_s = max(reading.cpu_s, self._cpu_s)  # the time of processes that left their parents is not found again
        cores = None
        if self._at is not None and now > self._at:
            cores = round((cpu_s - self._cpu_s) / (now - self._at), 3)
        self._cpu_s, self._at = cpu_s, now
        self.highest = max(self.highest, reading.peak, reading.memory)
        return {
            "memory_bytes": reading.memory,
            "peak_memory_bytes": self.highest,
            "cpu_seconds": round(cpu_s, 3),
            "cpu_cores": cores,
        }


class ProcessGroup:
    """A process group, its leader left out: read again and again, at a cost that stays small on a machine with many processes.

    The kernel has no list of a group's processes. To find those that are new, all processes of the machine are looked through;
    where many agents do that, it costs the square of their number. So it is done as often as LOOK_CREDIT_S and LOOK_SHARE
    of the time allow, and in between only the known processes are read: a new one counts from the next look on.
    """

    def __init__(self, group: int, proc: str = "/proc") -> None:
        self._group, self._proc = group, proc
        self._members: list[str] = []
        self._since: float | None = None
        self._spent_s = 0.0

    def read(self, now: float, cpu_s: Callable[[], float] = time.process_time) -> Reading | None:
        """Read what it uses; None when nothing of it is known. `now` does not jump, `cpu_s` is this process's time so far.

        One small file per process: what is exact about shared memory (smaps) takes the kernel a hundred times as long.
        """
        if self._since is None:
            self._since = now
        known = self._among(self._members)
        if not known or self._spent_s <= LOOK_CREDIT_S + (now - self._since) * LOOK_SHARE:
            before = cpu_s()
            known = self._among([name for name in os.listdir(self._proc) if name.isdigit()])
            self._spent_s += cpu_s() - before
        self._members = list(known)
        return self._sum(known)

    def _among(self, names: Iterable[str]) -> dict[str, list[bytes]]:
        """Return the fields of those that are in the group; the others are another's, or gone meanwhile."""
        found = {}
        for name in names:
            fields = _read(f"{self._proc}/{name}/stat").rpartition(b")")[2].split()
            if len(fields) > _RSS and int(fields[_GROUP]) == self._group != int(name):
                found[name] = fields
        return found

    def _sum(self, members: dict[str, list[bytes]]) -> Reading | None:
        if not members:
            return None
        memory = sum(int(fields[_RSS]) for fields in members.values()) * _PAGE_BYTES
        ticks = sum(int(field) for fields in members.values() for field in fields[_UTIME : _CSTIME + 1])
        peak = max(_high_water(f"{self._proc}/{name}/status") for name in members)
        return Reading(memory, max(peak, memory), ticks / _TICKS_PER_S)


def _high_water(path: str) -> int:
    for line in _read(path).splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(8192)
    except OSError:
        return b""
