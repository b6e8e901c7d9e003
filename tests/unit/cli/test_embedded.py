"""The processes of the embedded service, with small ones in their place: order, restarts, giving up, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.cli.embedded import child_processes
from app.cli.embedded.child_processes import Processes, Program
from app.cli.embedded.redis_server import RedisProgram, configure, find_program
from app.cli.embedded.state import State, choose_port, embedded_settings, prepare, save_settings, saved_settings
from app.cli.errors import Stop
from tests.servers import wait_until

SLEEPS = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nsignal.alarm(60)\n{do}\nsignal.pause()"


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    wait_until(true, "it came true", within_s)


def program(name: str, do: str = "", code: str = SLEEPS, **more: object) -> Program:
    return Program(name, [sys.executable, "-c", code.format(do=do)], stop_s=5, **more)  # type: ignore[arg-type]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes({**os.environ, "SECRET": "hush"}, tmp_path)
    yield made
    made.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().strip().isdigit())
    return int(path.read_text())


def test_children_get_their_secrets_from_the_environment_and_stop_in_reverse(processes: Processes, tmp_path: Path) -> None:
    order = tmp_path / "order"
    notes = (
        "signal.signal(signal.SIGTERM, lambda *_: (open({path!r}, 'a').write({name!r}), sys.exit(0)))\nprint('up', flush=True)"
    )
    for name in "abc":
        log = tmp_path / f"{name}.log"
        do = notes.format(path=str(order), name=name)
        processes.start(program(name, do, is_ready=lambda log=log: log.exists() and "up" in log.read_text()))
    processes.stop()
    processes.stop()
    assert order.read_text() == "cba"


@pytest.mark.trap("L2")
def test_a_child_that_does_not_start_is_a_sentence_with_its_last_words(processes: Processes) -> None:
    with pytest.raises(Stop, match=r"The web server did not start: no such port .*web-server\.log"):
        processes.start(program("web server", "sys.exit('no such port')", is_ready=lambda: False))


def test_a_child_that_never_answers_is_a_sentence(processes: Processes) -> None:
    with pytest.raises(Stop, match=r"does not answer after 0\.2 s"):
        processes.start(program("web server", is_ready=lambda: False, ready_s=0.2))


def test_a_child_that_dies_is_started_again(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    processes.start(program("worker", f"import os; open({str(path)!r}, 'w').write(str(os.getpid()))"))
    first = pid_in(path)
    watcher = threading.Thread(target=processes.watch, args=(lambda: None,))
    watcher.start()
    os.kill(first, signal.SIGKILL)
    until(lambda: pid_in(path) != first)
    processes.stop()
    watcher.join()
    assert not alive(pid_in(path))


def test_a_child_that_dies_again_and_again_ends_the_service(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_processes, "RESTART_BASE_S", 0.001)
    monkeypatch.setattr(child_processes, "POLL_S", 0.01)
    given_up = threading.Event()
    processes.start(program("worker", "sys.exit(3)"))
    watcher = threading.Thread(target=processes.watch, args=(given_up.set,))
    watcher.start()
    assert given_up.wait(20)
    assert "The worker ended 6 times within a minute (last with exit code 3)" in processes.fault
    processes.stop()
    watcher.join()


def test_a_child_that_does_not_listen_is_killed(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    deaf = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport os; open({str(path)!r}, 'w').write(str(os.getpid()))"
    processes.start(program("worker", deaf))
    child = pid_in(path)
    processes.stop(hurry=lambda: True)
    assert not alive(child)


def test_children_end_with_a_killed_parent(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    child = SLEEPS.format(do=f"import os; open({str(path)!r}, 'w').write(str(os.getpid()))")
    code = (
        "import os, sys, pathlib\nfrom app.cli.embedded.child_processes import *\n"
        f"Processes(os.environ, pathlib.Path({str(tmp_path)!r})).start(Program('x', [sys.executable, '-c', {child!r}], 5))\n"
        "sys.stdin.read()"  # until this test is over, whatever becomes of it
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        started = pid_in(path)
        parent.kill()
    try:
        until(lambda: not alive(started))
    finally:
        with suppress(ProcessLookupError):
            os.kill(started, signal.SIGKILL)


def test_the_folder_is_private_and_used_by_one_service_at_a_time(tmp_path: Path) -> None:
    first, second = prepare(tmp_path / "var"), prepare(tmp_path / "var")
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
    first.lock()
    first.note_holder("process 7, http://127.0.0.1:1/")
    with pytest.raises(Stop, match=r"already runs from .* \(process 7, http://127\.0\.0\.1:1/\)"):
        second.lock()
    os.close(second.lock_fd)
    first.unlock()
    second.lock()
    second.unlock()


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Stop, match="cannot be used: Not a directory"):
        prepare(tmp_path / "file" / "var")


def test_secrets_are_made_once_and_are_private(tmp_path: Path) -> None:
    state = prepare(tmp_path / "var")
    secret = state.secret("secret_key")
    assert len(secret) >= 32
    assert prepare(tmp_path / "var").secret("secret_key") == secret
    assert stat.S_IMODE(state.path("secret_key").stat().st_mode) == 0o600


def test_settings_come_from_the_folder_unless_the_environment_says_otherwise(tmp_path: Path) -> None:
    state = prepare(tmp_path / "var")
    settings = embedded_settings(state, 1234, "redis://x", {"PODWIRE_MAX_ACTIVE": "3", "HOME": "/", "PODWIRE_HOME": "/x"})
    assert (settings.max_active, settings.bind, settings.redis_url) == (3, "127.0.0.1:1234", "redis://x")
    assert settings.database_url == f"sqlite:///{tmp_path}/var/podwire.db"
    save_settings(state, settings)
    assert saved_settings(state.folder) == settings
    assert saved_settings(tmp_path) is None


def test_a_taken_port_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Stop, match="taken by another program; choose another with --port"):
            choose_port(taken.getsockname()[1])
    assert choose_port(0) > 0


def test_redis_listens_on_this_machine_only_and_keeps_its_password_out_of_the_arguments(tmp_path: Path) -> None:
    state: State = prepare(tmp_path / "var")
    words, url = configure(state, RedisProgram("/bin/redis-server", "redis-7"))
    text = Path(words[1]).read_text()
    password = state.secret("redis_password")
    assert password not in " ".join(words)
    assert password in url
    assert stat.S_IMODE(Path(words[1]).stat().st_mode) == 0o600
    for line in ("bind 127.0.0.1", "appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"):
        assert line in text.splitlines()
    assert configure(state, RedisProgram("/bin/redis-server", "redis-7"))[1] == url


def test_without_any_redis_the_sentence_names_the_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bundled = find_program()
    assert bundled.label.startswith("valkey-")
    monkeypatch.setattr("app.cli.embedded.redis_server._bundled", lambda: None)
    with pytest.raises(Stop, match="install redis-server or valkey-server"):
        find_program()
