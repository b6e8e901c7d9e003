"""The agent of a pod, with the test in the place of the program's container and of the supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.agent import pod
from app.agent.program.container import left_artefacts
from app.agent.records import wire_format
from app.agent.records.wire_format import Kind

DEADLINE_S = 15.0


class Pod:
    """An agent in a process of its own, its two folders, and one follower."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.shared, self.spool = folder / "shared", folder / "spool"
        self.shared.mkdir()
        self.spool.mkdir()
        code = f"import sys; from app.agent import pod; pod.main(sys.argv[1:], {str(self.shared)!r}, {str(self.spool)!r})"
        command = [sys.executable, "-c", code, f"busybox={sys.executable}", *words]
        self.agent = subprocess.Popen(command, cwd=Path(pod.__file__).parents[2])
        self.frames: list[wire_format.Frame] = []
        self.until(lambda: (self.shared / "ready").exists() and (self.spool / "agent.sock").exists())
        self.note, self.go = self.open("note", os.O_WRONLY), self.open("go", os.O_RDONLY)
        self.follow(0)

    def open(self, name: str, mode: int) -> int:
        return os.open(self.shared / name, mode | os.O_NONBLOCK)

    def follow(self, position: int) -> None:
        self.link, self._decoder = socket.socket(socket.AF_UNIX), wire_format.Decoder()
        self.link.connect(str(self.spool / "agent.sock"))
        self.link.settimeout(0.05)
        self.send(Kind.FOLLOW, **{"from": position})

    def send(self, kind: Kind, **body: object) -> None:
        self.link.sendall(wire_format.encode(kind, 0.0, json.dumps(body).encode()))

    def say(self, *lines: str) -> None:
        os.write(self.note, "".join(f"{line}\n" for line in lines).encode())

    def until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline, self.frames
            if hasattr(self, "link"):
                self.read()
            else:
                time.sleep(0.01)

    def read(self) -> None:
        try:
            data = self.link.recv(65536)
        except TimeoutError:
            return
        assert data, "the agent hung up"
        self.frames += self._decoder.feed(data)

    def start(self) -> None:
        """Play the program's container up to the moment where the program begins."""
        self.say("here")
        self.send(Kind.START, id="start")
        self.until(lambda: b"start\n" in self.gone())
        self.stdout = self.open("stdout", os.O_WRONLY)
        self.stderr = self.open("stderr", os.O_WRONLY)
        self.say("started")

    def gone(self) -> bytes:
        """Return what the agent has said to the program's first process since the last call."""
        try:
            return os.read(self.go, 65536)
        except BlockingIOError:
            return b""

    def ends(self, *lines: str) -> dict[str, object]:
        """Let the container end and return the EXIT record."""
        self.say(*lines)
        os.close(self.stdout)
        os.close(self.stderr)
        return self.exit()

    def exit(self) -> dict[str, object]:
        self.until(lambda: self.bodies(Kind.EXIT))
        (body,) = self.bodies(Kind.EXIT)
        return body

    def bodies(self, kind: Kind) -> list[dict[str, object]]:
        return [json.loads(payload) for each, _, payload in self.frames if each == kind]

    def spooled(self) -> list[wire_format.Frame]:
        return [frame for frame in self.frames if wire_format.spooled(frame[0])]


@pytest.fixture
def make_pod(tmp_path: Path) -> Iterator[Callable[..., Pod]]:
    made: list[Pod] = []

    def make(*words: str) -> Pod:
        made.append(Pod(tmp_path, *words))
        return made[0]

    yield make
    for each in made:
        each.agent.kill()
        each.agent.wait()
        each.link.close()
        os.close(each.note)
        os.close(each.go)


def test_a_program_waits_for_the_word_and_is_recorded_to_its_end(make_pod: Callable[..., Pod]) -> None:
    run = make_pod("command=x")
    run.until(lambda: any(body.get("waits") for body in run.bodies(Kind.HEARTBEAT)))
    assert run.gone() == b""
    run.start()
    os.write(run.stdout, b"out")
    run.until(lambda: any(kind == Kind.STDOUT for kind, _, _ in run.frames))
    os.write(run.stderr, b"err")
    end = run.ends("use 1048576 4096 1500000000 0", "end 3")
    assert [kind for kind, _, _ in run.spooled()] == [Kind.STARTED, Kind.STDOUT, Kind.STDERR, Kind.EXIT]
    assert (end["exit_code"], end["signal"], end["launch_error"]) == (3, None, None)
    assert (end["peak_memory_bytes"], end["cpu_seconds"], end["output_bytes"]) == (1048576, 1.5, 6)
    before = run.spooled()
    run.frames = []
    run.link.close()
    run.follow(0)
    run.until(lambda: run.spooled() == before)
    run.send(Kind.FINISH, id="finish")
    assert run.agent.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        (["Killed", "end 137"], {"exit_code": None, "signal": "SIGKILL"}),
        (["end 137"], {"exit_code": 137, "signal": None}),
        (["use 9 9 9 1", "Killed", "end 137"], {"exit_code": None, "signal": "SIGKILL", "reason": "OOMKilled"}),
        (["use 9 9 9 1", "end 1"], {"exit_code": 1, "reason": "OOMKilled"}),
        (["use 9 9 9 1", "end 0"], {"exit_code": 0, "reason": None}),
        (["missing"], {"exit_code": 127, "launch_error": "The command 'x' was not found."}),
    ],
)
def test_how_a_program_ends(make_pod: Callable[..., Pod], lines: list[str], end: dict[str, object]) -> None:
    run = make_pod("command=x")
    run.start()
    said = run.ends(*lines)
    assert {key: said.get(key) for key in end} == end


def test_a_supervisor_says_the_end_that_the_container_could_not(make_pod: Callable[..., Pod]) -> None:
    run = make_pod()
    run.start()
    os.write(run.stdout, b"last words")
    os.close(run.stdout)
    os.close(run.stderr)
    for _ in range(2):
        run.send(Kind.EXITED, id="exited", exit_code=None, signal="SIGKILL", reason="OOMKilled")
    end = run.exit()
    assert (end["reason"], end["signal"], end["output_bytes"]) == ("OOMKilled", "SIGKILL", 10)


def test_a_program_that_is_stopped_before_it_started_never_starts(make_pod: Callable[..., Pod]) -> None:
    run = make_pod()
    run.send(Kind.SIGNAL, id="stop-term", signal="TERM")
    assert run.exit()["signal"] == "SIGTERM"
    run.send(Kind.START, id="start")
    run.until(lambda: any(body["id"] == "start" for body in run.bodies(Kind.ACK)))
    assert run.gone() == b"stop\n"


@pytest.mark.trap("R1")
def test_the_word_to_start_is_for_one_pod(make_pod: Callable[..., Pod]) -> None:
    run = make_pod("uid=mine")
    run.say("here")
    run.send(Kind.START, id="start", uid="another")
    run.until(lambda: run.bodies(Kind.ACK))
    assert (run.bodies(Kind.ACK)[0]["ok"], run.gone()) == (False, b"")
    run.send(Kind.START, id="start", uid="mine")
    run.until(lambda: run.bodies(Kind.ACK)[1:])
    assert (run.bodies(Kind.ACK)[1]["ok"], run.gone()) == (True, b"start\n")


def test_the_end_of_a_pod_is_passed_on_and_a_supervisor_says_why(make_pod: Callable[..., Pod]) -> None:
    run = make_pod()
    run.start()
    run.agent.send_signal(signal.SIGTERM)
    run.until(lambda: b"TERM\n" in run.gone())
    run.say("Terminated", "end 143")
    run.send(Kind.EXITED, id="exited", exit_code=143, reason="Evicted", message="no room")
    os.close(run.stdout)
    os.close(run.stderr)
    end = run.exit()
    assert (end["reason"], end["message"]) == ("Evicted", "no room")


@pytest.mark.parametrize("known_before", [True, False])
def test_a_pod_that_leaves_keeps_its_own_end_and_is_told_why(make_pod: Callable[..., Pod], known_before: bool) -> None:
    run = make_pod()
    run.start()
    run.agent.send_signal(signal.SIGTERM)
    run.until(lambda: b"TERM\n" in run.gone())
    if not known_before:
        run.say("end 5")
    run.send(Kind.LEAVING, id="leaving", reason="Evicted", message="no room")
    if known_before:
        run.until(lambda: run.bodies(Kind.ACK)[1:])
        assert run.bodies(Kind.EXIT) == []
        run.say("end 5")
    os.close(run.stdout)
    os.close(run.stderr)
    end = run.exit()
    assert (end["reason"], end["message"], end["exit_code"], end["signal"]) == ("Evicted", "no room", 5, None)


def test_a_program_whose_container_does_not_come_can_be_stopped_and_then_never_starts(make_pod: Callable[..., Pod]) -> None:
    run = make_pod()
    run.send(Kind.START, id="start")
    run.until(lambda: [body for body in run.bodies(Kind.ACK) if body["id"] == "start"])
    assert run.gone() == b"", "nobody is there to hear it"
    run.send(Kind.SIGNAL, id="stop", signal="TERM")
    assert (run.exit()["signal"], run.exit()["exit_code"]) == ("SIGTERM", None)
    run.say("here")
    run.send(Kind.START, id="start")
    run.send(Kind.SIGNAL, id="again", signal="KILL")
    run.until(lambda: [body for body in run.bodies(Kind.ACK) if body["id"] == "again"])
    assert b"start" not in run.gone()


def test_the_word_waits_for_the_container(make_pod: Callable[..., Pod]) -> None:
    run = make_pod()
    for _ in range(2):
        run.send(Kind.START, id="start")
    run.until(lambda: run.bodies(Kind.ACK))
    heard = run.gone()
    run.say("here", "here")

    def hears() -> bytes:
        nonlocal heard
        heard += run.gone()
        return heard

    run.until(lambda: b"start\n" in hears())
    run.send(Kind.SIGNAL, id="stop", signal="TERM")
    run.until(lambda: b"TERM\n" in hears())
    assert heard == b"start\nTERM\n"


def test_files_lie_there_before_the_start_and_news_keep_their_place(make_pod: Callable[..., Pod]) -> None:
    run = make_pod()
    run.send(Kind.FILE, id="file-a.txt", name="a.txt", text="ä\r\n")
    run.send(Kind.FILE, id="file-x", name="../x", text="")
    run.until(lambda: len(run.bodies(Kind.ACK)) == 2)
    assert (run.shared / "files/a.txt").read_bytes() == "ä\r\n".encode()
    assert [body["ok"] for body in run.bodies(Kind.ACK)] == [True, False]
    for _ in range(2):
        run.send(Kind.NOTE, id="note-1", code="pulling", message="The image is fetched.")
    run.until(lambda: len(run.bodies(Kind.ACK)) == 4)
    assert run.bodies(Kind.NOTICE) == [{"code": "pulling", "message": "The image is fetched."}]


def test_while_somebody_follows_the_program_is_asked_what_it_uses(make_pod: Callable[..., Pod]) -> None:
    run = make_pod("command=x")
    run.start()
    run.until(lambda: b"use\n" in run.gone())
    run.say("use 104857600 52428800 2000000000 0")
    run.until(lambda: run.bodies(Kind.USE))
    (told,) = run.bodies(Kind.USE)
    assert told == {"memory_bytes": 52428800, "peak_memory_bytes": 104857600, "cpu_seconds": 2.0, "cpu_cores": None}
    run.say("use 104857600 1048576 3000000000 0")
    run.until(lambda: len(run.bodies(Kind.USE)) == 2)
    assert run.bodies(Kind.USE)[1]["cpu_cores"] > 0
    assert [kind for kind, _, _ in run.spooled()] == [Kind.STARTED], "a reading is no record"
    end = run.ends("use 104857600 0 4000000000 0", "end 0")
    assert (end["peak_memory_bytes"], end["cpu_seconds"]) == (104857600, 4.0)


def test_nobody_is_asked_before_the_start_and_what_was_heard_on_the_way_is_not_the_end(make_pod: Callable[..., Pod]) -> None:
    run = make_pod("command=x")
    run.until(lambda: len(run.bodies(Kind.HEARTBEAT)) >= 2)
    assert run.gone() == b"", "a word other than start would end the container"
    run.start()
    run.until(lambda: b"use\n" in run.gone())
    run.say("use 1048576 1048576 1000000000 0")
    run.until(lambda: run.bodies(Kind.USE))
    run.send(Kind.EXITED, id="exited", exit_code=None, signal="SIGKILL", reason="OOMKilled")
    end = run.exit()
    assert (end["reason"], end["peak_memory_bytes"], end["cpu_seconds"]) == ("OOMKilled", None, None)


def test_a_kernel_that_keeps_no_peak_tells_none(make_pod: Callable[..., Pod]) -> None:
    run = make_pod("command=x")
    run.start()
    end = run.ends("use 0 4096 1000000000 0", "end 0")
    assert (end["peak_memory_bytes"], end["cpu_seconds"]) == (None, 1.0)


def test_it_says_whether_there_are_artefacts(tmp_path: Path) -> None:
    assert left_artefacts(str(tmp_path / "missing")) == {}, "the pod has no such folder"
    assert left_artefacts(str(tmp_path)) == {"artefacts": False}
    (tmp_path / "empty").touch()
    assert left_artefacts(str(tmp_path)) == {"artefacts": True}
    assert left_artefacts(str(tmp_path / "empty")) == {"artefacts": True}, "what cannot be read may be something"
