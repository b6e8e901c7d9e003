"""What the launcher needs of the API server: few rights, and it may be away for a while."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.agent.records.wire_format import Kind
from app.domain.errors import LauncherUnavailable, LaunchRefused
from app.domain.ports import Attempt
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape, pod_name
from tests.cluster.conftest import launched, wait_for
from tests.cluster.door import Door
from tests.cluster.rights import account, grant, kubeconfig_of
from tests.contract.attempts import bash, clear

SMALL: dict[str, object] = {"cpu": 0.2, "memory_bytes": 64 * 1024**2}


@pytest.fixture
def door(api: KubeApi, tmp_path: Path) -> Iterator[Door]:
    made = Door(os.environ["KUBECONFIG"], tmp_path)
    yield made
    made.close()


def with_user(user: dict[str, object], folder: Path) -> KubeApi:
    """Return an API client of another user of the same cluster."""
    return KubeApi(kubeconfig=kubeconfig_of(user, folder))


def left_over(shape: Shape, what: Attempt) -> dict[str, object]:
    """Return a Secret of the attempt's name that must give way."""
    labels = {"podwire.dev/instance": shape.instance, "podwire.dev/run": what.run_id}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": pod_name(what), "labels": labels}}


def test_the_documented_rights_suffice(api: KubeApi, shape: Shape, namespace: str, tmp_path: Path) -> None:
    user = with_user(grant(api, namespace), tmp_path)
    launcher = KubernetesLauncher(user, shape)
    what = bash('read -r line; echo "$KEY $line"', stdin=True, secrets=("KEY",), **SMALL)
    what = replace(what, secrets={"KEY": "secret"})
    api.call("POST", f"/api/v1/namespaces/{namespace}/secrets", left_over(shape, what))
    follower = launched(launcher, what)
    follower.send(Kind.INPUT, "input-1", data="hello\n")
    assert follower.to_end()["exit_code"] == 0
    assert follower.output() == b"secret hello\n"
    launcher.remove(what)
    assert launcher.present() == []
    clear(launcher)
    with pytest.raises(ApiFailure, match="403"):
        user.call("GET", f"/api/v1/namespaces/{namespace}/secrets")


def test_without_rights_the_administrator_is_asked_for(api: KubeApi, shape: Shape, namespace: str, tmp_path: Path) -> None:
    launcher = KubernetesLauncher(with_user(account(api, namespace, "default"), tmp_path), shape)
    with pytest.raises(LaunchRefused, match="tell the administrator"):
        launcher.launch(bash("true", **SMALL))
    with pytest.raises(LauncherUnavailable):
        KubernetesLauncher(with_user({"token": "wrong"}, tmp_path), shape).present()


SCRIPT = """
for i in $(seq 1 60); do echo "line $i"; sleep 0.05; done
echo "heard $(ask Well?)"
for i in 1 2 3; do echo $i; sleep 0.2; done
"""


def test_an_api_server_that_is_away_costs_nothing_but_time(shape: Shape, door: Door) -> None:
    launcher = KubernetesLauncher(KubeApi(kubeconfig=door.kubeconfig), shape)
    follower = launched(launcher, bash(SCRIPT, **SMALL))
    follower.until(lambda: b"line 5\n" in follower.output())
    door.shut()
    with pytest.raises(LauncherUnavailable):
        launcher.present()
    before = len(follower.output())
    quiet = time.monotonic() + 1.0
    follower.until(lambda: time.monotonic() > quiet)
    assert len(follower.output()) - before < 100
    door.open()
    follower.until(lambda: follower.bodies(Kind.QUESTION))
    door.shut()
    follower.drop()
    door.open()
    assert follower.answer(1, "yes")["ok"] is True
    follower.until(lambda: b"heard" in follower.output())
    # It ends while nobody can see it.
    door.shut()
    quiet = time.monotonic() + 1.5
    follower.until(lambda: time.monotonic() > quiet)
    assert door.refused
    door.open()
    assert follower.to_end()["exit_code"] == 0
    assert follower.output() == "".join(f"line {number}\n" for number in range(1, 61)).encode() + b"heard yes\n1\n2\n3\n"
    clear(launcher)
    wait_for(lambda: launcher.present() == [])


def test_a_neighbour_in_the_same_namespace_is_left_alone(api: KubeApi, shape: Shape) -> None:
    ours, theirs = KubernetesLauncher(api, shape), KubernetesLauncher(api, replace(shape, instance="neighbour"))
    what = bash("sleep 60", **SMALL)
    stored = replace(what, handle=theirs.launch(what))
    ours.remove(what)
    assert (ours.present(), theirs.present()) == ([], [(what.run_id, 1)])
    with pytest.raises(LaunchRefused, match="Another pod"):
        ours.launch(what)
    theirs.remove(replace(stored, handle="another-uid"))
    assert theirs.present() == [(what.run_id, 1)]
    theirs.remove(stored)
    assert theirs.present() == []


@pytest.mark.trap("C8")
def test_a_full_quota_is_waited_for_and_hides_no_pod(api: KubeApi, shape: Shape, namespace: str) -> None:
    launcher, quotas = KubernetesLauncher(api, shape), f"/api/v1/namespaces/{namespace}/resourcequotas"
    wait_for(lambda: not api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"])
    api.call("POST", quotas, {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}})
    try:
        wait_for(lambda: "hard" in api.call("GET", f"{quotas}/one").get("status", {}))
        first, second = bash("sleep 60", **SMALL), bash("echo ran", **SMALL)
        handle = launcher.launch(first)
        assert launcher.launch(first) == handle
        with pytest.raises(LauncherUnavailable, match="quota") as refused:
            launcher.launch(second)
        assert (refused.value.extensions["reason"], refused.value.extensions["waits"]) == ("QuotaExceeded", True)
        launcher.remove(first)
        follower = launched(launcher, second)
        follower.to_end()
        assert follower.output() == b"ran\n"
    finally:
        clear(launcher)
        api.call("DELETE", f"{quotas}/one")
