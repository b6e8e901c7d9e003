"""The whole service on a cluster: three web replicas and two workers as processes here, runs as pods there, and an observer."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape
from tests.cluster.conftest import SERVICE, wait_for
from tests.contract.attempts import bash, clear
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import watch

# One service is enough for all of them.
pytestmark = pytest.mark.xdist_group("service")
SMALL: dict[str, object] = {"cpu": 0.1, "memory": "64Mi"}


def test_a_run_with_a_question_over_three_replicas(client: Client) -> None:
    script = "echo begin; echo \"you said $(ask --choice red --choice green 'Which?')\"; echo end >&2; exit 3"
    run = client.submit(script, **SMALL)
    first, second = watch(client, run), watch(client, run, "sse")
    (question,) = client.wait_question(run)
    client.wait_status(run, "waiting")
    client.answer(question["id"], "green").must(200)
    for watcher in (first, second):
        assert watcher.finish(b"begin\nyou said green\nend\n").end["reason"] == "NonZeroExit"


def test_typed_ends(client: Client) -> None:
    oom = client.submit("head -c 400M /dev/zero | tail", **SMALL)
    late = client.submit("echo begin; sleep 60", timeout=2, grace=1, **SMALL)
    gone = client.submit("echo begin; sleep 60", **SMALL)
    watcher = watch(client, gone)
    watcher.wait_for("begin")
    client.cancel(gone).must(200, 202)
    ends = {run: client.wait_end(run) for run in (oom, late, gone)}
    assert [ends[run]["outcome"]["reason"] for run in (oom, late, gone)] == ["OOMKilled", "RunTimeout", "CancelledByUser"]
    assert [ends[run]["status"] for run in (oom, late, gone)] == ["failed", "timed_out", "cancelled"]
    watcher.finish(b"begin\n")


@pytest.mark.trap("R1")
def test_workers_that_die_are_replaced_and_nothing_is_lost(podwire: Podwire, client: Client) -> None:
    script = 'for i in $(seq 1 60); do echo "line $i"; sleep 0.1; done; echo "heard $(ask --confirm Well?)"'
    runs = [client.submit(script, **SMALL) for _ in range(4)]
    watchers = [watch(client, run) for run in runs]
    for watcher in watchers:
        watcher.wait_for("line 3\n")
    for worker in podwire.workers:
        worker.kill()
        worker.start()
    podwire.web[0].kill()
    podwire.web[0].start()
    podwire.wait_ready()
    for run in runs:
        client.wait_question(run, deadline_s=60.0)
    podwire.workers[0].send(signal.SIGTERM)
    podwire.workers[0].wait()
    podwire.workers[0].start()
    podwire.redis.client().flushall()
    for run in runs:
        client.answer(client.wait_question(run)[0]["id"], True).must(200)
    expected = "".join(f"line {number}\n" for number in range(1, 61)) + "heard yes\n"
    for watcher in watchers:
        told = watcher.finish(expected.encode(), deadline_s=90.0)
        assert (told.gaps, told.duplicates, told.ends) == (0, 0, 1)
    podwire.wait_ready()


def test_a_pod_that_no_run_wants_is_removed_and_a_neighbours_is_not(client: Client, api: KubeApi, shape: Shape) -> None:
    ours, theirs = (KubernetesLauncher(api, replace(shape, instance=name)) for name in (SERVICE, "neighbour"))
    left, foreign = (bash("sleep 300", cpu=0.1, memory_bytes=64 * 1024**2) for _ in range(2))
    wanted = client.submit("echo begin; read -r line; echo $line", stdin=True, **SMALL)
    watcher = watch(client, wanted)
    watcher.wait_for("begin")
    try:
        theirs.launch(foreign)
        ours.launch(left)
        wait_for(lambda: (left.run_id, 1) not in ours.present())
        assert theirs.present() == [(foreign.run_id, 1)]
        assert ours.present() == [(wanted, 1)]
        client.post(f"/v1/runs/{wanted}/input", {"data": "on\n"}).must(200, 201, 202)
        watcher.finish(b"begin\non\n")
    finally:
        clear(theirs)


@pytest.mark.trap("C8")
def test_a_full_quota_delays_a_run_and_says_so(client: Client, api: KubeApi, namespace: str) -> None:
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    wait_for(lambda: not api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"])
    api.call("POST", quotas, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    try:
        wait_for(lambda: "hard" in api.call("GET", f"{quotas}/none").get("status", {}))
        run, tired = client.submit("echo ran", **SMALL), client.submit("echo never", **SMALL)
        watchers = watch(client, run), watch(client, tired)
        for watcher in watchers:
            assert watcher.wait_event("notice")[0]["code"] == "quota_exceeded"
        wait = {
            "position": None,
            "message": "The cluster quota none is used up: pods 0/0; this run needs pods 1.",
            "expected": None,
        }
        assert [client.at(replica).run(run)["wait"] for replica in range(3)] == [wait] * 3
        told = watchers[0].transcript.waits
        wait_for(lambda: told and (told[-1]["position"], told[-1]["message"]) == (None, wait["message"]))
        client.cancel(tired).must(200, 202)
        watchers[1].finish(b"")
        assert client.status(tired) == "cancelled"
        hopeless = client.submit("echo never", queue_timeout=2, **SMALL)
        assert client.wait_end(hopeless)["outcome"]["reason"] in ("QuotaExceeded", "QueueTimeout")  # type: ignore[index]
    finally:
        api.call("DELETE", f"{quotas}/none")
    watchers[0].finish(b"ran\n")
    assert client.run(run)["wait"] is None


def test_a_run_that_no_node_has_room_for_says_so(client: Client) -> None:
    run = client.submit("echo never", cpu=4, memory="64Mi")
    watcher = watch(client, run)
    wait_for(lambda: (client.run(run)["wait"] or {}).get("message", "").startswith("No node has room for it: "))
    wait_for(lambda: any(frame["message"].startswith("No node has room") for frame in watcher.transcript.waits))
    client.cancel(run).must(200, 202)
    watcher.finish(b"")
    assert client.run(run)["wait"] is None
