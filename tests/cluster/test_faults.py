"""Parts of the cluster are killed, or a node is cut off, under runs that print and ask: nothing is lost, doubled or told twice.

The parts are taken away by the tools of a test node (PODWIRE_TEST_NODE); each test puts everything back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from tests.cluster.conftest import exists
from tests.cluster.node import SECOND, TestNode
from tests.cluster.observer import Observer
from tests.integration.client import Client
from tests.integration.watcher import Watcher, watch
from tests.servers import wait_until

SMALL: dict[str, object] = {"cpu": 0.1, "memory": "64Mi"}
LINES = 80
PRINTING = f'for i in $(seq 1 {LINES}); do echo "line $i"; sleep 0.1; done'
PRINTED = "".join(f"line {number}\n" for number in range(1, LINES + 1)).encode()
ASKING = 'echo asking; echo "one $(ask One?)"; echo "two $(ask Two?)"'
# Beyond the silence after which a connection counts as dead.
OUTAGE_S = float(os.environ.get("PODWIRE_TEST_OUTAGE_S", "45"))
FOREVER = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done"


@pytest.fixture
def node(api: KubeApi) -> Iterator[TestNode]:
    folder = os.environ.get("PODWIRE_TEST_NODE")
    if not folder:
        pytest.skip("missing: a test node's tools (PODWIRE_TEST_NODE), so no part of the cluster can be taken away")
    made = TestNode(folder)
    yield made
    made.restore(lambda: is_well(api))


@pytest.fixture
def on_second(api: KubeApi, node: TestNode) -> Iterator[str]:
    """New pods go to the second node only."""
    if SECOND not in names(api):
        pytest.skip("missing: a second node")
    cordon(api, "node1", True)
    yield SECOND
    node.heal()
    cordon(api, "node1", False)


def is_well(api: KubeApi) -> bool:
    try:
        return all(is_ready(api, name) for name in names(api))
    except ApiFailure:
        return False


def names(api: KubeApi) -> list[str]:
    return [str(node["metadata"]["name"]) for node in api.call("GET", "/api/v1/nodes")["items"]]


def is_ready(api: KubeApi, name: str) -> bool:
    try:
        conditions = api.call("GET", f"/api/v1/nodes/{name}")["status"]["conditions"]
    except ApiFailure:
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def cordon(api: KubeApi, name: str, closed: bool) -> None:
    """Close a node to new pods, or open it."""

    def done() -> bool:
        try:
            node = api.call("GET", f"/api/v1/nodes/{name}")
            node["spec"]["unschedulable"] = closed
            return bool(api.call("PUT", f"/api/v1/nodes/{name}", node))
        except ApiFailure:
            return False

    wait_until(done, f"{name} was {'closed' if closed else 'opened'}", every_s=0.2)


def answer(client: Client, run: str, text: str, value: str) -> None:
    """Answer a question of the run, once it asks it."""
    asked: list[object] = []

    def asks() -> bool:
        asked.extend(each["id"] for each in client.questions(run) if (each["text"], each["state"]) == (text, "open"))
        return bool(asked)

    wait_until(asks, f"the run asked {text}", deadline_s=60.0)
    client.answer(asked[0], value).must(200)


def must_be_whole(watcher: Watcher, expected: bytes) -> None:
    told = watcher.finish(expected, deadline_s=90.0)
    assert (told.gaps, told.duplicates, told.ends, told.end["reason"]) == (0, 0, 1, "Completed")


def must_have_one_pod(observer: Observer, *runs: str) -> None:
    for run in runs:
        # A launch that is given up while the cluster is away may cost an attempt, but no pod.
        assert sum(len(uids) for (each, _), uids in list(observer.uids.items()) if each == run) == 1, run


@pytest.mark.parts
@pytest.mark.trap("R1")
@pytest.mark.parametrize("part", ["apiserver", "kubelet", "etcd", "containerd"])
def test_a_part_that_is_killed_and_comes_back(client: Client, node: TestNode, observer: Observer, part: str) -> None:
    printing, asking = client.submit(PRINTING, **SMALL), client.submit(ASKING, **SMALL)
    watchers = watch(client, printing), watch(client, asking, "sse")
    watchers[0].wait_for("line 10\n")
    client.wait_question(asking)
    node.kill(part)
    shown = len(watchers[0].transcript.shown)
    if part == "etcd":  # what is followed already goes on without it; exec leads through all the others
        wait_until(lambda: len(watchers[0].transcript.shown) > shown, "the output went on")
    node.start(part)
    answer(client, asking, "One?", "yes")
    answer(client, asking, "Two?", "no")
    must_be_whole(watchers[0], PRINTED)
    must_be_whole(watchers[1], b"asking\none yes\ntwo no\n")
    must_have_one_pod(observer, printing, asking)
    later = client.submit("echo on", **SMALL)
    must_be_whole(watch(client, later), b"on\n")


@pytest.mark.parts
def test_a_long_outage_of_the_api_server_loses_nothing(client: Client, node: TestNode, observer: Observer) -> None:
    steps = int(OUTAGE_S * 3)
    # Longer than the outage; with a tenth of a core it would take thrice its time.
    lasting = client.submit(f'for i in $(seq 1 {steps}); do echo "line $i"; sleep 0.4; done', cpu=0.5, memory="64Mi")
    ending, asking = client.submit("echo begin; sleep 10; echo end", **SMALL), client.submit(ASKING, **SMALL)
    watchers = [watch(client, run) for run in (lasting, ending, asking)]
    watchers[0].wait_for("line 5\n")
    watchers[1].wait_for("begin\n")
    client.wait_question(asking)
    node.kill("apiserver")
    began = time.monotonic()
    answer(client, asking, "One?", "yes")
    queued = client.submit("echo later", **SMALL)
    while time.monotonic() < began + OUTAGE_S:
        assert client.status(lasting) == "running"
        time.sleep(0.5)
    assert watchers[0].transcript.ends == watchers[1].transcript.ends == 0
    node.start("apiserver")
    must_be_whole(watchers[0], "".join(f"line {number}\n" for number in range(1, steps + 1)).encode())
    must_be_whole(watchers[1], b"begin\nend\n")
    answer(client, asking, "Two?", "no")
    must_be_whole(watchers[2], b"asking\none yes\ntwo no\n")
    must_be_whole(watch(client, queued), b"later\n")
    must_have_one_pod(observer, lasting, ending, asking, queued)


@pytest.mark.parts
def test_a_node_that_is_cut_off_and_comes_back_in_time(
    client: Client, node: TestNode, observer: Observer, api: KubeApi, on_second: str
) -> None:
    printing, asking = client.submit(PRINTING, **SMALL), client.submit(ASKING, **SMALL)
    watchers = watch(client, printing), watch(client, asking)
    watchers[0].wait_for("line 5\n")
    client.wait_question(asking)
    node.cut()
    answer(client, asking, "One?", "yes")
    wait_until(lambda: not is_ready(api, on_second), "the cluster noticed", deadline_s=60.0)
    assert {client.status(run) for run in (printing, asking)} <= {"running", "waiting"}
    node.heal()
    answer(client, asking, "Two?", "no")
    must_be_whole(watchers[0], PRINTED)
    must_be_whole(watchers[1], b"asking\none yes\ntwo no\n")
    must_have_one_pod(observer, printing, asking)
    assert observer.nodes[printing] == {on_second}


@pytest.mark.parts
@pytest.mark.trap("R1")
def test_a_node_that_comes_back_too_late(
    client: Client, node: TestNode, observer: Observer, api: KubeApi, namespace: str, on_second: str
) -> None:
    run = client.submit(FOREVER, grace=1, **SMALL)
    watcher = watch(client, run)
    watcher.wait_for("line 5\n")
    pod = f"/api/v1/namespaces/{namespace}/pods/pw-{run}-1"
    # A node reports later than a program speaks.
    wait_until(lambda: api.call("GET", pod)["status"]["phase"] == "Running", "the node said that the pod runs")
    node.cut()
    told = watcher.finish(deadline_s=120.0)
    assert (told.ends, told.end["reason"], client.status(run)) == (1, "NodeLost", "failed")
    before = client.run(run), client.output(run)
    assert api.call("GET", pod)["status"]["phase"] == "Running"
    node.heal()
    wait_until(lambda: not exists(api, pod), "the pod that came back was removed", deadline_s=60.0)
    assert (client.run(run), client.output(run)) == before
    late = watch(client, run).finish()
    assert (late.ends, late.shown) == (1, told.shown)
    must_have_one_pod(observer, run)
