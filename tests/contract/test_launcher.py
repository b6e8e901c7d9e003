"""What every launcher keeps: one start for ever, every record from every position, a removal that nothing undoes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from app.agent.wire import Kind
from app.domain.errors import AttemptGone, LaunchRefused
from app.domain.ids import new_run_id
from app.domain.ports import Attempt, Launcher
from app.launch.folder import held
from app.launch.local import LocalLauncher
from tests.contract.attempts import Follower, attempt, bash, clear, python

LANGUAGES = {"python": ("python3",), "bash": ("bash",)}


@pytest.fixture(params=["local"])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Launcher]:
    made = LocalLauncher(tmp_path / "root", LANGUAGES, keep_removed_s=600)
    yield made
    clear(made)


def launched(launcher: Launcher, what: Attempt) -> Follower:
    assert launcher.launch(what)
    return Follower(launcher, what)


def test_a_run_from_start_to_end(launcher: Launcher) -> None:
    what = bash('echo "out $1"; echo err >&2; cat data.txt; exit 3', args=("word",), files={"data.txt": "from a file\n"})
    follower = launched(launcher, what)
    end = follower.to_end()
    assert follower.records[0].kind == Kind.STARTED
    assert follower.output(Kind.STDOUT) == b"out word\nfrom a file\n"
    assert follower.output(Kind.STDERR) == b"err\n"
    assert (end["exit_code"], end["signal"], end["launch_error"]) == (3, None, None)
    assert (end["output_bytes"], end["withheld_bytes"]) == (25, 0)
    assert isinstance(end["peak_memory_bytes"], int) and isinstance(end["cpu_seconds"], float)
    assert follower.send(Kind.FINISH, "finish")["ok"] is True
    launcher.remove(what)
    assert launcher.present() == []


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


def test_every_position_gives_the_same_bytes(launcher: Launcher) -> None:
    what = python("import sys,time\nfor i in range(12):\n print(i, flush=True); time.sleep(.06)\n print('e', i, file=sys.stderr)")
    first = launched(launcher, what)
    first.to_end()
    frames, at = first.frames(), 0
    assert len(frames) > 10
    for index in range(len(frames)):
        again = Follower(launcher, what, at)
        again.to_end()
        assert again.frames() == frames[index:]
        assert again.position == first.position
        again.drop()
        at = first.records[index].position


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


@pytest.mark.parametrize(
    "what",
    [
        attempt(script="x", language="cobol"),
        attempt(command=("echo", "a\0b")),
        attempt(command=("true",), env={"A=B": "x"}),
        attempt(command=("true",), env={"A": "\ud800"}),
        attempt(command=("true",), files={"../escape": "x"}),
        attempt(command=("true",), files={"a/b": "x"}),
        attempt(),
        Attempt("../../etc", 1, attempt(command=("true",)).spec),
        Attempt(new_run_id(), 0, attempt(command=("true",)).spec),
    ],
)
def test_what_can_never_run_is_refused(launcher: Launcher, what: Attempt) -> None:
    with pytest.raises(LaunchRefused):
        launcher.launch(what)
    assert launcher.present() == []


def test_a_command_that_is_not_there_is_an_end_with_a_sentence(launcher: Launcher) -> None:
    end = launched(launcher, attempt(command=("no-such-command",))).to_end()
    assert (end["exit_code"], end["launch_error"]) == (127, "The command 'no-such-command' was not found.")


def test_a_reader_is_woken_from_another_thread(launcher: Launcher) -> None:
    what = bash("sleep 60")
    follower = launched(launcher, what)
    follower.until(lambda: follower.records)
    link = follower.link
    answers: list[object] = []
    reader = threading.Thread(target=lambda: answers.append(link.read(30)))
    reader.start()
    while reader.is_alive():
        link.wake()
        reader.join(0.02)
    assert answers
    link.close()
    link.wake()
    link.close()


def test_followers_do_not_disturb_each_other(launcher: Launcher) -> None:
    what = python("import sys\nfor i in range(20000): print('line', i)\ninput()", stdin=True)
    followers = [launched(launcher, what) for _ in range(4)]
    stalled = Follower(launcher, what)
    assert stalled.link
    expected = b"".join(b"line %d\n" % i for i in range(20000))
    for follower in followers:
        follower.until(lambda follower=follower: len(follower.output()) >= len(expected))  # type: ignore[misc]
        assert follower.output() == expected
    assert followers[0].send(Kind.INPUT, "i", data="\n")["ok"] is True
    for follower in (*followers, stalled):
        follower.to_end()
        assert follower.output() == expected


def test_commands_are_carried_out_once_also_after_a_reconnect(launcher: Launcher) -> None:
    follower = launched(launcher, bash('while read -r line; do echo "got $line"; done; echo end', stdin=True))
    for _ in range(3):
        assert follower.send(Kind.INPUT, "input-1", data="one\n")["ok"] is True
        follower.drop()
    assert follower.send(Kind.INPUT, "input-2", data="two\n", eof=True)["ok"] is True
    follower.to_end()
    assert follower.output() == b"got one\ngot two\nend\n"


CATCHING = "trap 'echo caught' TERM; (trap 'echo child; exit' TERM; echo ready; sleep 60 & wait) & wait; wait"


def test_signals_reach_the_whole_group(launcher: Launcher) -> None:
    follower = launched(launcher, bash(CATCHING))
    follower.until(lambda: b"ready" in follower.output())
    follower.send(Kind.SIGNAL, "stop-term", signal="TERM")
    assert follower.to_end()["signal"] is None
    assert sorted(follower.output().split()) == [b"caught", b"child", b"ready"]


def test_a_killed_program_says_by_what(launcher: Launcher) -> None:
    follower = launched(launcher, bash("trap '' TERM; echo ready; sleep 60; sleep 60"))
    follower.until(lambda: b"ready" in follower.output())
    follower.send(Kind.SIGNAL, "kill", signal="KILL")
    end = follower.to_end()
    assert (end["exit_code"], end["signal"]) == (None, "SIGKILL")
