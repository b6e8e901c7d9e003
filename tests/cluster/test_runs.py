"""Runs in real pods, from the first byte to the typed end."""

from __future__ import annotations

import hashlib
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from app.agent.records import wire_format
from app.agent.records.wire_format import Kind
from app.domain.errors import AttemptGone, LaunchRefused, LinkLost
from app.domain.ports import Attempt
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.link import exec_session
from app.launch.kubernetes.link.exec_socket import ExecSocket
from app.launch.kubernetes.pods.manifest import BRIDGE_COMMAND, Shape, pod_name
from tests.cluster.conftest import BARE_IMAGE, exists, launched, wait_for
from tests.contract.attempts import Follower, attempt, bash, clear, python

SMALL: dict[str, object] = {"cpu": 0.2, "memory_bytes": 64 * 1024**2}
MIB = 1024 * 1024


def test_a_run_from_start_to_end(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    what = bash('echo "out $1"; echo err >&2; cat data.txt; exit 3', args=("word",), files={"data.txt": "from a file\n"}, **SMALL)
    follower = launched(launcher, what)
    end = follower.to_end()
    assert next(each.kind for each in follower.spooled() if each.kind != Kind.NOTICE) == Kind.STARTED
    assert follower.output(Kind.STDOUT) == b"out word\nfrom a file\n"
    assert follower.output(Kind.STDERR) == b"err\n"
    assert (end["exit_code"], end["signal"], end["launch_error"]) == (3, None, None)
    assert isinstance(end["peak_memory_bytes"], int) and end["peak_memory_bytes"] > 100_000
    assert isinstance(end["cpu_seconds"], float) and end["cpu_seconds"] > 0
    wait_for(lambda: "terminated" in container(api, shape, what, "run")["state"])
    assert container(api, shape, what, "run")["state"]["terminated"]["exitCode"] == 3
    assert "running" in container(api, shape, what, "agent")["state"]
    assert follower.send(Kind.FINISH, "finish")["ok"] is True
    launcher.remove(what)
    assert launcher.present() == []


def container(api: KubeApi, shape: Shape, what: Attempt, name: str) -> dict[str, dict[str, dict[str, object]]]:
    pod = api.call("GET", f"/api/v1/namespaces/{shape.namespace}/pods/{pod_name(what)}")
    return next(each for each in pod["status"]["containerStatuses"] if each["name"] == name)


ENDS = [
    ("exit 143", {"exit_code": 143, "signal": None, "reason": None}),
    ("kill -TERM $$", {"exit_code": None, "signal": "SIGTERM", "reason": None}),
    ("kill -SEGV $$", {"exit_code": None, "signal": "SIGSEGV", "reason": None}),
    ("exec sleep", {"exit_code": 1, "signal": None}),
    ("head -c 400M /dev/zero | tail", {"reason": "OOMKilled"}),
    ("(head -c 400M /dev/zero | tail); exit 7", {"exit_code": 7, "reason": "OOMKilled"}),
    ("(head -c 400M /dev/zero | tail); exit 0", {"exit_code": 0, "reason": None}),
]


@pytest.mark.parametrize(("script", "wanted"), ENDS)
def test_how_programs_end(launcher: KubernetesLauncher, script: str, wanted: dict[str, object]) -> None:
    end = launched(launcher, bash(script, **SMALL)).to_end()
    assert {key: end.get(key) for key in wanted} == wanted


def test_the_program_is_confined_and_finds_its_places(launcher: KubernetesLauncher) -> None:
    script = """
import os, signal, socket
def writable(path):
    try:
        open(path + "/x", "w").close()
        return True
    except OSError:
        return False
print(os.getuid(), [writable(p) for p in ("/work", "/tmp", "/podwire", "/podwire/files", "/etc", "/opt")])
print(open("data.txt").read(), os.getcwd(), os.environ["A"], os.environ["B"], __file__)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, os.path.exists("/var/run/secrets/kubernetes.io"))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "NoNewPrivs", "Seccomp:"))])
"""
    env = {"A": "$(HOME) $$ $(", "B": "ä\n'\""}
    follower = launched(launcher, python(script, files={"data.txt": "data"}, env=env, **SMALL))
    assert follower.to_end()["exit_code"] == 0, follower.output()
    lines = follower.output().decode().splitlines()
    assert lines[0] == "1000 [True, True, False, False, False, False]"
    # /work is the folder in the pod that a program begins in.
    assert lines[1:4] == ["data /work $(HOME) $$ $( ä", "'\" /work/script.py", "True False"]
    assert lines[4] == "['0000000000000000', '1', '2']"


def test_the_least_limit_of_processes_is_told(api: KubeApi, shape: Shape) -> None:
    for told in (77, 10**9):
        launcher = KubernetesLauncher(api, replace(shape, pids_limit=told))
        try:
            follower = launched(launcher, bash('echo "$PODWIRE_PIDS $(ulimit -u)"', **SMALL))
            follower.to_end()
            pids, seen = follower.output().split()
            assert int(pids) == (min(told, int(seen)) if seen.isdigit() else told)
        finally:
            clear(launcher)


BINARY = """
import os, random, sys, time
data = random.Random(7).randbytes({size})
out = 0
while out < len(data):
    out += os.write(1, data[out : out + 70_001])
"""


@pytest.mark.parametrize("size", [3 * MIB, 200 * MIB])
def test_binary_output_is_exact(launcher: KubernetesLauncher, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("tests.contract.attempts.DEADLINE_S", 120)
    what = python(BINARY.format(size=size), cpu=1.0, memory_bytes=700 * MIB, output_limit_bytes=210 * MIB)
    follower = launched(launcher, what)
    follower.until(lambda: follower.records)
    before = time.monotonic()
    end = follower.to_end()
    print(f"{size / MIB / (time.monotonic() - before):.0f} MiB/s")
    assert end["output_bytes"] == size
    wanted = hashlib.sha256(random.Random(7).randbytes(size)).hexdigest()
    assert hashlib.sha256(follower.output()).hexdigest() == wanted


def test_a_question_is_answered_in_a_pod(launcher: KubernetesLauncher) -> None:
    script = 'import podwire, os\nprint(podwire.ask("Who?"))\nos.system("ask --choice a --choice b Which?")'
    follower = launched(launcher, python(script, **SMALL))
    follower.until(lambda: follower.bodies(Kind.QUESTION))
    follower.drop()
    assert follower.answer(1, "Ada")["ok"] is True
    follower.until(lambda: len(follower.bodies(Kind.QUESTION)) == 2)
    assert follower.answer(2, "b")["ok"] is True
    assert follower.to_end()["exit_code"] == 0
    assert follower.output() == b"Ada\nb\n"
    assert [body["number"] for body in follower.bodies(Kind.TAKEN)] == [1, 2]


CATCHING = "trap 'echo caught' TERM; (trap 'echo child; exit' TERM; echo ready; sleep 60 & wait) & wait; wait"


def test_a_cancelled_program_may_tidy_up_and_is_killed_if_it_does_not(launcher: KubernetesLauncher) -> None:
    polite = launched(launcher, bash(CATCHING, **SMALL))
    deaf = launched(launcher, bash("trap '' TERM; echo ready; while :; do sleep 60; done", **SMALL))
    for follower in (polite, deaf):
        follower.until(lambda follower=follower: b"ready" in follower.output())  # type: ignore[misc]
        follower.send(Kind.SIGNAL, "stop-term", signal="TERM")
    assert polite.to_end()["signal"] is None
    assert sorted(polite.output().split()) == [b"caught", b"child", b"ready"]
    deaf.send(Kind.SIGNAL, "stop-kill-1", signal="KILL")
    assert deaf.to_end()["signal"] == "SIGKILL"


@pytest.mark.trap("R1")
def test_any_number_of_launches_make_one_pod_and_one_start(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    what = bash("echo x; read -r line", stdin=True, **SMALL)
    others = [KubernetesLauncher(api, shape) for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        handles = set(pool.map(lambda number: others[number % 3].launch(what), range(12)))
    assert len(handles) == 1
    stored = replace(what, handle=handles.pop())
    followers = [Follower(each, stored) for each in others]
    for follower in followers:
        follower.until(lambda follower=follower: follower.output())  # type: ignore[misc]
        assert follower.output() == b"x\n"
    assert {launcher.launch(what), launcher.launch(stored)} == {stored.handle}
    followers[0].send(Kind.INPUT, "input-1", data="go\n")
    for follower in followers:
        follower.to_end()
    assert len({tuple(follower.frames()) for follower in followers}) == 1


def waits(api: KubeApi, shape: Shape, what: Attempt) -> bool:
    """Ask the agent, without letting the program start, whether it still waits for the word to start."""
    frames: list[wire_format.Frame] = []
    try:
        connection, _ = api.dial(shape.namespace, pod_name(what), "agent", BRIDGE_COMMAND, 2.0)
        with closing(ExecSocket(connection)) as socket:
            socket.send(wire_format.encode(Kind.FOLLOW, 0.0, b'{"from": 0}'))
            wait_for(lambda: frames.extend(socket.receive()) or len(frames) >= 2, 5.0)  # type: ignore[func-returns-value]
    except (ApiFailure, LinkLost):
        return False
    return [kind for kind, _, _ in frames] == [Kind.HEARTBEAT] * 2 and json.loads(frames[1][2])["waits"] is True


def test_a_pod_that_nobody_stored_never_starts_anything(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    what = bash("echo started; sleep 60", **SMALL)
    first = launcher.launch(what)
    stored = replace(what, handle=first)
    launcher.remove(stored)
    launcher.remove(stored)
    wait_for(lambda: not exists(api, f"/api/v1/namespaces/{shape.namespace}/pods/{pod_name(what)}"))
    with pytest.raises(AttemptGone):
        launcher.launch(stored)
    assert Follower(launcher, stored).to_end()["reason"] == "PodDeleted"
    # An overtaken supervisor, which knows nothing of that, creates the pod once more: but its uid is never stored.
    second = launched(launcher, what).attempt.handle
    assert second != first
    launcher.remove(stored)
    assert launcher.present() == [(what.run_id, 1)]
    wait_for(lambda: waits(api, shape, what))
    launcher.remove(what)
    assert launcher.present() == []


def test_what_the_cluster_or_the_rules_refuse(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    picky = KubernetesLauncher(api, replace(shape, allowed_images=("docker.io/library/busybox:*",)))
    with pytest.raises(LaunchRefused, match="not among those"):
        picky.launch(attempt(command=("true",), image="example.com/other:1"))
    with pytest.raises(LaunchRefused, match="PriorityClass"):
        KubernetesLauncher(api, replace(shape, priority_class="none-such")).launch(bash("true"))
    with pytest.raises(LaunchRefused, match="namespace"):
        KubernetesLauncher(api, replace(shape, namespace="none-such-there")).launch(bash("true"))
    with pytest.raises(LaunchRefused):
        launcher.launch(Attempt("../../etc", 1, bash("true").spec))
    assert launcher.present() == []


@pytest.mark.parametrize(("image", "reason"), [("Not A Name", "InvalidImage"), ("none.invalid/a:1", "ImagePullFailed")])
def test_an_image_that_cannot_be_had(
    launcher: KubernetesLauncher, monkeypatch: pytest.MonkeyPatch, image: str, reason: str
) -> None:
    monkeypatch.setitem(exec_session.LASTING_S, "ImagePullFailed", 3.0)
    follower = launched(launcher, attempt(command=("true",), image=image, **SMALL))
    assert follower.to_end()["reason"] == reason
    assert not [record for record in follower.records if record.kind == Kind.STARTED]
    told = [body["code"] for body in follower.bodies(Kind.NOTICE)]
    if reason == "ImagePullFailed":
        assert told[0] == "scheduled" and {"pulling", "failed", "image_pull_failed"} <= set(told), told
    assert len(told) == len(set(told)) or told.count("failed") > 1


def test_a_pod_that_somebody_deletes_is_told_as_that(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    script = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye') or 5))
print('ready')
signal.pause()"""
    what = python(script, **SMALL)
    follower = launched(launcher, what)
    follower.until(lambda: b"ready" in follower.output())
    api.call("DELETE", f"/api/v1/namespaces/{shape.namespace}/pods/{pod_name(what)}")
    end = follower.to_end()
    assert (end["reason"], end["exit_code"]) == ("PodDeleted", 5)
    assert follower.output() == b"ready\nbye\n"


def test_a_run_that_no_node_has_room_for_says_so_and_waits_its_time(launcher: KubernetesLauncher) -> None:
    follower = launched(launcher, attempt(command=("true",), cpu=1000.0, queue_timeout_s=1.0))
    assert follower.to_end()["reason"] == "Unschedulable"
    assert "unschedulable" in [body["code"] for body in follower.bodies(Kind.NOTICE)]


@pytest.mark.parametrize("command", [("/bin/busybox", "cat", "/proc/1/cmdline"), ("busybox", "cat", "/proc/1/cmdline")])
def test_an_image_without_a_shell_or_anything(launcher: KubernetesLauncher, command: tuple[str, ...]) -> None:
    follower = launched(launcher, attempt(command=command, image=BARE_IMAGE, **SMALL))
    assert follower.to_end()["exit_code"] == 0
    assert follower.output().startswith(b"/podwire/busybox\0sh\0/podwire/run.sh\0")
