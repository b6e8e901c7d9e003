"""What a program uses while it runs: the memory and the processor time of its process group, and the rate between two readings.

A pod's program is measured by its container's cgroup instead (run.sh); both ways end in a Gauge.
"""

from __future__ import annotations

import os

_PAGE_BYTES, _TICKS_PER_S = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat, counted from the state on.
_GROUP, _UTIME, _CSTIME, _RSS = 2, 11, 14, 21


class Reading:
    """One look: `memory` and `peak` in bytes, `cpu_s` in seconds since the start."""

    def __init__(self, memory: int, peak: int, cpu_s: float) -> None:
        self.memory, self.peak, self.cpu_s = memory, peak, cpu_s


class Gauge:
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


def of_group(group: int, proc: str = "/proc") -> Reading | None:
    """Read what the processes of a group use, its leader left out; None when there are none.

    One small file per process of the machine: what is exact about shared memory (smaps) takes the kernel a hundred times as long.
    """
    memory = peak = ticks = members = 0
    for name in os.listdir(proc):
        if not name.isdigit() or int(name) == group:
            continue
        fields = _read(f"{proc}/{name}/stat").rpartition(b")")[2].split()
        if len(fields) <= _RSS or int(fields[_GROUP]) != group:
            continue  # another's, or gone meanwhile
        members += 1
        memory += int(fields[_RSS]) * _PAGE_BYTES
        ticks += sum(int(field) for field in fields[_UTIME : _CSTIME + 1])
        peak = max(peak, _high_water(f"{proc}/{name}/status"))
    return Reading(memory, max(peak, memory), ticks / _TICKS_PER_S) if members else None


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
