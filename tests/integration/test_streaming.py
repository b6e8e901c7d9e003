"""Streaming over replicas: everything reaches every watcher once and in order, whenever it comes, leaves or stalls."""

from __future__ import annotations

import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import websocket

from tests.integration.client import Client
from tests.integration.cluster import Podwire, Process
from tests.integration.transcript import Transcript
from tests.integration.watcher import Refused, Watcher, open_socket, read_frame, watch
from tests.servers import wait_until


def ticking(count: int, every_s: float = 0.02) -> tuple[str, bytes]:
    """Return a script that writes numbered lines, and what it writes."""
    return f"for i in $(seq {count}); do echo line $i; sleep {every_s}; done", lines(1, count)


def lines(first: int, last: int) -> bytes:
    """Return the numbered lines."""
    return b"".join(b"line %d\n" % number for number in range(first, last + 1))


@pytest.mark.trap("S2")
def test_every_socket_on_every_replica_gets_every_event_once(client: Client) -> None:
    script, expected = ticking(40)
    run = client.submit(script)
    watchers = [watch(client.at(replica), run, kind) for replica in range(3) for kind in ("ws", "ws", "sse")]
    told = [watcher.finish(expected) for watcher in watchers]
    assert all(transcript.events == told[0].events and transcript.resets == 0 for transcript in told)


@pytest.mark.trap("S3")
def test_what_is_written_while_nobody_is_connected_is_told_later(client: Client, tmp_path: Path) -> None:
    run = client.submit(f"echo before; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; {ticking(50, 0)[0]}; echo $(ask ok?)")
    transcript = Transcript()
    connection = open_socket(client.at(0), run)
    while b"before" not in transcript.shown:
        transcript.frame(read_frame(connection)[0] or "")
    connection.shutdown()
    (tmp_path / "go").touch()
    (question,) = client.wait_question(run)

    watcher = watch(client.at(1), run, transcript=transcript)
    watcher.wait_event("question")
    client.answer(question["id"], "yes").must(200)
    watcher.finish(b"before\n" + lines(1, 50) + b"yes\n")


@pytest.mark.trap("S4")
def test_joining_at_any_moment_misses_nothing(podwire: Podwire, client: Client) -> None:
    script, expected = ticking(400, 0.005)
    run = client.submit(script)
    watchers: list[Watcher] = []
    with podwire.redis.client() as redis:
        for number in range(30):
            if number % 5 == 0:
                # Whatever a replica does between subscribing and reading takes long now, while the program writes on.
                redis.execute_command("CLIENT", "PAUSE", "60", "WRITE" if number % 2 else "ALL")
            watchers.append(watch(client, run, "sse" if number % 3 == 0 else "ws"))
            time.sleep(random.uniform(0.0, 0.08))
    for watcher in watchers:
        watcher.finish(expected)


@pytest.mark.trap("S5")
def test_a_question_behind_much_output_is_found_and_the_output_too(client: Client) -> None:
    size = 6_000_000
    run = client.submit(f"head -c {size} /dev/zero | tr '\\0' x; echo; ask --choice red --choice green 'Which?'")
    (question,) = client.wait_question(run)
    watchers = [watch(client.at(replica), run, kind) for replica, kind in ((0, "ws"), (1, "sse"), (2, "ws"))]
    for watcher in watchers:
        (event,) = watcher.wait_event("question")
        assert event["question"]["choices"] == ["red", "green"]
    client.answer(question["id"], "green").must(200)
    for watcher in watchers:
        watcher.finish(b"x" * size + b"\ngreen\n")


@pytest.mark.trap("S5")
def test_output_beyond_the_cap_is_withheld_with_a_notice_and_the_question_still_comes(client: Client) -> None:
    script = "head -c 50000 /dev/zero | tr '\\0' x; ask --confirm 'Go on?'; head -c 5000 /dev/zero"
    run = client.submit(script, output_limit=10_000)
    watcher = watch(client, run)
    question = watcher.wait_event("question")[0]["question"]
    client.answer(question["id"], True).must(200)
    told = watcher.finish(b"x" * 10_000)
    (notice,) = told.of_kind("notice")
    assert (notice["code"], notice["from"]) == ("output_limit", 10_000)
    assert told.end["output_bytes"] == 10_000
    assert told.end["withheld_bytes"] == 50_000 + len("yes\n") + 5_000 - 10_000


@pytest.mark.trap("S6")
def test_a_finished_run_is_told_with_its_end_on_every_replica(client: Client) -> None:
    run = client.at(0).submit("echo quick")
    client.wait_end(run)
    for replica in range(3):
        on_socket, on_sse = watch(client.at(replica), run), watch(client.at(replica), run, "sse")
        assert on_socket.finish(b"quick\n").events == on_sse.finish(b"quick\n").events
        connection = open_socket(client.at(replica), run, on_socket.transcript.position)
        frames = []
        while (frame := read_frame(connection))[1] is None:
            frames.append(frame[0])
        connection.shutdown()
        assert frame[1] == 1000 and len(frames) == 1 and '"type":"hello"' in str(frames[0])


ENDINGS = {
    "succeeded Completed": {"script": "true"},
    "failed NonZeroExit": {"script": "exit 7"},
    "failed Signalled": {"script": "kill -9 $$"},
    "failed LaunchFailed": {"command": ["no-such-program-anywhere"]},
    "timed_out RunTimeout": {"script": "echo begun; sleep 60", "timeout": 1, "grace": 0},
    "cancelled CancelledByUser": {"script": "echo begun; sleep 60", "grace": 0},
    # The program kills its own agent: how it ended cannot be known, but that it ended must be told.
    "failed AgentLost": {"script": "sleep 0.3; kill -9 $PPID; sleep 60"},
}


@pytest.mark.trap("S7")
@pytest.mark.trap("L5")
def test_every_kind_of_ending_is_told_with_exactly_one_end_event(client: Client) -> None:
    watchers = {}
    for wanted, spec in ENDINGS.items():
        language = {} if "command" in spec else {"language": "bash"}
        run = str(client.post("/v1/runs", {**spec, **language}).must(201, 202).json["id"])
        watchers[wanted] = watch(client, run, "sse" if len(watchers) % 2 else "ws")
    cancelled = watchers["cancelled CancelledByUser"]
    cancelled.wait_for("begun")
    client.cancel(cancelled.run_id).must(200, 202)
    for wanted, watcher in watchers.items():
        end = watcher.finish().end
        assert f"{end['status']} {end['reason']}" == wanted
        assert end["message"]
        run_now = client.run(watcher.run_id)
        assert (run_now["status"], run_now["outcome"]["reason"]) == (end["status"], end["reason"])  # type: ignore[index]


@pytest.mark.trap("S8")
def test_bytes_that_are_no_text_and_characters_in_pieces_arrive_as_written(client: Client) -> None:
    script = """
import os, time
whole = "äöü€𝄞 ".encode() * 50 + bytes(range(256)) * 3 + b"\\r\\n\\0end"
for at in range(0, len(whole), 7):
    os.write(1 + (at // 700) % 2, whole[at:at + 7])
    if at % 70 == 0: time.sleep(0.01)
"""
    expected = "äöü€𝄞 ".encode() * 50 + bytes(range(256)) * 3 + b"\r\n\0end"
    run = client.submit(script, "python")
    watchers = [watch(client, run, "ws"), watch(client, run, "sse"), watch(client, run, "ws", drop_every_s=0.2)]
    told = [watcher.finish() for watcher in watchers]
    assert told[0].output == told[1].output == told[2].output == client.output(run)
    assert len(told[0].output) == len(expected)
    for number, stream in enumerate(("stdout", "stderr")):
        written = b"".join(expected[at : at + 7] for at in range(0, len(expected), 7) if at // 700 % 2 == number)
        own = Transcript()
        own.events = [event for event in told[0].of_kind("output") if event["stream"] == stream]
        assert own.output == written


@pytest.mark.trap("S9")
def test_a_run_that_nobody_watches_ends_and_is_stored(client: Client) -> None:
    script, expected = ticking(20, 0.01)
    run = client.submit(script)
    assert client.wait_end(run)["status"] == "succeeded"
    assert client.output(run) == expected


def _server_of(process: Process) -> int:
    """Return the pid of the process that serves requests: the only child of gunicorn's master."""
    if process.popen is None:
        raise AssertionError("not started")
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _subscriptions(podwire: Podwire) -> int:
    with podwire.redis.client() as redis:
        return len(redis.pubsub_channels("pw:{*"))


@pytest.mark.trap("S10")
def test_aborted_handshakes_and_broken_sockets_leave_nothing_behind(podwire: Podwire, client: Client) -> None:
    web = podwire.web[0]
    run = client.submit("sleep 60")
    client.wait_status(run, "running")
    pid = _server_of(web)
    watch_once = open_socket(client.at(0), run)
    read_frame(watch_once)
    watch_once.shutdown()
    wait_until(lambda: _subscriptions(podwire) == 0, "all subscriptions of former tests were over")
    files = _open_files(pid)
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    request = (
        f"GET /v1/runs/{run}/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Authorization: Bearer {client.token}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n"
    ).encode()
    for number in range(200):
        with socket.create_connection(("127.0.0.1", web.port)) as half:
            # Some leave in the middle of the request, some right after it, some with a reset.
            half.sendall(request[: random.randrange(len(request))] if number % 3 == 0 else request)
            if number % 3 == 2:
                half.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: _subscriptions(podwire) == 0, "all subscriptions were given up", 40)
    wait_until(lambda: _open_files(pid) <= files + 3, "the files were closed", 40)
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) <= threads + 12
    client.cancel(run)


@pytest.mark.trap("S11")
def test_sockets_beyond_the_cap_are_refused_and_health_stays(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=1, workers=1, max_sockets=5)
    client = podwire.client()
    run = client.submit("sleep 60")
    sockets = [open_socket(client, run) for _ in range(5)]
    for _ in range(5):
        with pytest.raises(Refused) as refused:
            open_socket(client, run)
        assert refused.value.status == 503 and b'"too_many_sockets"' in refused.value.body
    client.get(f"/v1/runs/{run}/events").refused(503, "too_many_sockets")
    assert client.get("/livez").status == client.get("/readyz").status == 200
    sockets.pop().close()
    wait_until(lambda: _can_open(client, run, sockets), "the place was free again")
    for one in sockets:
        one.shutdown()
    client.cancel(run)


def _can_open(client: Client, run: str, sockets: list[websocket.WebSocket]) -> bool:
    with suppress(Refused):
        sockets.append(open_socket(client, run))
        return True
    return False


@pytest.mark.trap("S12")
def test_a_stalled_reader_holds_up_nobody_and_resumes(client: Client) -> None:
    size = 8_000_000
    run = client.submit(f"echo ready; sleep 0.3; head -c {size} /dev/urandom | base64 -w 80 | head -c {size}; echo; echo done")
    transcript = Transcript()
    tiny = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),)
    stalled = open_socket(client.at(0), run, sockopt=tiny)
    others = [watch(client.at(0), run), watch(client.at(0), run, "sse"), watch(client.at(1), run)]
    told = [other.finish() for other in others]
    assert len(told[0].output) == size + len("ready\n\ndone\n")
    while (frame := read_frame(stalled))[0] is not None:
        transcript.frame(frame[0])
    stalled.shutdown()
    watch(client.at(2), run, transcript=transcript).finish(told[0].output)


@pytest.mark.trap("S13")
@pytest.mark.trap("D11")
def test_a_replica_that_leaves_says_so_and_its_watchers_resume_elsewhere(podwire: Podwire, client: Client) -> None:
    script, expected = ticking(100)
    run = client.submit(f"{script}; ask go >/dev/null")
    leaving = podwire.web[0]
    watchers = [Watcher(client.at(0, 1), run, "sse" if number % 4 == 3 else "ws", seed=number) for number in range(40)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.wait_connected()
    leaving.send(signal.SIGTERM)
    assert leaving.wait() == 0
    closes = [code for watcher in watchers if watcher.kind == "ws" for code in watcher.closes]
    # Only now may the run end, which closes streams in another way.
    (question,) = client.at(1).wait_question(run)
    client.at(1).answer(question["id"], "on")
    for watcher in watchers:
        watcher.finish(expected)
    leaving.start()
    podwire.wait_ready()
    assert closes and set(closes) == {1012}


@pytest.mark.trap("S13")
def test_a_replica_that_leaves_is_not_ready_and_takes_no_new_streams(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=1, workers=1, drain_s=3)
    client = podwire.client()
    run = client.submit("sleep 60")
    sockets = [open_socket(client, run) for _ in range(40)]
    podwire.web[0].send(signal.SIGTERM)
    wait_until(lambda: not podwire.web[0].ready(), "it was not ready any more")
    with suppress(OSError):
        # As long as it answers at all, it refuses streams and says that it lives.
        with pytest.raises(Refused) as refused:
            open_socket(client, run)
        assert refused.value.status == 503 and b'"draining"' in refused.value.body
        assert client.get("/livez").status == 200
    codes = set()
    for one in sockets:
        while (frame := read_frame(one))[1] is None:
            pass
        codes.add(frame[1])
        one.shutdown()
    assert codes == {1012}
    assert podwire.web[0].wait() == 0


@pytest.mark.trap("S15")
def test_streams_go_on_when_redis_crashes_and_when_it_is_emptied(podwire: Podwire, client: Client) -> None:
    script, expected = ticking(300)
    run = client.submit(script)
    watchers = [watch(client.at(replica), run, kind) for replica in range(3) for kind in ("ws", "sse")]
    watchers[0].wait_for("line 40\n")
    podwire.redis.kill()
    watchers[0].wait_event("status")
    time.sleep(0.5)
    podwire.redis.start()
    watchers[0].wait_for("line 120\n")
    with podwire.redis.client() as redis:
        redis.flushall()
    watchers[0].wait_for("line 200\n")
    with podwire.redis.client() as redis:
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    for watcher in watchers:
        watcher.finish(expected)


@pytest.mark.trap("S16")
def test_strangers_see_nothing_on_any_replica(podwire: Podwire, client: Client) -> None:
    run = client.submit("echo secret; ask ok?")
    (question,) = client.wait_question(run)
    stranger = podwire.client()
    nobody = Client(client.urls)
    forged = Client(client.urls, "pw_" + "A" * 43)
    for replica in range(3):
        for position in ("0-0", "1-1"):
            for other, status in ((stranger, 404), (nobody, 401), (forged, 401)):
                with pytest.raises(Refused) as refused:
                    open_socket(other.at(replica), run, position).shutdown()
                assert refused.value.status == status
        for path in ("", "/events", "/output", "/questions"):
            stranger.at(replica).get(f"/v1/runs/{run}{path}").refused(404, "not_found")
            nobody.at(replica).get(f"/v1/runs/{run}{path}").refused(401, "unauthenticated")
    stranger.cancel(run).refused(404, "not_found")
    stranger.answer(question["id"], "mine").refused(404, "not_found")
    assert all(item["id"] != run for item in stranger.get("/v1/runs").must(200).json["items"])  # type: ignore[attr-defined]
    client.cancel(run)


@pytest.mark.trap("S14")
def test_a_revoked_token_ends_the_conversation_and_opens_no_other(podwire: Podwire, client: Client) -> None:
    run = client.submit("sleep 60", grace=0)
    connection = open_socket(client.at(0), run)
    connection.send('{"type":"ping","id":"p1"}')
    while '"p1"' not in str(read_frame(connection)[0]):
        continue
    podwire.revoke_tokens(client)
    connection.send('{"type":"cancel","id":"c1"}')
    while (frame := read_frame(connection))[1] is None:
        continue
    connection.shutdown()
    assert frame[1] == 4401
    for replica in range(3):
        with pytest.raises(Refused) as refused:
            open_socket(client.at(replica), run)
        assert refused.value.status == 401
    again = podwire.client_of(client.person)
    assert again.status(run) in ("starting", "running")
    again.cancel(run)
