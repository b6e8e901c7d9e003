"""Suites side by side as processes: begun, waited for, ended when the run is broken off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.runner.results import Result, read_report
from tests.runner.suites import Suite, command

# How long a suite may tidy up after it was told to stop: its servers are stopped by its fixtures.
TIDY_S = 60.0
# While images are built for the next stage, which would wait for them.
GENTLY = ("nice", "-n", "5")


class Stage:
    """Runs commands, several at once. What is told is in the folder, in a file for each."""

    def __init__(self, folder: Path, shown: bool) -> None:
        """`shown`: everything goes to the terminal as it comes, and to no file."""
        self._folder, self._shown = folder, shown
        self.gently = False
        self.results: list[Result] = []
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._broken_off = False

    def run(self, jobs: Sequence[Callable[[], Result]]) -> None:
        """Do all at once; what came of each is in `results`, also when this is broken off."""
        with ThreadPoolExecutor(max(1, len(jobs))) as pool:
            try:
                list(pool.map(lambda job: job(), jobs))
            except BaseException:
                self.break_off()
                raise

    def suite(self, suite: Suite, environment: Mapping[str, str], words: Sequence[str]) -> Result:
        """Run a suite."""
        report = self._folder / f"{suite.name}.xml"
        report.unlink(missing_ok=True)
        began = time.monotonic()
        status = self._call(suite.name, [sys.executable, *command(suite, str(report), words)], environment)
        # Who chooses tests seldom means some of every suite.
        return self._told(read_report(suite.name, report, status, time.monotonic() - began, may_be_empty=bool(words)))

    def step(self, name: str, words: Sequence[str], environment: Mapping[str, str]) -> Result:
        """Run a command that succeeds or fails as a whole, and is no test."""
        began = time.monotonic()
        status = self._call(name, words, environment)
        return self._told(Result(name, failed=int(status != 0), seconds=time.monotonic() - began))

    def _call(self, name: str, words: Sequence[str], environment: Mapping[str, str]) -> int:
        log = None if self._shown else (self._folder / f"{name}.log").open("wb")
        try:
            with self._lock:
                if self._broken_off:
                    return -1
                stdin, apart = (None, False) if self._shown else (subprocess.DEVNULL, True)
                words = [*GENTLY, *words] if self.gently else words
                process = subprocess.Popen(
                    words, env=dict(environment), stdout=log, stderr=log, stdin=stdin, start_new_session=apart
                )
                self._running.add(process)
            return process.wait()
        finally:
            if log:
                log.close()

    def _told(self, result: Result) -> Result:
        """Say how a part ended; of one that failed, all that it said."""
        self.results.append(result)
        if not self._shown:
            if result.failed:
                with suppress(OSError):
                    print(f"===== {result.name}\n{(self._folder / f'{result.name}.log').read_text(errors='replace')}")
            counts = f"{result.passed} passed, {result.failed} failed, {result.skipped} skipped"
            print(f"===== {result.name}: {counts}, {result.seconds:.0f} s", flush=True)
        return result

    def break_off(self) -> None:
        """End all that runs: gently, so that fixtures stop their servers, then hard."""
        with self._lock:
            self._broken_off = True
            running = [process for process in self._running if process.poll() is None]
        for number, patience_s in ((signal.SIGINT, TIDY_S), (signal.SIGKILL, 5.0)):
            for process in running:
                with suppress(ProcessLookupError):
                    process.send_signal(number) if self._shown else os.killpg(process.pid, number)
            for process in running:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(patience_s)
            running = [process for process in running if process.poll() is None]
