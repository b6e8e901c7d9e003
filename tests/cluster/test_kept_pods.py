"""Pods that are kept after a failed run: only those that have ended, for their time, whichever process looks after them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from app.agent.records.wire_format import Kind
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape, pod_name
from tests.cluster.conftest import exists, launched, wait_for
from tests.cluster.installation import installed
from tests.contract.attempts import bash
from tests.integration.cluster import Podwire

SMALL: dict[str, object] = {"cpu": 0.1, "memory_bytes": 64 * 1024**2}
KEEP_S = 60


def test_an_ended_pod_stays_without_its_secret_and_a_running_one_goes(
    launcher: KubernetesLauncher, api: KubeApi, shape: Shape
) -> None:
    pods, secrets = (f"/api/v1/namespaces/{shape.namespace}/{what}" for what in ("pods", "secrets"))
    ended, runs = (replace(bash(script, secrets=("KEY",), **SMALL), secrets={"KEY": "x"}) for script in ("exit 3", "sleep 60"))
    follower, other = launched(launcher, ended), launched(launcher, runs)
    assert follower.to_end()["exit_code"] == 3
    follower.send(Kind.FINISH, "finish")
    follower.drop()
    wait_for(lambda: api.call("GET", f"{pods}/{pod_name(ended)}")["status"]["phase"] == "Failed")
    other.until(lambda: other.records)
    neighbour = KubernetesLauncher(api, replace(shape, instance="neighbour"))
    neighbour.remove(ended, unless_ended=True)
    assert exists(api, f"{secrets}/{pod_name(ended)}"), "never a neighbour's"
    for what in (ended, runs):
        launcher.remove(what, unless_ended=True)
    assert not exists(api, f"{secrets}/{pod_name(ended)}")
    wait_for(lambda: not exists(api, f"{pods}/{pod_name(runs)}"))
    launcher.remove(ended, unless_ended=True)
    assert launcher.present() == [(ended.run_id, 1)]
    launcher.remove(ended)
    wait_for(lambda: not exists(api, f"{pods}/{pod_name(ended)}"))


@pytest.fixture
def podwire(api: KubeApi, namespace: str) -> Iterator[Podwire]:
    with installed(namespace, web=1, workers=1, kube_keep_failed_s=KEEP_S, max_active=1) as made:
        yield made


def test_a_failed_run_s_pod_is_kept_for_its_time_and_over_a_restart(podwire: Podwire, api: KubeApi, namespace: str) -> None:
    def pod(run: str) -> dict[str, Any]:
        found: dict[str, Any] = api.call("GET", f"/api/v1/namespaces/{namespace}/pods/pw-{run}-1")
        return found

    def there(run: str) -> bool:
        return exists(api, f"/api/v1/namespaces/{namespace}/pods/pw-{run}-1")

    client = podwire.client()
    small = {"cpu": 0.1, "memory": "64Mi"}
    failed = client.submit("exit 3", **small)
    over = datetime.fromisoformat(str(client.wait_end(failed)["ended_at"])).timestamp()
    uid = pod(failed)["metadata"]["uid"]
    podwire.restart()
    # It holds no place: there is one, and another run takes it; and that one's pod goes at once.
    won = client.submit("exit 0", **small)
    assert client.wait_end(won)["status"] == "succeeded"
    wait_for(lambda: not there(won))
    wait_for(lambda: pod(failed)["status"]["phase"] == "Failed")
    while time.time() < over + KEEP_S - 10:
        kept = pod(failed)["metadata"]
        assert kept["uid"] == uid and "deletionTimestamp" not in kept
        time.sleep(0.5)
    wait_for(lambda: not there(failed))
    assert client.status(failed) == "failed"
