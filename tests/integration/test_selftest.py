"""`podwire selftest` against a whole service: a run that comes back, and what it says when none does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.integration.cluster import ROOT, Podwire


def selftest(podwire: Podwire, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli.main", "selftest", url, *words]
    return subprocess.run(command, env=podwire.environment, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_run_comes_back_and_leaves_no_token(podwire: Podwire) -> None:
    for _ in range(2):
        done = selftest(podwire, podwire.web[0].url)
        assert done.returncode == 0, done.stderr
        assert "answering green" in done.stderr and "the run came back as it must" in done.stderr
    listed = [sys.executable, "-m", "app.cli.main", "token", "list", "--user", "selftest"]
    told = subprocess.run(listed, env=podwire.environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0 and told.stdout == ""


def test_it_says_what_to_look_at(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=1, workers=0)
    stuck = selftest(podwire, podwire.web[0].url, "--within", "3")
    assert stuck.returncode == 2 and "has not ended within 3 s and is starting. No worker takes it" in stuck.stderr
    podwire.web[0].stop()
    away = selftest(podwire, podwire.web[0].url, "--within", "3")
    assert away.returncode != 0 and podwire.web[0].url in away.stderr
