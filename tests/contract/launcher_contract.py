"""The suite that every launcher is held to: one start for ever, every record from every position, commands once, typed refusals.

A test class for a launcher derives from `LauncherContract` and has a fixture `launcher`. What only one launcher can show, its own
tests do.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.agent.records.wire_format import Kind
from app.domain.errors import AttemptGone, LauncherUnavailable, LaunchRefused, LinkLost
from app.domain.ids import new_run_id
from app.domain.ports import Attempt, CollectingLauncher, Launcher
from app.domain.runs.artefacts import Found, LeftOut
from tests.contract.attempts import Follower, attempt, bash, launched, python
from tests.servers import wait_until

SMALL: dict[str, object] = {"cpu": 0.2, "memory_bytes": 128 * 1024**2}
CATCHING = "trap 'echo caught' TERM; (trap 'echo child; exit' TERM; echo ready; sleep 60 & wait) & wait; wait"


def gone(launcher: Launcher, stored: Attempt) -> bool:
    """Say whether the attempt is gone for ever; until then it is the same one, which goes away."""
    try:
        assert launcher.launch(stored) == stored.handle
    except AttemptGone:
        return True
    return False


def collected(
    launcher: CollectingLauncher, what: Attempt, max_files: int = 100, max_bytes: int = 10_000_000
) -> tuple[dict[bytes, bytes], LeftOut]:
    """Return what the attempt left by its paths, and what was left out."""
    files: dict[bytes, bytes] = {}
    at, last = b"", None
    for step in launcher.collect(what, max_files, max_bytes):
        assert last is None, "nothing follows the end"
        if isinstance(step, Found):
            assert step.path not in files and 1.7e9 < step.modified_at < 4e9
            at, files[step.path] = step.path, b""
        elif isinstance(step, LeftOut):
            last = step
        else:
            files[at] += step
    assert last is not None
    return files, last


def is_gone(launcher: CollectingLauncher, what: Attempt) -> bool:
    """Say whether nothing can be collected of the attempt any more."""
    try:
        collected(launcher, what)
    except AttemptGone:
        return True
    except (LinkLost, LauncherUnavailable):
        return False
    return False


class LauncherContract:
    """What every launcher keeps."""

    def test_a_run_from_start_to_end(self, launcher: Launcher) -> None:
        what = bash(
            'echo "out $1"; echo err >&2; cat data.txt; exit 3', args=("word",), files={"data.txt": "from a file\n"}, **SMALL
        )
        follower = launched(launcher, what)
        end = follower.to_end()
        assert next(each.kind for each in follower.spooled() if each.kind != Kind.NOTICE) == Kind.STARTED
        assert follower.output(Kind.STDOUT) == b"out word\nfrom a file\n"
        assert follower.output(Kind.STDERR) == b"err\n"
        assert (end["exit_code"], end["signal"], end["launch_error"]) == (3, None, None)
        assert (end["output_bytes"], end["withheld_bytes"]) == (25, 0)
        assert isinstance(end["peak_memory_bytes"], int) and isinstance(end["cpu_seconds"], float)
        assert follower.send(Kind.FINISH, "finish")["ok"] is True
        launcher.remove(follower.attempt)
        assert launcher.present() == []

    def test_the_program_is_told_its_limits(self, launcher: Launcher) -> None:
        script = 'echo "$PODWIRE_CPU_MILLICORES $PODWIRE_MEMORY_BYTES $PODWIRE_DISK_BYTES"'
        script += '; [ "${PODWIRE_PIDS:-unlimited}" = "$(ulimit -u)" ]'
        follower = launched(launcher, bash(script, disk_bytes=200_000_000, **SMALL))
        end = follower.to_end()
        assert (follower.output(), end["exit_code"]) == (b"200 134217728 200000000\n", 0)

    def test_every_position_gives_the_same_bytes(self, launcher: Launcher) -> None:
        what = python(
            "import sys,time\nfor i in range(12):\n print(i, flush=True); time.sleep(.06)\n print('e', i, file=sys.stderr)",
            **SMALL,
        )
        first = launched(launcher, what)
        first.to_end()
        frames, at = first.frames(), 0
        placed = [record for record in first.records if record.position]
        assert len(frames) > 10
        for index in range(len(frames)):
            again = Follower(launcher, first.attempt, at)
            again.to_end()
            assert again.frames() == frames[index:]
            assert again.position == first.position
            again.drop()
            at = placed[index].position

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
    def test_what_can_never_run_is_refused(self, launcher: Launcher, what: Attempt) -> None:
        with pytest.raises(LaunchRefused):
            launcher.launch(what)
        assert launcher.present() == []

    def test_a_command_that_is_not_there_is_an_end_with_a_sentence(self, launcher: Launcher) -> None:
        end = launched(launcher, attempt(command=("no-such-command",), **SMALL)).to_end()
        assert (end["exit_code"], end["launch_error"]) == (127, "The command 'no-such-command' was not found.")

    def test_a_reader_is_woken_from_another_thread(self, launcher: Launcher) -> None:
        what = bash("sleep 60", **SMALL)
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

    def test_followers_do_not_disturb_each_other(self, launcher: Launcher) -> None:
        what = python("import sys\nfor i in range(20000): print('line', i)\ninput()", stdin=True, **SMALL)
        followers = [launched(launcher, what) for _ in range(4)]
        stalled = Follower(launcher, followers[0].attempt)
        assert stalled.link
        expected = b"".join(b"line %d\n" % i for i in range(20000))
        for follower in followers:
            follower.until(lambda follower=follower: len(follower.output()) >= len(expected))  # type: ignore[misc]
            assert follower.output() == expected
        assert followers[0].send(Kind.INPUT, "i", data="\n")["ok"] is True
        for follower in (*followers, stalled):
            follower.to_end()
            assert follower.output() == expected

    def test_commands_are_carried_out_once_also_after_a_reconnect(self, launcher: Launcher) -> None:
        follower = launched(launcher, bash('while read -r line; do echo "got $line"; done; echo end', stdin=True, **SMALL))
        for _ in range(3):
            assert follower.send(Kind.INPUT, "input-1", data="one\n")["ok"] is True
            follower.drop()
        assert follower.send(Kind.INPUT, "input-2", data="two\n", eof=True)["ok"] is True
        follower.to_end()
        assert follower.output() == b"got one\ngot two\nend\n"

    def test_signals_reach_the_whole_group(self, launcher: Launcher) -> None:
        follower = launched(launcher, bash(CATCHING, **SMALL))
        follower.until(lambda: b"ready" in follower.output())
        follower.send(Kind.SIGNAL, "stop-term", signal="TERM")
        assert follower.to_end()["signal"] is None
        assert sorted(follower.output().split()) == [b"caught", b"child", b"ready"]

    def test_a_killed_program_says_by_what(self, launcher: Launcher) -> None:
        follower = launched(launcher, bash("trap '' TERM; echo ready; sleep 60; sleep 60", **SMALL))
        follower.until(lambda: b"ready" in follower.output())
        follower.send(Kind.SIGNAL, "kill", signal="KILL")
        end = follower.to_end()
        assert (end["exit_code"], end["signal"]) == (None, "SIGKILL")

    @pytest.mark.trap("R1")
    def test_launching_again_starts_nothing(self, launcher: Launcher) -> None:
        what = bash("echo x; read -r line", stdin=True, **SMALL)
        with ThreadPoolExecutor(8) as pool:
            handles = set(pool.map(lambda _: launcher.launch(what), range(24)))
        assert len(handles) == 1
        follower = Follower(launcher, replace(what, handle=handles.pop()))
        follower.send(Kind.INPUT, "input-1", data="go\n")
        follower.to_end()
        assert {launcher.launch(what), launcher.launch(follower.attempt)} == {follower.attempt.handle}
        again = Follower(launcher, follower.attempt)
        again.to_end()
        assert (again.output(), again.frames()) == (b"x\n", follower.frames())

    def test_a_removed_attempt_is_gone_and_another_may_follow_it(self, launcher: Launcher) -> None:
        follower = launched(launcher, bash("echo x; sleep 60", **SMALL))
        stored = follower.attempt
        follower.until(lambda: follower.output() == b"x\n")
        launcher.remove(stored)
        launcher.remove(stored)
        assert launcher.present() == []
        with pytest.raises(AttemptGone):
            follower.until(lambda: follower.bodies(Kind.EXIT))
            raise AttemptGone(reason=str(follower.bodies(Kind.EXIT)[-1]["reason"]))
        follower.drop()
        wait_until(lambda: gone(launcher, stored), "the attempt was gone")
        launcher.launch(replace(stored, number=2, handle=None))
        assert launcher.present() == [(stored.run_id, 2)]

    @pytest.mark.trap("W1")
    @pytest.mark.trap("W3")
    def test_what_a_program_leaves_is_collected_from_its_own_attempt(self, launcher: CollectingLauncher) -> None:
        writes = 'cd "$PODWIRE_ARTEFACTS"; ls -A; mkdir -p sub/deep; echo $1 > same.txt; seq 200000 > sub/deep/numbers'
        one, other = (launched(launcher, bash(writes, args=(word,), **SMALL)) for word in ("one", "other"))
        for follower in (one, other):
            follower.to_end()
        second = launched(launcher, replace(one.attempt, number=2, handle=None))
        second.to_end()
        numbers = "".join(f"{number}\n" for number in range(1, 200001)).encode()
        for follower, word in ((one, b"one\n"), (other, b"other\n"), (second, b"one\n")):
            assert follower.output() == b"", "it begins empty"
            for _ in range(2):
                files, left = collected(launcher, follower.attempt)
                assert files == {b"same.txt": word, b"sub/deep/numbers": numbers} and left == LeftOut()
        launcher.remove(one.attempt)
        wait_until(lambda: is_gone(launcher, one.attempt), "what was left was gone with its attempt")
        assert collected(launcher, other.attempt)[0][b"same.txt"] == b"other\n"

    @pytest.mark.trap("W4")
    def test_hostile_files_are_left_out_or_taken_as_bytes(self, launcher: CollectingLauncher) -> None:
        hostile = """cd "$PODWIRE_ARTEFACTS"
            ln -s /etc/passwd link; ln -s / root; mkfifo fifo; mkdir locked; echo x > locked/x; chmod 0 locked
            echo a > $'bad\\xff'; echo b > $'line\\nend'; echo c > '..x'; echo d > CON; echo e > con
            echo f > "$(printf '%0250d' 0)"; truncate -s 20M sparse; mkdir empty"""
        follower = launched(launcher, bash(hostile, **SMALL))
        follower.to_end()
        assert follower.output() == b""
        files, left = collected(launcher, follower.attempt)
        long = b"0" * 250
        assert {path: data for path, data in files.items() if path != b"locked/x"} == {
            b"bad\xff": b"a\n",
            b"line\nend": b"b\n",
            b"..x": b"c\n",
            b"CON": b"d\n",
            b"con": b"e\n",
            long: b"f\n",
        }
        counts = {why: count for why, count in left.counts.items() if why != "unreadable"}
        assert counts == {"links": 2, "special": 1, "bytes": 1} and not left.more

    def test_the_limits_on_what_is_collected_hold(self, launcher: CollectingLauncher) -> None:
        follower = launched(
            launcher, bash('cd "$PODWIRE_ARTEFACTS"; for i in 1 2 3 4 5; do head -c 1000 /dev/zero > $i; done', **SMALL)
        )
        follower.to_end()
        for limits, taken, left in (
            ((3, 10_000), 3, {"files": 2}),
            ((9, 2500), 2, {"bytes": 3}),
            ((9, 5000), 5, {}),
        ):
            files, found = collected(launcher, follower.attempt, *limits)
            assert (len(files), found.counts) == (taken, left)

    def test_others_are_left_alone(self, launcher: Launcher) -> None:
        one, other = (launched(launcher, bash("echo x; read -r line; echo $line", stdin=True, **SMALL)) for _ in range(2))
        for follower in (one, other):
            follower.until(lambda follower=follower: follower.output())  # type: ignore[misc]
        launcher.remove(one.attempt)
        assert launcher.present() == [(other.attempt.run_id, 1)]
        other.send(Kind.INPUT, "input-1", data="on\n")
        assert (other.to_end()["exit_code"], other.output()) == (0, b"x\non\n")
