"""The agent under real processes: nothing that was written is lost, nothing starts twice, nothing outlives its attempt."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.agent.records.wire_format import Kind
from app.domain.errors import AttemptGone, LauncherUnavailable
from app.domain.ports import Attempt
from app.launch.local.folder import held
from app.launch.local.launcher import LocalLauncher
from tests.contract.attempts import DEADLINE_S, Follower, attempt, bash, clear, python
from tests.servers import wait_until

LANGUAGES = {"python": ("python3",), "bash": ("bash",), "node": ("node",)}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    # Longer than the name of a unix socket may be.
    return tmp_path / ("long" * 30)


@pytest.fixture
def launcher(root: Path) -> Iterator[LocalLauncher]:
    made = LocalLauncher(root, LANGUAGES, keep_removed_s=600)
    yield made
    clear(made)


def launched(launcher: LocalLauncher, what: Attempt) -> Follower:
    launcher.launch(what)
    return Follower(launcher, what)


def wait_for(condition: Callable[[], object]) -> None:
    wait_until(condition, "it came true", DEADLINE_S)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def agent_pid(root: Path, what: Attempt) -> int:
    return int((root / "attempts" / f"{what.run_id}-{what.number}" / "lock").read_text().split()[0])


# --- bytes


@pytest.mark.trap("S8")
def test_a_flood_of_any_bytes_arrives_exactly(launcher: LocalLauncher) -> None:
    script = (
        "import hashlib,os,random,sys\n"
        "r=random.Random(7); h=hashlib.sha256()\n"
        "for i in range(128):\n"
        " b=r.randbytes(131072); h.update(b); os.write(1,b)\n"
        "os.write(2,h.hexdigest().encode())\n"
    )
    follower = launched(launcher, python(script))
    end = follower.to_end()
    assert end["output_bytes"] == 128 * 131072 + 64
    assert hashlib.sha256(follower.output(Kind.STDOUT)).hexdigest().encode() == follower.output(Kind.STDERR)


def test_prompts_returns_and_split_characters(launcher: LocalLauncher) -> None:
    script = (
        "import os,time\n"
        "os.write(1,b'10%\\r20%\\r'); time.sleep(.1); os.write(1,b'name? ')\n"
        "for b in '\\u20ac\\U0001f600'.encode(): time.sleep(.011); os.write(1,bytes([b]))\n"
        "time.sleep(.2); os.write(1,b'\\xff\\x00\\xf0\\x9f')\n"
    )
    follower = launched(launcher, python(script))
    follower.to_end()
    assert follower.output() == b"10%\r20%\rname? " + "€😀".encode() + b"\xff\x00\xf0\x9f"
    for record in follower.records:
        if record.kind == Kind.STDOUT and b"\xff" not in record.payload and record.payload != b"\xf0\x9f":
            record.payload.decode()


@pytest.mark.parametrize(("size", "cap"), [(100_000, 70_001), (5, 5), (6, 5), (300_000, 1)])
def test_the_output_cap_is_exact(launcher: LocalLauncher, size: int, cap: int) -> None:
    follower = launched(launcher, python(f"print('a'*{size}, end='')", output_limit_bytes=cap))
    end = follower.to_end()
    assert follower.output() == b"a" * min(size, cap)
    assert (end["exit_code"], end["output_bytes"], end["withheld_bytes"]) == (0, min(size, cap), max(0, size - cap))
    assert [notice["from"] for notice in follower.bodies(Kind.NOTICE)] == ([cap] if size > cap else [])


# --- one start


LAUNCH = """
import json, sys
from pathlib import Path
from app.domain.ports import Attempt
from app.domain.runs.spec import RunSpec
from app.launch.local.folder import held
from app.launch.local.launcher import LocalLauncher
root, run_id, spec, rounds = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
launcher = LocalLauncher(Path(root), {"bash": ("bash",)}, 600)
print("up", flush=True)
for number in range(1, rounds + 1):
    sys.stdin.readline()
    launcher.launch(Attempt(run_id, number, RunSpec.from_json(spec)))
    print("done", flush=True)
sys.stdin.readline()
"""


def worker(root: Path, what: Attempt, rounds: int = 1) -> subprocess.Popen[str]:
    """A process that launches the run's attempts 1, 2, … one for each line it gets."""
    import json

    command = [sys.executable, "-c", LAUNCH, str(root), what.run_id, json.dumps(what.spec.to_json()), str(rounds)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    assert process.stdout and process.stdout.readline() == "up\n"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def dismiss(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.trap("R1")
def test_processes_that_launch_the_same_attempt_start_it_once(launcher: LocalLauncher, root: Path, tmp_path: Path) -> None:
    rounds, marks = 20, tmp_path / "marks"
    what = bash(f"echo $PODWIRE_ATTEMPT >> {marks}")
    workers = [worker(root, what, rounds) for _ in range(3)]
    for _ in range(rounds):
        for process in workers:
            tell(process)
        for process in workers:
            assert process.stdout and process.stdout.readline() == "done\n"
    for number in range(1, rounds + 1):
        Follower(launcher, Attempt(what.run_id, number, what.spec)).to_end()
    for process in workers:
        dismiss(process)
    assert sorted(map(int, marks.read_text().split())) == list(range(1, rounds + 1))


@pytest.mark.trap("R5")
def test_the_program_outlives_the_process_that_launched_it(launcher: LocalLauncher, root: Path) -> None:
    what = bash("echo before; read -r line; echo after", stdin=True)
    process = worker(root, what)
    tell(process)
    assert process.stdout and process.stdout.readline() == "done\n"
    follower = Follower(launcher, what)
    follower.until(lambda: b"before" in follower.output())
    os.killpg(process.pid, signal.SIGTERM)
    dismiss(process)
    follower.drop()
    follower.send(Kind.INPUT, "input-1", data="x\n")
    assert follower.to_end()["exit_code"] == 0
    assert follower.output() == b"before\nafter\n"
    assert [child for child in _children(os.getpid()) if not alive(child)] == []


def _children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in listed.split()]


def test_an_attempt_whose_launcher_died_half_way_is_started_by_the_next(
    launcher: LocalLauncher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = bash("echo once")
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(LauncherUnavailable):
            launcher.launch(what)
    assert launcher.present() == [(what.run_id, 1)]
    follower = launched(launcher, what)
    follower.to_end()
    assert follower.output() == b"once\n"


# --- the agent's death


@pytest.mark.trap("R5")
def test_a_killed_agent_takes_the_program_along_and_loses_no_record(launcher: LocalLauncher, root: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    what = bash(
        f"trap '' TERM HUP INT; sleep 300 & echo $$ $! > {pids}; for i in $(seq 1000); do echo line $i; done; echo done; wait"
    )
    follower = launched(launcher, what)
    follower.until(lambda: b"done\n" in follower.output())
    os.kill(agent_pid(root, what), signal.SIGKILL)
    with pytest.raises(AttemptGone):
        follower.until(lambda: False)
    # Gone means gone: nobody is told so while the program lives.
    assert [pid for pid in map(int, pids.read_text().split()) if alive(pid)] == []
    late = Follower(launcher, what)
    with pytest.raises(AttemptGone):
        late.until(lambda: False)
    assert late.frames() == follower.frames()
    assert late.output() == b"".join(b"line %d\n" % i for i in range(1, 1001)) + b"done\n"


DIES_WITH_A_NEW_GUARDIAN = """
import os, signal, sys
from app.agent.program import start
agent, setpgid = os.getpid(), os.setpgid
os.setpgid = lambda *ids: os.kill(agent, signal.SIGKILL) if os.getpid() == agent else setpgid(*ids)
start.begin(sys.argv[1])"""


def test_an_agent_that_dies_once_its_guardian_is_there_can_be_removed(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(folder: Path) -> None:
        died = subprocess.run([sys.executable, "-c", DIES_WITH_A_NEW_GUARDIAN, str(folder)], cwd=ROOT, timeout=DEADLINE_S)
        assert died.returncode == -signal.SIGKILL

    monkeypatch.setattr("app.launch.local.launcher._spawn_agent", die)
    what = bash("sleep 60")
    launcher.launch(what)
    assert launcher.remove(what) is True
    assert launcher.present() == []


def test_half_a_record_at_the_end_of_a_dead_agents_spool_is_left_out(launcher: LocalLauncher, root: Path) -> None:
    what = bash("echo whole; sleep 300")
    follower = launched(launcher, what)
    follower.until(lambda: b"whole" in follower.output())
    os.kill(agent_pid(root, what), signal.SIGKILL)
    with pytest.raises(AttemptGone):
        follower.until(lambda: False)
    with open(root / "attempts" / f"{what.run_id}-1" / "spool", "ab") as spool:
        spool.write(follower.frames()[-1][:-1])
    late = Follower(launcher, what)
    with pytest.raises(AttemptGone):
        late.until(lambda: False)
    assert late.frames() == follower.frames()


def test_the_end_is_known_after_the_agent_left(launcher: LocalLauncher, root: Path) -> None:
    what = bash("echo hello")
    follower = launched(launcher, what)
    follower.to_end()
    pid = agent_pid(root, what)
    follower.send(Kind.FINISH, "finish")
    follower.drop()
    wait_for(lambda: not alive(pid))
    late = Follower(launcher, what)
    assert late.to_end()["exit_code"] == 0
    assert late.frames() == follower.frames()
    assert late.send(Kind.FINISH, "finish")["ok"] is True
    beyond = Follower(launcher, what, late.position)
    with pytest.raises(AttemptGone):
        beyond.until(lambda: False)


def test_a_second_agent_does_not_start_what_has_ended(launcher: LocalLauncher, root: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    what = bash(f"echo x >> {marks}")
    follower = launched(launcher, what)
    follower.to_end()
    pid = agent_pid(root, what)
    follower.send(Kind.FINISH, "finish")
    follower.drop()
    wait_for(lambda: not alive(pid))
    folder = root / "attempts" / f"{what.run_id}-1"
    for _ in range(3):
        subprocess.run([sys.executable, "-I", "-S", str(ROOT / "app/agent/__main__.py"), str(folder)], check=True)
        wait_for(lambda: not held(folder))
    late = Follower(launcher, what)
    late.to_end()
    assert late.frames() == follower.frames()
    assert marks.read_text() == "x\n"


def test_removing_ends_processes_that_left_the_group(launcher: LocalLauncher, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    what = bash(f"setsid sh -c 'echo $$ > {pids}; exec sleep 300' >/dev/null 2>&1 & mkdir -p a/b; chmod 0 a; sleep 300")
    follower = launched(launcher, what)
    wait_for(lambda: pids.exists() and pids.read_text())
    stray = int(pids.read_text())
    assert alive(stray)
    launcher.remove(what)
    wait_for(lambda: not alive(stray))
    follower.drop()


def test_a_stopped_group_can_be_removed(launcher: LocalLauncher, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    what = bash(f"echo $$ > {pids}; kill -STOP 0; sleep 300")
    follower = launched(launcher, what)
    wait_for(lambda: pids.exists() and pids.read_text())
    launcher.remove(what)
    wait_for(lambda: not alive(int(pids.read_text())))
    follower.drop()


def test_a_grandchild_that_keeps_the_pipes_does_not_keep_the_run(launcher: LocalLauncher, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    what = bash(f"sleep 300 & echo $! > {pids}; echo bye")
    end = launched(launcher, what).to_end()
    assert end["exit_code"] == 0
    wait_for(lambda: not alive(int(pids.read_text())))


# --- questions

ASK_TWO = """
import podwire, threading
def ask(name):
    print(name, podwire.text(name), flush=True)
threads = [threading.Thread(target=ask, args=(name,)) for name in ("first", "second")]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.trap("Q12")
def test_two_questions_answered_in_reverse(launcher: LocalLauncher) -> None:
    follower = launched(launcher, python(ASK_TWO))
    follower.until(lambda: len(follower.bodies(Kind.QUESTION)) == 2)
    texts = {body["number"]: str(body["text"]) for body in follower.bodies(Kind.QUESTION)}
    assert sorted(texts) == [1, 2]
    for number in (2, 1):
        assert follower.answer(number, f"answer {texts[number]}")["ok"] is True
        follower.until(lambda number=number: texts[number].encode() in follower.output())  # type: ignore[misc]
    follower.to_end()
    assert follower.output() == b"".join(b"%s answer %s\n" % (2 * (texts[n].encode(),)) for n in (2, 1))
    assert [taken["number"] for taken in follower.bodies(Kind.TAKEN)] == [2, 1]


def test_output_before_a_question_comes_before_it_and_output_after_an_answer_after_it(launcher: LocalLauncher) -> None:
    script = (
        "import podwire,sys\nfor i in range(20):\n print('before', i); sys.stderr.write('e'); podwire.ask('q'); print('after', i)"
    )
    follower = launched(launcher, python(script))
    for number in range(1, 21):
        follower.until(lambda number=number: len(follower.bodies(Kind.QUESTION)) == number)  # type: ignore[misc]
        follower.answer(number, "x")
    follower.to_end()
    out, err, asked, taken = b"", b"", 0, 0
    for record in follower.records:
        if record.kind == Kind.STDOUT:
            out += record.payload
        if record.kind == Kind.STDERR:
            err += record.payload
        if record.kind == Kind.QUESTION:
            asked += 1
        if record.kind in (Kind.QUESTION, Kind.TAKEN):
            assert (out.count(b"before"), len(err), out.count(b"after")) == (asked, asked, taken)
        if record.kind == Kind.TAKEN:
            taken += 1
    assert (asked, taken) == (20, 20)


def test_a_reply_counts_once(launcher: LocalLauncher) -> None:
    follower = launched(launcher, python("import podwire\nprint(podwire.ask('q'))"))
    follower.until(lambda: follower.bodies(Kind.QUESTION))
    assert follower.send(Kind.REPLY, "a", number=1, state="answered", value="one")["ok"] is True
    assert follower.send(Kind.REPLY, "a", number=1, state="answered", value="two")["ok"] is True
    assert follower.send(Kind.REPLY, "b", number=1, state="answered", value="two")["ok"] is False
    assert follower.send(Kind.REPLY, "c", number=2, state="answered", value="two")["ok"] is False
    follower.to_end()
    assert follower.output() == b"one\n"
    assert len(follower.bodies(Kind.TAKEN)) == 1


@pytest.mark.parametrize(
    ("options", "state", "value", "out", "code"),
    [
        ("'Your name?'", "answered", "Ada L.", b"Ada L.\n", 0),
        ("--confirm 'Go?'", "answered", True, b"yes\n", 0),
        ("--confirm 'Go?'", "answered", False, b"no\n", 1),
        ("--confirm --default no --timeout 5m 'Go?'", "expired", None, b"no\n", 1),
        ("--number -- -1", "answered", 4.5, b"4.5\n", 0),
        ("--choice 'a b' --choice $'c\\nd' Which", "answered", "c\nd", b"c\nd\n", 0),
        ('--form \'{"type": "object"}\' Q', "answered", {"a": [1]}, b'{"a": [1]}\n', 0),
        ("--default plan Q", "expired", None, b"plan\n", 0),
        ("Q", "expired", None, b"The question was expired.\n", 3),
        ("Q", "closed", None, b"The question was closed.\n", 4),
        ("Q", "refused", None, b"The question was refused.\n", 2),
    ],
)
def test_asking_from_the_shell(launcher: LocalLauncher, options: str, state: str, value: object, out: bytes, code: int) -> None:
    follower = launched(launcher, bash(f'ask {options}; echo "code $?"; ls $PODWIRE_DIR/ask'))
    follower.until(lambda: follower.bodies(Kind.QUESTION))
    follower.answer(1, value, state)
    follower.to_end()
    # Two pipes have no common order: what it could not answer with is on stderr.
    told, said = (b"", out) if code > 1 else (out, b"")
    assert (follower.output(Kind.STDOUT), follower.output(Kind.STDERR)) == (told + b"code %d\n" % code, said)


def test_what_the_shell_asked_arrives_as_it_was_written(launcher: LocalLauncher) -> None:
    follower = launched(
        launcher, bash("ask --anyone --timeout 90 --choice 'a\"b\\' --choice ' c ' --default ' c ' $'Which\\n\\n one \"?\\t€'")
    )
    follower.until(lambda: follower.bodies(Kind.QUESTION))
    asked = follower.bodies(Kind.QUESTION)[0]
    assert asked == {
        "number": 1, "text": 'Which\n\n one "?\t€', "kind": "choice", "choices": ['a"b\\', " c "],
        "default": " c ", "schema": None, "timeout_s": 90.0, "who": "anyone",
    }  # fmt: skip
    follower.answer(1, " c ")
    follower.to_end()
    assert follower.output() == b" c \n"


@pytest.mark.parametrize("wrong", ["", "--nonsense x", "--choice", "a b", "--timeout soon q", "--confirm --default 7 q"])
def test_wrong_usage_of_ask(launcher: LocalLauncher, wrong: str) -> None:
    follower = launched(launcher, bash(f"ask {wrong} 2>/dev/null; echo $?"))
    follower.to_end()
    assert follower.output() == b"2\n"
    assert follower.bodies(Kind.QUESTION) == []


def test_the_errors_of_the_python_module(launcher: LocalLauncher) -> None:
    script = (
        "import podwire\n"
        "for i in range(4):\n"
        " try: print(podwire.confirm('q', default=False if i == 3 else None))\n"
        " except podwire.NotAnswered as e: print(type(e).__name__, e)\n"
    )
    follower = launched(launcher, python(script))
    for number, state in enumerate(["expired", "closed", "refused", "expired"], 1):
        follower.until(lambda number=number: len(follower.bodies(Kind.QUESTION)) == number)  # type: ignore[misc]
        follower.answer(number, None, state)
    follower.to_end()
    assert [line.split()[0] for line in follower.output().splitlines()] == [b"Expired", b"Closed", b"Refused", b"False"]


def test_hostile_files_among_the_questions_stop_nothing(launcher: LocalLauncher) -> None:
    script = (
        "cd $PODWIRE_DIR/ask; mkfifo p.ask; mkdir d.ask; ln -s /dev/zero z.ask; ln -s /etc/passwd l.ask; printf '{' > j.ask\n"
        "head -c 200000 /dev/zero > big.ask; printf '{\"text\":\"\\\\ud800\"}' > s.ask; printf '[1]' > a.ask\n"
        "chmod 0 a.ask 2>&-\n"
        "mkdir x.reply; printf 'text\\n lost\\n' > x.ask; for i in $(seq 50); do printf . 1<>$PODWIRE_DIR/bell; done\n"
        "rm $PODWIRE_DIR/bell; ask still; cat j.reply s.reply\n"
    )
    follower = launched(launcher, bash(script))
    follower.until(lambda: any(body["text"] == "still" for body in follower.bodies(Kind.QUESTION)))
    by_text = {body["text"]: body["number"] for body in follower.bodies(Kind.QUESTION)}
    assert follower.answer(int(str(by_text["lost"])), "x")["ok"] is False
    assert follower.answer(int(str(by_text["still"])), "here")["ok"] is True
    assert follower.to_end()["exit_code"] == 0
    assert follower.output(Kind.STDOUT).startswith(b"here\n")
    assert follower.output(Kind.STDOUT).count(b'"refused"') == 2


def test_a_program_that_takes_its_own_folder_away_goes_on(launcher: LocalLauncher) -> None:
    for _ in range(5):
        follower = launched(launcher, bash('rm -rf "$PODWIRE_DIR"; echo gone; echo still here'))
        assert follower.to_end()["exit_code"] == 0
        assert follower.output() == b"gone\nstill here\n"


# --- limits and surroundings


def test_the_program_sees_nothing_of_the_service(launcher: LocalLauncher, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    what = bash("env; ls -l /proc/self/fd | grep -c /; cat /proc/$PPID/environ /proc/$PPID/cmdline", env={"MINE": "in\nmine"})
    follower = launched(launcher, what)
    follower.to_end()
    assert b"secret" not in follower.output()
    assert b"MINE=in\nmine\n" in follower.output()
    folder = root / "attempts" / f"{what.run_id}-1"
    assert (folder.stat().st_mode & 0o777, (folder / "config").stat().st_mode & 0o777) == (0o700, 0o600)
    names = {line.split(b"=")[0] for line in follower.output().split(b"\n") if line.startswith(b"PODWIRE_")}
    limits = {b"PODWIRE_CPU_MILLICORES", b"PODWIRE_MEMORY_BYTES", b"PODWIRE_DISK_BYTES", b"PODWIRE_PIDS"}
    assert names == {b"PODWIRE_DIR", b"PODWIRE_RUN_ID", b"PODWIRE_ATTEMPT", *limits}


@pytest.mark.parametrize(
    "what",
    [
        python("b = bytearray(200_000_000)", memory_bytes=100 * 1024**2),
        attempt(script="const a=[]; for(;;) a.push(Buffer.alloc(1e7, 1))", language="node", memory_bytes=512 * 1024**2),
        bash("head -c 3000000 /dev/zero > big", disk_bytes=1024**2),
    ],
    ids=["python", "node", "disk"],
)
def test_limits_end_what_goes_beyond_them(launcher: LocalLauncher, what: Attempt) -> None:
    end = launched(launcher, what).to_end()
    assert end["exit_code"] != 0
    assert int(str(end["peak_memory_bytes"])) < 600 * 1024**2


def test_what_is_within_its_limits_runs(launcher: LocalLauncher) -> None:
    for what in (
        python("b = bytearray(50_000_000); print('ok')", memory_bytes=128 * 1024**2),
        attempt(script="console.log('ok')", language="node", memory_bytes=256 * 1024**2),
        bash("echo ok | cat", memory_bytes=16 * 1024**2),
    ):
        follower = launched(launcher, what)
        assert follower.to_end()["exit_code"] == 0
        assert follower.output() == b"ok\n"


def test_a_program_that_nobody_stops_is_killed_when_its_own_time_is_over(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.launch.local.folder.backstop_s", lambda spec: 0.7)
    follower = launched(launcher, bash("ask waiting; echo on; sleep 300"))
    follower.until(lambda: follower.bodies(Kind.QUESTION))
    until = time.monotonic() + 1.2
    follower.until(lambda: time.monotonic() > until)
    assert follower.bodies(Kind.NOTICE) == []
    follower.answer(1, "x")
    end = follower.to_end()
    assert end["signal"] == "SIGKILL"
    assert b"on\n" in follower.output()
    assert [notice["code"] for notice in follower.bodies(Kind.NOTICE)] == ["time_limit"]


def test_removed_attempts_are_forgotten_after_a_while(root: Path) -> None:
    launcher = LocalLauncher(root, LANGUAGES, keep_removed_s=0.0)
    what = bash("true")
    launched(launcher, what).to_end()
    launcher.remove(what)
    launcher.sweep()
    assert [path.name for path in root.rglob("*")] and not list((root / "removed").iterdir())
    assert not list((root / "trash").iterdir())
    assert not list((root / "drafts").iterdir())
