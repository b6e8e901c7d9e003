"""What runs in real pods use, and what is known of them afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from app.agent.records.wire_format import Kind
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape
from tests.cluster.conftest import launched, wait_for
from tests.cluster.installation import installed
from tests.contract.attempts import python
from tests.integration.client import Client

MIB = 1024 * 1024
GREEDY = """
import time
data = b"x" * (60 * 1024 * 1024)
print("has it", flush=True)
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    sum(range(20_000))
    time.sleep(0.01)
"""
FOLLOWING = ["queued", "dispatched", "claimed", "created", "scheduled", "started", "first_byte", "exited", "ended"]


@pytest.fixture(scope="module")
def client(api: KubeApi, namespace: str) -> Iterator[Client]:
    with installed(namespace, kube_instance="evidence") as podwire:
        yield podwire.client()


def test_a_link_tells_readings_and_facts(launcher: KubernetesLauncher, shape: Shape) -> None:
    follower = launched(launcher, python(GREEDY.format(seconds=4), cpu=0.5, memory_bytes=128 * MIB))
    end = follower.to_end()
    uses = [json.loads(each.payload) for each in follower.messages if each.kind == Kind.USE]
    assert any(60 * MIB < use["memory_bytes"] <= use["peak_memory_bytes"] <= 128 * MIB for use in uses)
    assert 60 * MIB < int(str(end["peak_memory_bytes"])) < 128 * MIB
    facts = [json.loads(each.payload) for each in follower.messages if each.kind == Kind.EVIDENCE]
    assert {"node", "created", "scheduled", "image"} <= facts[-1].keys()
    assert len(facts) <= 5 and all(each.position == 0 for each in follower.messages)


def test_a_run_shows_what_it_uses_and_then_where_it_was(client: Client, api: KubeApi) -> None:
    run = client.submit(GREEDY.format(seconds=12), "python", cpu=0.5, memory="128Mi")
    wait_for(lambda: (client.run(run)["use"] or {}).get("cpu_cores"))  # type: ignore[attr-defined]
    for replica in range(2):
        use = client.at(replica).run(run)["use"]
        assert isinstance(use, dict)
        assert 60 * MIB < use["memory_bytes"] <= use["peak_memory_bytes"] <= use["memory_limit_bytes"] == 128 * MIB
        assert 0 < use["cpu_cores"] < 0.8 and 0 < use["cpu_seconds"] < 12
    ended = client.wait_end(run)
    evidence = ended["evidence"]
    assert isinstance(evidence, dict)
    nodes = {each["metadata"]["name"] for each in api.call("GET", "/api/v1/nodes")["items"]}
    assert evidence["node"] in nodes
    assert "sha256:" in evidence["image"]
    assert isinstance(ended["outcome"], dict) and 60 * MIB < ended["outcome"]["peak_memory_bytes"] < 128 * MIB
    times = times_of(ended)
    assert [name for name in times if name != "pulled"] == FOLLOWING
    assert list(times.values()) == sorted(times.values()), times
    assert 11 < times["exited"] - times["started"] < 30


def test_a_run_of_a_moment_has_its_evidence_too(client: Client) -> None:
    run = client.submit("echo short", "bash", cpu=0.1, memory="64Mi")
    ended = client.wait_end(run)
    assert [name for name in times_of(ended) if name != "pulled"] == FOLLOWING
    wait_for(lambda: "sha256:" in str(client.run(run)["evidence"]["image"]))  # type: ignore[index]


def test_out_of_memory_is_told_with_the_peak_against_the_limit(client: Client) -> None:
    ended = client.wait_end(client.submit("head -c 400M /dev/zero | tail", "bash", cpu=0.2, memory="64Mi"))
    outcome = ended["outcome"]
    assert isinstance(outcome, dict) and outcome["reason"] == "OOMKilled"
    assert 60 * MIB < outcome["peak_memory_bytes"] <= 64 * MIB
    assert outcome["message"].startswith("The program needed more memory than its limit of 64 MiB (at most it held 6")


def times_of(run: dict[str, object]) -> dict[str, float]:
    evidence = run["evidence"]
    assert isinstance(evidence, dict)
    return {name: datetime.fromisoformat(at).timestamp() for name, at in evidence["phases"].items() if at}
