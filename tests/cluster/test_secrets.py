"""Secret environment in real pods: the program has it, whoever looks at the pod has not, and it goes when the pod goes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape, pod_name
from tests.cluster.conftest import exists, launched, wait_for
from tests.contract.attempts import bash

SMALL: dict[str, object] = {"cpu": 0.2, "memory_bytes": 64 * 1024**2}
VALUE = "s3cret $(HOME) $$ 'ü'\nsecond line"
SCRIPT = 'printf "%s|%s\\n" "$KEY" "$HOME"'


def secretive(script: str) -> Attempt:
    made = bash(script, secrets=("HOME", "KEY"), **SMALL)
    return replace(made, secrets={"KEY": VALUE, "HOME": "/tmp/s3cret-home"})


def secret_path(shape: Shape, attempt: Attempt) -> str:
    return f"/api/v1/namespaces/{shape.namespace}/secrets/{pod_name(attempt)}"


def kubectl(*words: str) -> str:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is missing")
    return subprocess.run([program, *words], check=True, capture_output=True, text=True).stdout


def test_only_the_program_has_it_and_it_goes_with_the_pod(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    what = secretive(SCRIPT + "; sleep 60")
    follower = launched(launcher, what)
    follower.until(lambda: follower.output())
    follower.until(lambda: follower.output().decode() == f"{VALUE}|/tmp/s3cret-home\n")
    pod = api.call("GET", f"/api/v1/namespaces/{shape.namespace}/pods/{pod_name(what)}")
    events = api.call("GET", f"/api/v1/namespaces/{shape.namespace}/events")
    where = ("-n", shape.namespace, "pod", pod_name(what))
    for text in (json.dumps(pod), json.dumps(events), kubectl("describe", *where), kubectl("get", *where, "-o", "yaml")):
        assert pod_name(what) in text and "s3cret" not in text and "czNjcmV0" not in text
    secret = api.call("GET", secret_path(shape, what))
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [pod["metadata"]["uid"]]
    launcher.remove(what)
    wait_for(lambda: not exists(api, secret_path(shape, what)), 60.0)


class Killed(BaseException):
    """The process ends here."""


class DyingApi(KubeApi):
    """Dies when it should make a Secret."""

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        if method == "POST" and path.endswith("/secrets"):
            raise Killed
        return super().call(method, path, body, query)


def test_a_takeover_completes_what_a_killed_launcher_began(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    what = secretive(SCRIPT)
    with pytest.raises(Killed):
        KubernetesLauncher(DyingApi(), shape).launch(what)
    path = f"/api/v1/namespaces/{shape.namespace}/pods/{pod_name(what)}"
    # The program's container is held back for want of the Secret, not started without it.
    wait_for(lambda: "CreateContainerConfigError" in json.dumps(api.call("GET", path)["status"]))
    follower = launched(launcher, what)
    assert follower.to_end()["exit_code"] == 0
    assert follower.output().decode() == f"{VALUE}|/tmp/s3cret-home\n"


def test_a_secret_of_an_earlier_pod_gives_way(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    what = secretive(SCRIPT)
    owner = {"apiVersion": "v1", "kind": "Namespace", "name": shape.namespace}
    owner |= {"uid": api.call("GET", f"/api/v1/namespaces/{shape.namespace}")["metadata"]["uid"]}
    labels = {"podwire.dev/instance": shape.instance, "podwire.dev/run": what.run_id}
    metadata = {"name": pod_name(what), "labels": labels, "ownerReferences": [owner]}
    old = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "immutable": True, "stringData": {"KEY": "old"}}
    api.call("POST", f"/api/v1/namespaces/{shape.namespace}/secrets", old)
    follower = launched(launcher, what)
    assert follower.to_end()["exit_code"] == 0
    assert follower.output().decode() == f"{VALUE}|/tmp/s3cret-home\n"


def test_a_neighbour_s_secret_of_that_name_is_left_alone(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    what = secretive(SCRIPT)
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": pod_name(what)}, "stringData": {"KEY": "theirs"}}
    made = api.call("POST", f"/api/v1/namespaces/{shape.namespace}/secrets", theirs)
    with pytest.raises(LaunchRefused, match="Another Secret"):
        launcher.launch(what)
    launcher.remove(what)
    assert api.call("GET", secret_path(shape, what))["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(ApiFailure):
        api.call("DELETE", secret_path(shape, what), {"preconditions": {"uid": "another"}})
    api.call("DELETE", secret_path(shape, what))
