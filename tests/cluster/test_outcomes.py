"""How runs end, as a person is told by every replica: each reason that a run, its pod or its node can be given here, produced.

Quota is in test_service.py and test_access.py, lost nodes in test_faults.py, what the rules or the API server refuse in
test_reasons.py.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator

import pytest

from app.domain.ports import Attempt
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.pods.manifest import Shape
from tests.cluster.conftest import wait_for
from tests.cluster.installation import installed
from tests.cluster.test_reasons import WHERE_CONTAINERS_CAN_BE_KILLED, kill_container, pod_path
from tests.integration.client import Client

# Some of these ends are followed by another attempt unless one is all that is wanted.
SMALL: dict[str, object] = {"cpu": 0.1, "memory": "64Mi", "grace": 2, "retry": {"max_attempts": 1}}
READY = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
COMMAND = ["/bin/true"]
# What a run asks for, and (status, reason, exit code, signal) of its end.
ENDS: dict[str, tuple[dict[str, object], tuple[object, ...]]] = {
    "well": ({"script": "echo well"}, ("succeeded", "Completed", 0, None)),
    "fails": ({"script": "exit 3"}, ("failed", "NonZeroExit", 3, None)),
    "is killed": ({"script": "kill -SEGV $$"}, ("failed", "Signalled", None, "SIGSEGV")),
    "needs memory": ({"script": "exec python3 -c 'x = b\"x\" * 400_000_000'"}, ("failed", "OOMKilled", None, "SIGKILL")),
    "a child needs memory": ({"script": "(head -c 400M /dev/zero | tail); exit 7"}, ("failed", "OOMKilled", 7, None)),
    "needs disk": ({"script": "head -c 80M /dev/zero > big; sleep 300", "disk": "20Mi"}, ("failed", "DiskLimit", None, None)),
    "needs time": ({"script": "sleep 300", "timeout": 2}, ("timed_out", "RunTimeout", None, "SIGTERM")),
    "finds no room": ({"script": "echo never", "cpu": 4, "queue_timeout": 3}, ("failed", "Unschedulable", None, None)),
    "finds no image": ({"command": COMMAND, "image": "none.invalid/a:1"}, ("failed", "ImagePullFailed", None, None)),
    "names no image": ({"command": COMMAND, "image": "Not-A-Name/:"}, ("failed", "InvalidImage", None, None)),
    "is evicted": ({"script": READY}, ("failed", "Evicted", 5, None)),
    "is deleted": ({"script": READY}, ("failed", "PodDeleted", 5, None)),
    "loses its agent": ({"script": READY}, ("failed", "AgentLost", None, None)),
}
NEVER_PLACED = {"finds no room"}


@pytest.fixture(scope="module")
def client(api: KubeApi, namespace: str) -> Iterator[Client]:
    limits = {"max_active": 20, "max_active_per_owner": 20}
    where = WHERE_CONTAINERS_CAN_BE_KILLED if shutil.which("ctr-node") else {}
    with installed(
        namespace, kube_instance="outcomes", kube_allowed_images='["*"]', kube_node_selector=json.dumps(where), **limits
    ) as podwire:
        yield podwire.client()
        podwire.must_run()


def submit(client: Client, **asked: object) -> str:
    language = {"language": "bash"} if "script" in asked else {}
    return str(client.post("/v1/runs", {**SMALL, **language, **asked}).must(200, 201, 202).json["id"])


def end_of(run: dict[str, object]) -> tuple[object, ...]:
    outcome = run["outcome"]
    assert isinstance(outcome, dict)
    return (run["status"], outcome["reason"], outcome["exit_code"], outcome["signal"])


def test_every_end_is_told_for_what_it_is(client: Client, api: KubeApi, shape: Shape) -> None:
    if shutil.which("ctr-node") is None:
        pytest.skip("missing: ctr-node, which a test node has")
    attempts: dict[str, Attempt] = {}

    def begin(*wanted: str) -> None:
        for what in wanted:
            attempts[what] = Attempt(submit(client, **ENDS[what][0]), 1, RunSpec())

    def after_it_began(what: str, strike: Callable[[], object]) -> None:
        wait_for(lambda: b"ready" in client.output(attempts[what].run_id), 60)
        # A node reports later than a program speaks.
        wait_for(lambda: api.call("GET", pod_path(shape, attempts[what]))["status"]["phase"] == "Running")
        strike()

    def evict() -> None:
        path = pod_path(shape, attempts["is evicted"])
        metadata = {"name": path.rpartition("/")[2], "namespace": shape.namespace}
        api.call("POST", f"{path}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})

    begin("loses its agent")
    after_it_began("loses its agent", lambda: kill_container(api, shape, attempts["loses its agent"], "agent"))
    begin(*(set(ENDS) - {"loses its agent"}))
    after_it_began("is evicted", evict)
    after_it_began("is deleted", lambda: api.call("DELETE", pod_path(shape, attempts["is deleted"])))

    told = {what: client.wait_end(attempt.run_id, 150) for what, attempt in attempts.items()}
    ends = {what: end_of(run) for what, run in told.items()}
    assert ends == {what: end for what, (_, end) in ENDS.items()}
    for what, run in told.items():
        outcome, evidence = run["outcome"], run["evidence"]
        assert isinstance(outcome, dict) and isinstance(evidence, dict)
        assert re.match(r"[A-Z0-9].+\.\Z", outcome["message"], re.DOTALL), (what, outcome)
        assert bool(evidence["node"]) == (what not in NEVER_PLACED), (what, evidence)
        for replica in range(2):
            assert client.at(replica).run(str(run["id"]))["outcome"] == outcome


@pytest.mark.parametrize(
    ("asked", "waits_for"),
    [
        ({"script": "echo never", "cpu": 4}, "No node has room for it: "),
        ({"command": COMMAND, "image": "none.invalid/a:1"}, "The image cannot be had: "),
    ],
)
def test_what_has_not_begun_is_cancelled_without_its_grace(client: Client, asked: dict[str, object], waits_for: str) -> None:
    run = submit(client, **{**asked, "grace": 600})
    wait_for(lambda: str((client.run(run)["wait"] or {}).get("message")).startswith(waits_for), 60)  # type: ignore[attr-defined]
    client.cancel(run).must(200, 202)
    assert end_of(client.wait_end(run))[:2] == ("cancelled", "CancelledByUser")
    assert client.output(run) == b""
