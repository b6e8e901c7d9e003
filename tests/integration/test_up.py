"""`podwire up` and the `podwire` command as a person meets them: real processes, a folder, a terminal where it matters."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers import wait_until

PODWIRE = [sys.executable, "-m", "app.cli.main"]
ROOT = Path(__file__).resolve().parents[2]


def environment(state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODWIRE_")}
    return {**kept, "PODWIRE_HOME": str(state), "HOME": str(state.parent), "PODWIRE_TICK_S": "0.5"}


def command(state: Path, *words: str, stdin: bytes = b"", timeout_s: float = 60) -> subprocess.CompletedProcess[bytes]:
    env = environment(state)
    return subprocess.run([*PODWIRE, *words], input=stdin, capture_output=True, env=env, cwd=ROOT, timeout=timeout_s, check=False)


def until(true: Callable[[], object], within_s: float = 30.0) -> None:
    wait_until(true, "it came true", within_s, 0.05)


def children(pid: int) -> list[tuple[int, str]]:
    """Return (pid, command line) of all descendants."""
    found, parents, listed = [], {pid}, processes()
    for child, parent, words in listed * 4:
        if parent in parents and child not in parents:
            parents.add(child)
            found.append((child, words))
    return found


def processes() -> list[tuple[int, int, str]]:
    """Return (pid, parent, command line) of every process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end while it is looked at.
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append((int(folder.name), int(parent), words))
    return found


def alive(pid: int) -> bool:
    # A process that ended but was not waited for by its new parent does not count.
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def serving(state: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `podwire up` until the block ends."""
    log = state.parent / "up.log"
    with log.open("wb") as out:
        up = subprocess.Popen(
            [*PODWIRE, "up", "--port", "0", "--no-example", *words],
            env=environment(state), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        until(lambda: b"serving" in log.read_bytes() or up.poll() is not None)
        assert up.poll() is None, log.read_text()
        yield up
    finally:
        if up.poll() is None:
            up.terminate()
        up.wait(40)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "var"


@pytest.fixture(scope="module")
def running(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    with serving(state) as up:
        yield up


def test_once_shows_a_run_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = command(tmp_path / "var", "up", "--once", "--port", "0")
    assert done.returncode == 0, done.stderr
    assert b"line 3 on stdout\n" in done.stdout
    assert b"\r  working [####################] 100%\n" in done.stdout
    assert b"You chose green" in done.stdout
    assert b"a line on stderr\n" in done.stderr
    assert re.search(rb"Sign in once with http://127\.0\.0\.1:\d+/sign-in/link/\S{40}", done.stdout)
    assert not [words for _, _, words in processes() if str(tmp_path) in words]


def test_everything_is_private_and_no_secret_is_an_argument(state: Path, running: subprocess.Popen[bytes]) -> None:
    for path in [state, *(p for p in state.rglob("*") if not p.is_symlink())]:
        assert path.lstat().st_mode & 0o077 == 0 or "local" in path.parts, path
    secrets = [(state / name).read_text() for name in ("secret_key", "redis_password")]
    secrets.append(json.loads((state / "client.json").read_text())["token"])
    words = " ".join(args for _, args in children(running.pid))
    assert "gunicorn" in words and "celery" in words
    assert not any(secret in words for secret in secrets)


def test_a_second_start_from_the_folder_names_the_first(state: Path, running: subprocess.Popen[bytes]) -> None:
    again = command(state, "up")
    assert again.returncode == 2
    assert again.stderr.decode().startswith(f"podwire: Podwire already runs from {state} (process {running.pid}, http://")


@pytest.mark.parametrize("fault", ["port", "folder"])
def test_what_prevents_a_start_is_one_sentence(tmp_path: Path, fault: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["--port", str(taken.getsockname()[1])] if fault == "port" else ["--state", "/dev/null/var"]
        done = command(tmp_path / "var", "up", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert (b"choose another with --port" if fault == "port" else b"cannot be used") in done.stderr


def test_what_a_program_leaves_is_there_after_its_end(state: Path, running: subprocess.Popen[bytes]) -> None:
    script = 'cd "$PODWIRE_ARTEFACTS" && mkdir sub && printf "a\\0b" > "sub/a b?" && touch empty'
    run = command(state, "run", "--detach", "--", "sh", "-c", script).stdout.decode().strip()
    until(lambda: b"kept until" in command(state, "artefacts", run).stderr)
    listed = command(state, "artefacts", run)
    assert [line.split()[0] for line in listed.stdout.decode().splitlines()] == ["0", "3"]
    assert b"2 files, 3 bytes" in listed.stderr
    assert command(state, "artefacts", run, "sub/a b?").stdout == b"a\0b"


def test_output_is_exact_and_the_exit_code_is_the_program_s(state: Path, running: subprocess.Popen[bytes]) -> None:
    code = r"printf 'a\377\000b\r\n'; printf 'oops' >&2; exit 7"
    done = command(state, "run", "--", "sh", "-c", code)
    assert (done.stdout, done.returncode) == (b"a\xff\x00b\r\n", 7)
    assert b"oops" in done.stderr
    assert b"The program ended with exit code 7." in done.stderr
    run_id = json.loads(command(state, "list", "--json").stdout)[0]["id"]
    assert sorted(command(state, "logs", run_id).stdout) == sorted(b"a\xff\x00b\r\noops")
    assert sorted(command(state, "logs", "-f", "--raw", run_id).stdout) == sorted(b"a\xff\x00b\r\noops")


@pytest.mark.parametrize(
    ("words", "code"), [(["--", "sh", "-c", "kill -9 $$"], 137), (["--timeout", "1", "--", "sleep", "60"], 124)]
)
def test_other_ends_have_codes_of_their_own(
    state: Path, running: subprocess.Popen[bytes], words: Sequence[str], code: int
) -> None:
    assert command(state, "run", *words).returncode == code


def test_input_is_passed_on(state: Path, running: subprocess.Popen[bytes]) -> None:
    done = command(state, "run", "--stdin", "--", "sort", stdin="b\né\na\n".encode())
    assert done.stdout == "a\nb\né\n".encode()


def test_events_as_json_lines(state: Path, running: subprocess.Popen[bytes]) -> None:
    done = command(state, "run", "--json", "--", "echo", "hi")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert "".join(event.get("text", "") for event in events) == "hi\n"
    assert events[-1]["kind"] == "end"


def test_cancelled_from_elsewhere(state: Path, running: subprocess.Popen[bytes]) -> None:
    run_id = command(state, "run", "--detach", "--", "sleep", "60").stdout.decode().strip()
    assert command(state, "cancel", run_id).returncode == 0
    assert command(state, "logs", "-f", run_id).returncode == 0
    assert json.loads(command(state, "show", "--json", run_id).stdout)["status"] == "cancelled"


@pytest.mark.trap("Q6")
def test_a_question_is_answered_from_another_terminal(state: Path, running: subprocess.Popen[bytes]) -> None:
    run_id = command(state, "run", "--detach", "--", "sh", "-c", "ask --choice red --choice blue Which").stdout.decode().strip()
    question = f"{run_id}-1-1"
    until(lambda: command(state, "answer", question, "blue").returncode == 0)
    assert command(state, "logs", "-f", "--raw", run_id).stdout == b"blue\n"
    late = command(state, "answer", question, "red")
    assert late.returncode == 1
    assert b"another accepted answer" in late.stderr or b"no longer open" in late.stderr


def test_a_question_is_answered_in_the_terminal(state: Path, running: subprocess.Popen[bytes]) -> None:
    script = "podwire.choice('Which?', ['red', 'blue'])"
    path = state.parent / "question.py"
    path.write_text(f"import podwire\nprint('colour', {script})\n")
    shown, code = in_terminal(state, ["run", str(path)], [(b"text) > ", b"9\n"), (b"text) > ", b"2\n")])
    assert b"Type a number from 1 to 2" in shown
    assert b"colour blue" in shown
    assert code == 0


def test_ctrl_c_cancels_the_run(state: Path, running: subprocess.Popen[bytes]) -> None:
    shown, code = in_terminal(state, ["run", "--", "sh", "-c", "echo go; exec sleep 60"], [(b"go\r\n", b"\x03")])
    assert b"cancelling the run" in shown
    assert code == 130


def test_the_doctor_and_the_accounts(state: Path, running: subprocess.Popen[bytes]) -> None:
    doctor = command(state, "doctor")
    assert doctor.returncode == 0, doctor.stdout
    made = command(state, "user", "create", "ann")
    assert b"/sign-in/link/" in made.stdout
    token = command(state, "token", "create", "ci", "--user", "ann").stdout.decode().strip()
    url = json.loads((state / "client.json").read_text())["url"]
    home = state.parent / "elsewhere"
    signed_in = command(home, "login", url, stdin=token.encode())
    assert b"as ann" in signed_in.stdout
    assert command(home, "list", "--json").returncode == 0
    token_id = command(state, "token", "list", "--user", "ann").stdout.decode().split()[0]
    command(state, "token", "revoke", token_id)
    refused = command(home, "list")
    assert (refused.returncode, b"podwire login" in refused.stderr) == (1, True)


@pytest.mark.trap("R5")
def test_killed_children_come_back_and_the_data_outlives_a_kill_of_everything(tmp_path: Path) -> None:
    state = tmp_path / "var"
    with serving(state) as up:
        worker = next(pid for pid, words in children(up.pid) if "celery" in words)
        os.kill(worker, signal.SIGKILL)
        done = command(state, "run", "--", "echo", "still here")
        assert (done.stdout, done.returncode) == (b"still here\n", 0)
        below = [pid for pid, _ in children(up.pid)]
        up.kill()
        up.wait(10)
        until(lambda: not any(alive(pid) for pid in below))
    with serving(state):
        runs = json.loads(command(state, "list", "--json").stdout)
        assert [run["title"] for run in runs] == ["echo still here"]
        assert command(state, "logs", runs[0]["id"]).stdout == b"still here\n"


def in_terminal(state: Path, words: list[str], talk: list[tuple[bytes, bytes]], within_s: float = 60) -> tuple[bytes, int]:
    """Run the command in a terminal; when it shows the expected bytes, type the reply. Returns all it showed, its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PODWIRE, *words], env=environment(state), cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=_take_terminal,
    )  # fmt: skip
    os.close(theirs)
    shown, seen, deadline = b"", 0, time.monotonic() + within_s
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    shown += os.read(ours, 4096)
                except OSError:
                    break
            if talk and talk[0][0] in shown[seen:]:
                expected, reply = talk.pop(0)
                seen = shown.index(expected, seen) + len(expected)
                os.write(ours, reply)
        return shown, process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
