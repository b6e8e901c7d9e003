"""What a program uses: read from /proc for a group of processes, and by run.sh from the files of both versions of cgroups."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.agent.program import usage
from app.agent.program.usage import LOOK_CREDIT_S, LOOK_SHARE, ProcessGroup, Reading, UsageMeter

PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


def process(proc: Path, pid: int, group: int, pages: int, ticks: int, high_kib: int) -> None:
    (proc / str(pid)).mkdir(parents=True)
    # The name may hold anything. utime stime cutime cstime share the ticks.
    fields = ["S", "1", str(group), *["0"] * 8, str(ticks), "1", "1", "1", *["0"] * 6, str(pages), "0"]
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b ({pid}) {' '.join(fields)}\n")
    (proc / str(pid) / "status").write_text(f"Name:\tx\nVmHWM:\t{high_kib} kB\n")


def test_a_group_is_summed_without_its_leader_and_without_others(tmp_path: Path) -> None:
    process(tmp_path, 50, 50, 1000, 9000, 99999)
    process(tmp_path, 51, 50, 10, 97, 60)
    process(tmp_path, 52, 50, 20, 197, 90)
    process(tmp_path, 53, 51, 40, 500, 99999)
    (tmp_path / "54").mkdir()  # gone between the listing and the reading
    (tmp_path / "uptime").write_text("1 1")
    found = ProcessGroup(50, str(tmp_path)).read(0.0)
    assert found is not None
    assert (found.memory, found.peak, found.cpu_s) == (30 * PAGE, max(30 * PAGE, 90 * 1024), 300 / TICKS)
    assert ProcessGroup(99, str(tmp_path)).read(0.0) is None


class Spent:
    """A clock of processor time: everything between two readings took `each`."""

    def __init__(self, each: float) -> None:
        self.each, self.readings = each, 0

    def __call__(self) -> float:
        self.readings += 1
        return self.each * self.readings


def test_the_whole_machine_is_looked_through_only_as_often_as_the_share_allows(tmp_path: Path) -> None:
    process(tmp_path, 51, 50, 10, 97, 60)
    group, spent = ProcessGroup(50, str(tmp_path)), Spent(LOOK_CREDIT_S * 2)

    def memory(now: float) -> int:
        found = group.read(now, spent)
        return found.memory // PAGE if found else 0

    assert memory(100.0) == 10
    process(tmp_path, 52, 50, 20, 97, 60)
    again_at = 100.0 + LOOK_CREDIT_S / LOOK_SHARE
    assert [memory(100.0 + LOOK_CREDIT_S), memory(again_at - 1)] == [10, 10], "only what is known was read"
    assert spent.readings == 2
    assert memory(again_at + 1) == 30
    (tmp_path / "51" / "stat").unlink()
    assert memory(again_at + 2) == 20, "what has ended does not count"
    (tmp_path / "52" / "stat").unlink()
    process(tmp_path, 53, 50, 5, 97, 60)
    assert memory(again_at + 3) == 5, "when nothing is left of what was known, all are looked through"


def test_a_number_that_became_another_process_does_not_count(tmp_path: Path) -> None:
    process(tmp_path, 51, 50, 10, 97, 60)
    process(tmp_path, 52, 50, 20, 97, 60)
    group, spent = ProcessGroup(50, str(tmp_path)), Spent(LOOK_CREDIT_S * 2)
    assert group.read(0.0, spent) is not None
    stat = tmp_path / "52" / "stat"
    stat.write_text(stat.read_text().replace(" S 1 50 ", " S 1 60 "))
    found = group.read(1.0, spent)
    assert found is not None and found.memory == 10 * PAGE and spent.readings == 2


def test_a_real_group_is_read() -> None:
    code = "import os, sys; os.setpgid(0, 0); child = os.fork(); data = b'x' * 40_000_000; os.write(1, b'.'); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as leader:
        assert leader.stdout is not None and leader.stdin is not None
        assert leader.stdout.read(2) == b".."
        found = ProcessGroup(leader.pid).read(0.0)
        leader.stdin.close()
    assert found is not None and 40_000_000 < found.memory <= found.peak < 200_000_000
    assert 0 <= found.cpu_s < 60


def test_the_rate_is_of_the_time_between_two_readings() -> None:
    gauge = UsageMeter()
    assert gauge.take(Reading(10, 30, 1.0), 100.0) == {
        "memory_bytes": 10, "peak_memory_bytes": 30, "cpu_seconds": 1.0, "cpu_cores": None,
    }  # fmt: skip
    assert gauge.take(Reading(20, 20, 3.5), 105.0) == {
        "memory_bytes": 20, "peak_memory_bytes": 30, "cpu_seconds": 3.5, "cpu_cores": 0.5,
    }  # fmt: skip
    third = gauge.take(Reading(50, 0, 2.0), 110.0)
    assert (third["peak_memory_bytes"], third["cpu_seconds"], third["cpu_cores"]) == (50, 3.5, 0.0), "nothing runs backwards"
    assert gauge.highest == 50


V1 = {
    "memory/memory.usage_in_bytes": "4096",
    "memory/memory.max_usage_in_bytes": "1048576",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    "cpuacct/cpuacct.usage": "1500000001",
}
V2 = {
    "memory.current": "4096",
    "memory.peak": "1048576",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 0",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1\nsystem_usec 2",
}
# A kernel before 5.19 keeps no peak.
V2_OLD = {name: text for name, text in V2.items() if name != "memory.peak"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (V1, "use 1048576 4096 1500000001 2"),
        (V2, "use 1048576 4096 1500000000 2"),
        (V2_OLD, "use 0 4096 1500000000 2"),
    ],
)
def test_the_first_process_reads_both_versions_of_cgroups(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    source = (Path(usage.__file__).parents[1] / "run.sh").read_text()
    functions = re.findall(r"^(?:first|entry|use)\(\) \{.*?^(?:\}|.*\}$)", source, re.S | re.M)
    script = "\n".join([line for line in source.splitlines() if line.startswith("first()")] + functions)
    script = script.replace("/sys/fs/cgroup", str(tmp_path)) + "\nuse\n"
    shell = ["busybox", "sh"] if shutil.which("busybox") else ["sh"]
    assert subprocess.run([*shell, "-c", script], capture_output=True, text=True, check=True).stdout == said + "\n"
