"""What holds the program's container back until the agent has laid everything out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.agent.pod_layout import HOOK, PodLayout
from tests.servers import wait_until

Hook = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return the folder of both containers; the agent's own is beside it."""
    for name in ("shared", "spool"):
        (tmp_path / name).mkdir()
    return tmp_path / "shared"


def hook(shared: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", "-c", HOOK.replace("/podwire", str(shared))], stderr=subprocess.DEVNULL)


def place(shared: Path) -> PodLayout:
    return PodLayout(str(shared), str(shared.parent / "spool"), sys.executable)


def test_the_hook_waits_for_the_word_when_it_comes_first(shared: Path) -> None:
    with hook(shared) as waiting:
        wait_until((shared / "hook").is_fifo, "the hook made the FIFO")
        made = place(shared)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.1)
        made.ready()
        assert waiting.wait(10) == 0


def test_the_hook_finds_the_word_when_it_comes_last(shared: Path) -> None:
    made = place(shared)
    made.ready()
    with hook(shared) as late:
        assert late.wait(10) == 0


def test_the_hook_finds_the_mark_of_an_agent_that_says_no_word(shared: Path) -> None:
    with hook(shared) as waiting:
        wait_until((shared / "hook").is_fifo, "the hook made the FIFO")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)  # so that it looks once before the mark is there
        (shared / "ready").touch()
        assert waiting.wait(10) == 0
