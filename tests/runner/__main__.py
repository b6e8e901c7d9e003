"""`python -m tests.runner [PART | PATH...] [PYTEST ARGUMENT...]`: gets what the tests need, runs them, and sums up.

The last line says `N passed, N failed, N skipped` over all; the exit code is 1 when anything failed. What is missing on this
machine is told loudly, and is a failure with CI=true.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

from tests.runner import needs
from tests.runner.ground import TOOLS, Ground, choose, with_helm
from tests.runner.results import Result, table, total
from tests.runner.stage import Stage
from tests.runner.suites import LINT, Order, Suite, Unknown, read_order

FOLDER = Path("build/test")
BROKEN_OFF = 130
CHECK = ["scripts/check", "lint"]


class Run:
    """One run of the tests: what was found out on the way, and what came of it."""

    def __init__(self, order: Order) -> None:
        """Prepare; `play` runs it."""
        self.order, self.everything = order, order.part == "all"
        self.strict = os.environ.get("CI") == "true"
        # What lacks: (what to say, whether it is a failure with CI=true).
        self.lacks: list[tuple[str, bool]] = []
        self.ground = Ground(choose(os.environ, self.everything, os.access(f"{TOOLS}/up", os.X_OK)))
        self.environment = dict(os.environ)
        shown = len(order.suites) + order.lint == 1 or order.part == "files"
        self.stage = Stage(FOLDER, shown)
        self.preparing: Future[None] | None = None

    def play(self) -> int:
        """Run all, say what came of it, and return the exit code."""
        began = time.monotonic()
        try:
            self._get_ready()
            self._play_stages()
        except KeyboardInterrupt:
            self.lacks.append(("BROKEN OFF: what had not ended by then is not counted", True))
            self._conclude(time.monotonic() - began)
            return BROKEN_OFF
        finally:
            self.ground.leave()
        return self._conclude(time.monotonic() - began)

    def _get_ready(self) -> None:
        wanted = [name for suite in self.order.suites for name in suite.needs]
        if missing := needs.install(wanted):
            self.lacks.append((f"NOT EVERYTHING WAS TESTED. Missing on this machine: {' '.join(missing)}", True))
        if "helm" in wanted:
            self._get_helm()
        if any(suite.on_cluster for suite in self.order.suites) and not self.ground.possible():
            self._go_without_cluster()

    def _get_helm(self) -> None:
        found, why, broken = with_helm(self.ground.choice.folder or TOOLS)
        if why:
            self.order = self.order.without({"helm"})
            self.lacks.append((f"THE CHART WAS NOT TESTED: {why}", broken or not self.everything))
        else:
            self.environment = found

    def _go_without_cluster(self) -> None:
        self.order = self.order.without({suite.name for suite in self.order.suites if suite.on_cluster})
        why = self.ground.absent or "there is no test node here, and no cluster is named (KUBECONFIG)"
        self.lacks.append((f"THE CLUSTER TESTS DID NOT RUN: {why}", self.ground.broken or not self.everything))

    def _play_stages(self) -> None:
        stages, lint = self.order.stages, [partial(self.stage.step, LINT, CHECK, self.environment)] if self.order.lint else []
        with ThreadPoolExecutor(1) as background:
            if any(map(_on_cluster, stages)):
                self.preparing = background.submit(self.ground.prepare, FOLDER / "cluster-images.log")
            for number, stage in enumerate(stages):
                ready = _on_cluster(stage) and self._has_cluster()
                self.stage.gently = self.preparing is not None
                if ready or not _on_cluster(stage):
                    self.stage.run([*lint, *map(self._job, stage)])
                lint = []
                if not any(map(_on_cluster, stages[number + 1 :])):
                    self.ground.leave()

    def _has_cluster(self) -> bool:
        """Wait for the cluster, the first time; say whether there is one."""
        if self.preparing:
            self.preparing.result()
            self.preparing = None
            self.stage.results.append(Result("images", failed=int(self.ground.broken), seconds=self.ground.seconds))
            if self.ground.absent:
                self._go_without_cluster()
        return not self.ground.absent

    def _job(self, suite: Suite) -> partial[Result]:
        environment = self.ground.environment if suite.on_cluster else self.environment
        return partial(self.stage.suite, suite, environment, self.order.words)

    def _conclude(self, whole_s: float) -> int:
        results = self.stage.results
        tested = any(one.passed or one.failed for one in results)
        skips = [line for one in results for line in one.lacking]
        if self.ground.absent:  # told already
            skips = [line for line in skips if "cluster" not in line.lower()]
        if skips:
            self.lacks.append(("NOT EVERYTHING WAS TESTED; skipped for want of something:\n" + "\n".join(skips), True))
        if not tested:
            which = " ".join([self.order.part, *self.order.words])
            self.lacks.append((f"there are no tests ({which}) that can run here; nothing was tested", True))
        print(table(results, whole_s))
        for text, serious in self.lacks:
            ending = " (with CI=true that is a failure)" if serious and self.strict else ""
            print(f"!!! {text}{ending}")
        failures = sum(serious for _, serious in self.lacks) if self.strict else 0
        failures = failures if not any(one.failed for one in results) else 0
        print(total(results, failures), flush=True)
        # A choice that means no test at all is a slip, wherever it is made.
        return int(bool(failures) or any(one.failed for one in results) or (bool(self.order.words) and not tested))


def _on_cluster(stage: tuple[Suite, ...]) -> bool:
    return any(suite.on_cluster for suite in stage)


def _break_off(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(words: list[str]) -> int:
    """Read the command line and run."""
    try:
        order = read_order(words)
    except Unknown as unknown:
        print(f"scripts/test: {unknown}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _break_off)
    # Who starts us in the background ignores it, and what we start would too; it is how a suite is told to tidy up.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    return Run(order).play()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
