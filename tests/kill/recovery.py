"""The matrix of recovery: who dies, and when. Each cell brings real processes to a point and does one bad thing.

`python -m tests.kill.recovery [--rounds N]` prints it as a table (scripts/recovery); tests/kill/test_recovery.py runs every cell
once. A process is held at a point by app/faults.py. What is bad in general is judged in subjects.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.client import Client
from tests.integration.cluster import Podwire, Process
from tests.kill.ground import LocalGround
from tests.kill.subjects import Subject, Tally
from tests.servers import Postgres, wait_until

LEASE_S = 2.0
PACE_S = 0.004
END_WITHIN_S = 45.0
SETTINGS = {"lease_s": LEASE_S, "renew_s": 0.5, "tick_s": 0.3, "max_active": 20, "max_active_per_owner": 20}

# When: a point of app/faults.py, or what is waited for where no call marks it.
WHEN = {
    "before commit": "submissions.submit:committing",
    "after commit": "submissions.submit:returned",
    "before publish": "publisher.publish:called",
    "after publish": "publisher.publish:returned",
    "before claim": "leases.claim:called",
    "after claim": "leases.claim:returned",
    "after launch": "launcher.launch:returned",
    "handle stored": "attempts.set_handle:returned",
    "streaming": "log.append:called",
    "waiting": "",
    "ending": "runs.finish:committing",
    "after the end": "runs.finish:returned",
}
# Who: see Cell, one method each.
WHO = (
    "web KILL",
    "web TERM",
    "worker KILL",
    "worker TERM",
    "Redis crash",
    "Redis emptied",
    "PostgreSQL restart",
    "dispatcher KILL",
)
# A dispatcher needs the lock that these points hold: the two cannot meet.
IMPOSSIBLE = {("dispatcher KILL", "before commit"), ("dispatcher KILL", "ending")}
CELLS = [(who, when) for who in WHO for when in WHEN if (who, when) not in IMPOSSIBLE]


class Gated(Subject):
    """A run whose questions are answered only once its gate is open, and which is never cancelled."""

    def __init__(self, client: Client, number: int, notes: Path, tally: Tally) -> None:
        super().__init__(client, number, LocalGround(notes), tally, PACE_S)
        self.cancels = False
        self.gate = threading.Event()
        self.asked = threading.Event()

    def _answer_all(self) -> None:
        if self.gate.is_set():
            return super()._answer_all()
        run = self._stubborn(lambda: self._client.get(f"/v1/runs/{self.run_id}"), 200)
        if run is not None and run.json["status"] == "waiting":
            self.asked.set()


class Holds:
    """The folder by which processes are held at points."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pw-fault-"))

    def arm(self, point: str) -> None:
        """Hold the next process that gets to the point."""
        (self.folder / point).touch()

    def wait(self, point: str) -> int:
        """Wait until a process is held there; return its id."""
        wait_until(lambda: self._held(point), f"a process got to {point}")
        return int(self._held(point)[0].name.rpartition("@")[2])

    def release(self, point: str) -> None:
        """Let go whoever is held there, and disarm the point."""
        (self.folder / point).unlink(missing_ok=True)
        for path in self._held(point):
            path.unlink(missing_ok=True)

    def _held(self, point: str) -> list[Path]:
        return list(self.folder.glob(f"{point}@*"))


@dataclass
class Cell:
    """One thing that dies at one moment, in a running service that goes on to the next cell afterwards."""

    podwire: Podwire
    holds: Holds
    who: str
    when: str
    number: int
    tally: Tally
    notes: Path
    runs: list[Gated] = field(default_factory=list)
    ended: list[Process] = field(default_factory=list)

    def play(self) -> None:
        """Live through it, and judge every run of the cell."""
        client = self.podwire.client()
        # Odd numbers ask questions. The neighbour is in the middle of its life when it happens.
        neighbour, subject = (self._run(client, 2 * self.number + offset) for offset in (1, 3))
        neighbour.gate.set()
        neighbour.start()
        wait_until(lambda: self._started(neighbour), "the neighbour's program had started")
        with self._at_the_moment(subject) as holder:
            self._strike(holder, client)
        subject.gate.set()
        self._bring_back()
        self._judge()

    def _run(self, client: Client, number: int) -> Gated:
        self.runs.append(Gated(client, number, self.notes, self.tally))
        return self.runs[-1]

    def _started(self, subject: Subject) -> bool:
        return bool(LocalGround(self.notes).starts(subject.run_id))

    @contextmanager
    def _at_the_moment(self, subject: Gated) -> Iterator[int | None]:
        """Start the run and get it to the point; inside, the process whose id is given (if any) is held there."""
        point = WHEN[self.when]
        late = self.when in ("streaming", "ending", "after the end")
        if point and not late:
            self.holds.arm(point)
        subject.start()
        if self.when == "waiting":
            wait_until(subject.asked.is_set, "the run waited for an answer")
            yield None
            return
        if late:
            subject.gate.set()
            wait_until(lambda: self._started(subject), "the program had started")
            self.holds.arm(point)
        try:
            yield self.holds.wait(point)
        finally:
            self.holds.release(point)

    # --- what is done

    def _strike(self, holder: int | None, client: Client) -> None:
        strikes: dict[str, Callable[[], None]] = {
            "Redis crash": self._crash_redis,
            "Redis emptied": self._empty_redis,
            "PostgreSQL restart": self._restart_postgres,
            "dispatcher KILL": lambda: self._kill_dispatcher(client),
        }
        if self.who in strikes:
            return strikes[self.who]()
        kind, how = self.who.split()
        self._end(self._victim(self.podwire.web if kind == "web" else self.podwire.workers, holder), how)

    def _victim(self, processes: list[Process], holder: int | None) -> Process:
        """Return the process that is held, where it is one of these; else any."""
        of_holder = [one for one in processes if holder is not None and one.popen and one.popen.pid == os.getpgid(holder)]
        return (of_holder or [processes[self.number % len(processes)]])[0]

    def _end(self, process: Process, how: str) -> None:
        process.kill() if how == "KILL" else process.send(signal.SIGTERM)
        self.ended.append(process)

    def _kill_dispatcher(self, client: Client) -> None:
        """Kill whoever dispatches a further run while it holds the lock of the queue."""
        point = "queue.dispatch_next:committing"
        self.holds.arm(point)
        other = self._run(client, 2 * self.number + 5)
        other.gate.set()
        other.start()
        pid = self.holds.wait(point)
        self._end(self._victim(self.podwire.processes, pid), "KILL")
        self.holds.release(point)

    def _crash_redis(self) -> None:
        self.podwire.redis.kill()
        self.podwire.redis.start()

    def _empty_redis(self) -> None:
        with self.podwire.redis.client() as redis:
            redis.flushall()

    def _restart_postgres(self) -> None:
        self.podwire.postgres.stop()
        self.podwire.postgres.start()

    # --- afterwards

    def _bring_back(self) -> None:
        for process in self.ended:
            process.wait(30)
            process.kill()
            process.start()

    def _judge(self) -> None:
        deadline = time.monotonic() + END_WITHIN_S
        for subject in self.runs:
            for thread in (subject, *subject.watchers):
                thread.join(max(0.0, deadline - time.monotonic()))
        self.podwire.wait_ready()
        for subject in self.runs:
            subject.give_up.set()
            subject.join(30)
            for watcher in subject.watchers:
                watcher.stop()
            subject.give_up.clear()
            subject.judge()


class Matrix:
    """A service for all cells, and how many runs each has judged."""

    def __init__(self, postgres: Postgres) -> None:
        """Prepare; `podwire.start()` comes next."""
        self.holds = Holds()
        self.podwire = Podwire(postgres, fault_dir=self.holds.folder, **SETTINGS)
        self.runs: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()
        self._numbers = iter(range(10_000, 10_000_000, 10))

    def play(self, who: str, when: str, notes: Path) -> list[str]:
        """Play one cell; return what was wrong."""
        tally = Tally()
        cell = Cell(self.podwire, self.holds, who, when, next(self._numbers), tally, notes)
        cell.play()
        self.runs[who, when] += len(cell.runs)
        self.faults[who, when] += len(tally.complaints)
        return tally.complaints

    def table(self) -> str:
        """Return the counts of runs in each cell; `!` where something was wrong, a dash where the two cannot meet."""
        head = f"{'':<20}" + "".join(f"{when:>16}" for when in WHEN)
        rows = [f"{who:<20}" + "".join(f"{self._cell(who, when):>16}" for when in WHEN) for who in WHO]
        total = f"{sum(self.runs.values())} runs, {sum(self.faults.values())} faults"
        return "\n".join([head, *rows, total])

    def _cell(self, who: str, when: str) -> str:
        if (who, when) in IMPOSSIBLE:
            return "-"
        return f"{self.runs[who, when]}{'!' if self.faults[who, when] else ''}"


def main() -> int:
    """Play every cell a number of times and print the table; 1 when anything was wrong."""
    options = argparse.ArgumentParser(description="Ends every part at every point of a run's life, and counts what went wrong.")
    options.add_argument("--rounds", type=int, default=1)
    rounds = options.parse_args().rounds
    postgres = Postgres(max_connections=300)
    postgres.start()
    matrix = Matrix(postgres)
    try:
        matrix.podwire.start()
        for who, when in CELLS * rounds:
            complaints = matrix.play(who, when, matrix.podwire.folder)
            print(f"{who}, {when}: {'; '.join(complaints) or 'ok'}", file=sys.stderr, flush=True)
        print(matrix.table())
        return 1 if matrix.faults.total() else 0
    finally:
        matrix.podwire.stop()
        postgres.remove()


if __name__ == "__main__":
    sys.exit(main())
