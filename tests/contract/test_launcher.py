"""The local launcher is held to the suite, and more: what was removed is never started again, whoever tries."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from app.agent.records.wire_format import Kind
from app.domain.errors import AttemptGone, LaunchRefused
from app.domain.ports import Attempt, Launcher
from app.launch.local.folder import held
from app.launch.local.launcher import LocalLauncher
from tests.contract.attempts import Follower, bash, clear, launched
from tests.contract.launcher_contract import LauncherContract

LANGUAGES = {"python": ("python3",), "bash": ("bash",)}


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    made = LocalLauncher(tmp_path / "root", LANGUAGES, keep_removed_s=600, keeps_artefacts=True)
    yield made
    clear(made)


class TestLocalLauncher(LauncherContract):
    """The suite."""


def test_secrets_are_in_the_program_s_environment_and_nowhere_else(launcher: Launcher, tmp_path: Path) -> None:
    what = bash('echo "$KEY"; sleep 60', secrets=("KEY", "HOME"))
    with pytest.raises(LaunchRefused, match="not there any more"):
        launcher.launch(what)
    follower = launched(launcher, replace(what, secrets={"KEY": "s3cret $(x) 'ü'", "HOME": "/"}))
    follower.until(lambda: follower.output().decode() == "s3cret $(x) 'ü'\n")
    assert b"s3cret" not in b"".join(map(read, Path("/proc").glob("[0-9]*/cmdline")))
    holding = [path for path in tmp_path.rglob("*") if b"s3cret" in read(path) and "spool" not in path.parts]
    assert all(path.stat().st_mode & 0o077 == 0 for path in holding)
    launcher.remove(what)
    assert not any(b"s3cret" in read(path) for path in tmp_path.rglob("*"))


def test_what_has_ended_can_be_left_for_inspection_without_its_secrets(launcher: Launcher, tmp_path: Path) -> None:
    ended, runs = (replace(bash(script, secrets=("KEY",)), secrets={"KEY": "s3cret"}) for script in ("exit 3", "sleep 60"))
    follower = launched(launcher, ended)
    follower.to_end()
    launcher.remove(launched_and_heard(launcher, runs), unless_ended=True)
    assert launcher.present() == [(ended.run_id, 1)], "what runs is removed all the same"
    follower.send(Kind.FINISH, "finish")
    follower.drop()
    deadline = time.monotonic() + 20
    while any(b"s3cret" in read(path) for path in tmp_path.rglob("*")):
        assert time.monotonic() < deadline
        if not held(tmp_path / "root/attempts" / f"{ended.run_id}-1"):
            launcher.remove(ended, unless_ended=True)
        time.sleep(0.05)
    assert launcher.present() == [(ended.run_id, 1)]
    launcher.remove(ended)
    assert launcher.present() == []


def launched_and_heard(launcher: Launcher, what: Attempt) -> Attempt:
    follower = launched(launcher, what)
    follower.until(lambda: follower.records)
    return what


def read(path: Path) -> bytes:
    """Return what a file holds; nothing where there is no such file (any more)."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


@pytest.mark.trap("R1")
def test_launching_again_starts_nothing(launcher: Launcher, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    what = bash(f"echo x >> {marks}; read -r line", stdin=True)
    with ThreadPoolExecutor(8) as pool:
        handles = set(pool.map(lambda _: launcher.launch(what), range(24)))
    assert len(handles) == 1
    follower = Follower(launcher, replace(what, handle=handles.pop()))
    follower.send(Kind.INPUT, "input-1", data="go\n")
    follower.to_end()
    launcher.launch(what)
    launcher.launch(what)
    assert marks.read_text() == "x\n"


def test_a_removed_attempt_is_gone_and_never_starts_again(launcher: Launcher, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    what = bash(f"echo x >> {marks}; sleep 60")
    follower = launched(launcher, what)
    follower.until(lambda: marks.exists() and follower.records)
    assert launcher.remove(what) is True, "its program may have begun"
    assert launcher.remove(what) is True, "and that is remembered"
    with pytest.raises(AttemptGone):
        launcher.launch(what)
    with pytest.raises(AttemptGone):
        follower.until(lambda: False)
    assert marks.read_text() == "x\n"
    launcher.launch(replace(what, number=2))
    assert launcher.present() == [(what.run_id, 2)]


def test_an_attempt_that_was_removed_before_it_started_never_starts(launcher: Launcher, tmp_path: Path) -> None:
    what = bash(f"echo x >> {tmp_path / 'marks'}")
    assert launcher.remove(what) is False
    with pytest.raises(AttemptGone):
        launcher.launch(what)
    with pytest.raises(AttemptGone):
        launcher.connect(what, 0)
    assert launcher.present() == []


@pytest.mark.parametrize("run", range(5))
def test_launching_and_removing_at_once_leaves_nothing(launcher: Launcher, run: int) -> None:
    what = bash("sleep 60")

    def launch() -> None:
        with suppress(AttemptGone):
            launcher.launch(what)

    threads = [threading.Thread(target=launch) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(run * 0.004)
    launcher.remove(what)
    for thread in threads:
        thread.join()
    assert launcher.present() == []
    with pytest.raises(AttemptGone):
        launcher.connect(what, 0)
