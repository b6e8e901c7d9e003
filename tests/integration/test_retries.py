"""Several attempts of one run, with real processes: one stream, one end, each attempt started once, nobody blocked meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import watch
from tests.servers import Postgres, wait_until

AGAIN = {"reasons": ["NonZeroExit", "Signalled"]}
NOTED = 'echo "$PODWIRE_ATTEMPT"; echo "$PODWIRE_RUN_ID $PODWIRE_ATTEMPT" >> %s; '
FIRST_FAILS = NOTED + '[ "$PODWIRE_ATTEMPT" -gt 1 ] || exit 3; echo done'


@pytest.fixture(scope="module")
def stubborn(postgres: Postgres) -> Iterator[Podwire]:
    """A Podwire with one place, that gives a launch half a second and waits three before a second attempt."""
    settings = {"max_active": 1, "max_active_per_owner": 1, "retry_backoff_s": 3, "launch_within_s": 0.5}
    podwire = Podwire(postgres, web=3, workers=2, **settings)
    try:
        podwire.start()
        yield podwire
    finally:
        podwire.stop()


@pytest.fixture
def client(stubborn: Podwire) -> Iterator[Client]:
    yield stubborn.client()
    stubborn.must_run()


@contextmanager
def no_launcher(podwire: Podwire) -> Iterator[Callable[[], None]]:
    """Have every launch fail until the end of the block, or until the function is called."""
    drafts = podwire.folder / "state/local/drafts"
    drafts.rename(drafts.with_name("away"))
    drafts.touch()

    def mend() -> None:
        if drafts.is_file():
            drafts.unlink()
            drafts.with_name("away").rename(drafts)

    try:
        yield mend
    finally:
        mend()


def reasons(run: dict[str, object]) -> list[object]:
    return [each["outcome"] and each["outcome"]["reason"] for each in run["attempts"]]  # type: ignore[attr-defined]


@pytest.mark.trap("S6", "R1")
def test_watchers_see_one_stream_over_the_attempts_and_each_is_kept_by_itself(client: Client, starts: Path) -> None:
    run = client.submit(FIRST_FAILS % starts, retry=AGAIN)
    watchers = [watch(client, run, kind) for kind in ("ws", "sse")]
    late = watch(client, run, "ws", drop_every_s=0.3)
    for watcher in (*watchers, late):
        told = watcher.finish(b"1\n2\ndone\n")
        statuses = [(event["status"], event["attempt"]) for event in told.of_kind("status")]
        assert statuses == [("starting", 1), ("running", 1), ("queued", 2), ("starting", 2), ("running", 2)]
        (queued,) = (event for event in told.of_kind("status") if event["status"] == "queued")
        assert queued["former"]["exit_code"] == 3 and "attempt 2 of 3 in about" in queued["message"]
        assert told.end["status"] == "succeeded" and not told.resets
    ended = client.run(run)
    assert (ended["status"], ended["attempt"], reasons(ended)) == ("succeeded", 2, ["NonZeroExit", "Completed"])
    first, second = ended["attempts"]  # type: ignore[misc]
    assert client.get(first["output"]).must(200).body == b"1\n"
    assert client.get(second["output"]).must(200).body == b"2\ndone\n"
    part = client.request("GET", second["output"], headers={"Range": "bytes=2-5"}).must(206)
    assert part.body == b"done" and part.headers["content-range"] == "bytes 2-5/7"
    assert client.output(run) == b"1\n2\ndone\n"
    client.get(f"/v1/runs/{run}/output?attempt=3").refused(404, "not_found")
    assert starts.read_text().splitlines() == [f"{run} 1", f"{run} 2"]


@pytest.mark.trap("C9")
def test_a_high_run_that_fails_and_waits_lets_a_normal_one_pass_and_then_has_its_turn(client: Client) -> None:
    high = client.submit('[ "$PODWIRE_ATTEMPT" -gt 1 ] || exit 3', priority="high", retry=AGAIN)
    waiting = client.wait_status(high, "queued")
    while waiting["attempt"] == 1:
        waiting = client.wait_status(high, "queued", "starting", "running")
    normal = client.submit("echo passed", priority="normal")
    waiting = client.run(high)
    assert client.wait_end(normal)["status"] == "succeeded"
    assert waiting["status"] == "queued"
    assert str(waiting["wait"]["message"]).startswith("attempt 2 of 3 in about ")  # type: ignore[index]
    assert str(waiting["wait"]["message"]).endswith("NonZeroExit")  # type: ignore[index]
    ended = client.wait_end(high)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    assert str(ended["started_at"]) > str(client.run(normal)["ended_at"])


@pytest.mark.trap("C8")
def test_a_launcher_that_fails_for_a_while_costs_attempts_and_not_the_run(stubborn: Podwire, client: Client) -> None:
    with no_launcher(stubborn) as mend:
        run = client.submit("echo at last")
        watcher = watch(client, run)
        wait_until(lambda: len(client.run(run)["attempts"]) == 3, "two attempts failed")  # type: ignore[arg-type]
        mend()
        ended = client.wait_end(run)
    watcher.finish(b"at last\n")
    assert (ended["status"], reasons(ended)) == ("succeeded", ["LaunchFailed", "LaunchFailed", "Completed"])


@pytest.mark.trap("C8")
def test_a_launcher_that_fails_for_long_ends_the_run_with_its_reason(stubborn: Podwire, client: Client) -> None:
    with no_launcher(stubborn):
        run = client.submit("echo never", retry={"max_attempts": 2})
        ended = client.wait_end(run)
    assert (ended["status"], reasons(ended)) == ("failed", ["LaunchFailed", "LaunchFailed"])
    assert client.wait_end(client.submit("true"))["status"] == "succeeded", "its place is free again"


@pytest.mark.trap("R5", "R1")
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2])
def test_workers_killed_around_the_retry_neither_lose_nor_double_an_attempt(
    stubborn: Podwire, client: Client, starts: Path, after_s: float
) -> None:
    run = client.submit(FIRST_FAILS % starts, retry=AGAIN)
    watcher = watch(client, run)
    wait_until(starts.exists, "the program began")
    time.sleep(after_s)
    for worker in stubborn.workers:
        worker.kill()
    for worker in stubborn.workers:
        worker.start()
    told = watcher.finish(b"1\n2\ndone\n")
    assert told.end["status"] == "succeeded"
    assert [event["attempt"] for event in told.of_kind("status") if event["status"] == "starting"] == [1, 2]
    assert starts.read_text().splitlines() == [f"{run} 1", f"{run} 2"]
    folders = stubborn.folder / "state/local/attempts"
    wait_until(lambda: not list(folders.glob(f"{run}-*")), "nothing is left of the attempts", 60)


def test_a_run_that_waits_for_another_attempt_can_be_cancelled_and_expire(client: Client) -> None:
    cancelled = client.submit("exit 3", retry=AGAIN)
    wait_until(lambda: client.run(cancelled)["attempt"] == 2, "the first attempt failed")
    watcher = watch(client, cancelled)
    client.cancel(cancelled).must(202)
    assert watcher.finish(b"").end["status"] == "cancelled"
    # The second wait is always longer than the queue timeout, the first one now and then: it is a second, give or take a quarter.
    expired = client.submit("exit 3", retry=AGAIN, queue_timeout=1)
    watcher = watch(client, expired)
    assert watcher.finish(b"").end["status"] == "expired"
    assert client.run(expired)["attempt"] in (2, 3)


def test_a_cancelled_program_is_not_tried_again(client: Client) -> None:
    run = client.submit("echo there; sleep 60", retry={"reasons": ["Signalled", "NonZeroExit"]}, grace=0)
    watcher = watch(client, run)
    watcher.wait_for("there")
    client.cancel(run).must(202)
    assert watcher.finish(b"there\n").end["status"] == "cancelled"
    assert client.run(run)["attempt"] == 1


def test_a_program_that_fails_is_not_tried_again_unless_it_was_asked_for(client: Client) -> None:
    ended = client.wait_end(client.submit("exit 3"))
    assert (ended["status"], ended["attempt"], reasons(ended)) == ("failed", 1, ["NonZeroExit"])
    unknown = client.wait_end(client.submit("ignored", language="bash", retry={"reasons": ["NodeLost"]}))
    assert unknown["attempt"] == 1


def test_a_second_attempt_asks_anew_and_reads_its_input_from_the_beginning(client: Client) -> None:
    script = 'read line; echo "$line $(ask Name?)"; [ "$PODWIRE_ATTEMPT" -gt 1 ] || exit 3'
    run = client.submit(script, retry=AGAIN, stdin=True)
    watcher = watch(client, run)
    client.post(f"/v1/runs/{run}/input", {"data": "hello\n"}).must(202)
    for name in ("ann", "bob"):
        (question,) = client.wait_question(run)
        client.answer(question["id"], name).must(200)
    watcher.finish(b"hello ann\nhello bob\n")
    assert [str(question["id"]).split("-")[1] for question in client.questions(run)] == ["1", "2"]


def test_a_wish_that_is_not_valid_is_refused_field_by_field(client: Client) -> None:
    body = {"script": "true", "language": "bash", "retry": {"max_attempts": 11, "reasons": ["NodeLost", "Completed"]}}
    problem = client.post("/v1/runs", body).refused(422, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == ["retry.max_attempts", "retry.reasons[1]"]  # type: ignore[attr-defined]
    again = client.submit("true", retry={"max_attempts": 1})
    spec = client.run(again)["spec"]
    assert json.dumps(spec["retry"]) == '{"max_attempts": 1, "reasons": []}'  # type: ignore[index]
