"""Artefacts of runs in real pods: collected over exec whatever ended the program, kept when the pod is gone; the volume."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.pods.manifest import Shape
from tests.cluster.conftest import wait_for
from tests.cluster.installation import IMAGE, installed
from tests.helm.charts import render
from tests.integration.client import Client
from tests.integration.cluster import Podwire

SMALL: dict[str, object] = {"cpu": 0.1, "memory": "64Mi"}
NAMED = "artefacts"
WRITES = "cd $PODWIRE_ARTEFACTS; ls -A; echo $1 > same; mkdir sub; head -c 300000 /dev/zero > sub/zeros; ln -s /etc/passwd link"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def keeping(api: KubeApi, namespace: str, storage: Path) -> Iterator[Podwire]:
    """The service as processes here, with a storage; its runs as pods there."""
    with installed(namespace, web=3, kube_instance=NAMED, workspaces_dir=storage, workspaces_within_s=20) as made:
        yield made


@pytest.fixture
def people(keeping: Podwire) -> Iterator[Client]:
    yield keeping.client()
    keeping.must_run()


def pod_of(api: KubeApi, shape: Shape, run: str) -> dict[str, Any]:
    return api.call("GET", f"/api/v1/namespaces/{shape.namespace}/pods/pw-{run}-1")


def listed(client: Client, run: str) -> dict[str, Any]:
    return client.get(f"/v1/runs/{run}/artefacts").must(200).json


def names(page: dict[str, Any]) -> dict[str, int]:
    return {item["name"]: item["size_bytes"] for item in page["items"]}


@pytest.mark.trap("W1")
@pytest.mark.trap("W3")
def test_two_runs_of_one_label_share_no_volume_and_every_replica_has_what_they_left(
    people: Client, api: KubeApi, shape: Shape, storage: Path
) -> None:
    runs = [
        people.submit(f"{WRITES}; ask Go? > /dev/null", args=[word], labels={"workspace": "agent"}, **SMALL)
        for word in ("one", "two")
    ]
    for run in runs:
        people.wait_question(run, deadline_s=60)
    for run in runs:
        kinds = {key for volume in pod_of(api, shape, run)["spec"]["volumes"] for key in volume if key != "name"}
        assert kinds == {"emptyDir"}, "nothing is mounted that another pod could see"
        (question,) = people.wait_question(run)
        people.answer(question["id"], "go").must(200)
    for run, word in zip(runs, (b"one\n", b"two\n"), strict=True):
        assert people.wait_end(run, 60)["status"] == "succeeded" and people.output(run) == b""
        for replica in range(3):
            page = listed(people.at(replica), run)
            assert (names(page), page["left_out"]) == ({"same": 4, "sub/zeros": 300_000}, 1)
            assert people.at(replica).get(f"/v1/runs/{run}/artefacts/same").must(200).body == word
            assert people.at(replica).get(f"/v1/runs/{run}/artefacts/sub/zeros").must(200).body == bytes(300_000)
        people.get(f"/v1/runs/{run}/artefacts/link").refused(404, "not_found")
    assert {path.parent.name for path in storage.glob("*/r*")} == {"agent"}


def test_whatever_ended_the_program_its_files_are_kept(people: Client) -> None:
    scripts = {
        "failed": f"{WRITES}; exit 3",
        "oom": f"{WRITES}; head -c 400M /dev/zero | tail",
        "late": f"{WRITES}; echo begun; sleep 60",
        "cancelled": f"{WRITES}; echo begun; sleep 60",
    }
    runs = {
        what: people.submit(script, timeout=4 if what == "late" else 60, grace=1, **SMALL) for what, script in scripts.items()
    }
    wait_for(lambda: b"begun" in people.output(runs["cancelled"]), 60)
    people.cancel(runs["cancelled"]).must(200, 202)
    ends = {what: people.wait_end(run, 90) for what, run in runs.items()}
    reasons = {what: end["outcome"]["reason"] for what, end in ends.items()}  # type: ignore[index]
    assert reasons == {"failed": "NonZeroExit", "oom": "OOMKilled", "late": "RunTimeout", "cancelled": "CancelledByUser"}
    for run in runs.values():
        assert names(listed(people, run)) == {"same": 1, "sub/zeros": 300_000}


def test_a_pod_that_is_lost_leaves_nothing_and_the_list_says_so(people: Client, api: KubeApi, shape: Shape) -> None:
    run = people.submit(f"{WRITES}; echo begun; sleep 120", grace=1, **SMALL)
    wait_for(lambda: b"begun" in people.output(run), 60)
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    api.call("DELETE", f"/api/v1/namespaces/{shape.namespace}/pods/pw-{run}-1", body)
    assert people.wait_end(run, 90)["status"] == "failed"
    page = listed(people, run)
    assert (page["state"], page["files"]) == ("lost", 0) and "gone" in page["message"]


def test_workers_killed_in_mid_run_take_nothing_along(people: Client, keeping: Podwire) -> None:
    run = people.submit(f"{WRITES}; ask Go? > /dev/null; echo late > late", **SMALL)
    people.wait_question(run, deadline_s=60)
    for worker in keeping.workers:
        worker.kill()
        worker.start()
    keeping.wait_ready()
    (question,) = people.wait_question(run)
    people.answer(question["id"], "go").must(200)
    assert people.wait_end(run, 60)["status"] == "succeeded"
    assert names(listed(people, run)) == {"same": 1, "sub/zeros": 300_000, "late": 5}


# --- the chart's volume

TELL_STORAGE = """
from pathlib import Path
from app.store.artefacts.workspaces import Workspaces
print(Workspaces(Path('/workspaces')).storage_id())
"""


def kubectl(*words: str, text: str | None = None) -> str:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is missing")
    done = subprocess.run([program, *words], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def home() -> Iterator[str]:
    name = f"podwire-test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", "--wait=false", name)


@pytest.fixture
def volume(home: str, tmp_path: Path) -> Iterator[str]:
    """A volume of a class of its own, as an administrator would provide it: both nodes of a test cluster see the folder."""
    path = tmp_path / "volume"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    spec = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "storageClassName": home,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": str(path)},
    }
    manifest = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": home}, "spec": spec}
    kubectl("create", "-f", "-", text=json.dumps(manifest))
    yield home
    kubectl("delete", "--wait=false", "persistentvolume", home)


def standing_in(objects: list[dict[str, Any]], home: str) -> str:
    """Return the chart's claim, web and workers for a namespace, where the containers only hold the storage's place."""
    found = []
    for each in objects:
        if each["kind"] not in ("PersistentVolumeClaim", "Deployment"):
            continue
        each["metadata"]["namespace"] = home
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            pod.pop("initContainers")
            pod.pop("serviceAccountName")
            (container,) = pod["containers"]
            for name in ("startupProbe", "livenessProbe", "readinessProbe", "env", "lifecycle", "args"):
                container.pop(name, None)
            idle = ["python3", "-c", "import signal; signal.pause()"]
            container |= {"image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": idle}
            container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
        found.append(json.dumps(each))
    return "\n---\n".join(found)


@pytest.mark.xdist_group("nodes")
@pytest.mark.trap("D15")
@pytest.mark.parametrize("modes", [["ReadWriteOnce"], ["ReadWriteMany"]])
def test_the_chart_s_pods_share_one_storage(home: str, volume: str, modes: list[str]) -> None:
    nodes = len(json.loads(kubectl("get", "nodes", "-o", "json"))["items"])
    values = {"app.workspaces.enabled": True, "app.workspaces.accessModes": modes, "app.workspaces.storageClass": volume}
    values |= {"worker.replicaCount": 3, "app.spread": "DoNotSchedule", "worker.spread": "DoNotSchedule"}
    kubectl("apply", "-f", "-", text=standing_in(render(values), home))

    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(kubectl("-n", home, "get", "pods", "-o", "json"))["items"]
        return [pod for pod in found if pod["status"].get("phase") == "Running"]

    several = "ReadWriteMany" in modes
    wait_for(lambda: len(pods()) == (5 if several else 4), 90)
    where = {pod["spec"]["nodeName"] for pod in pods()}
    assert len(where) == (min(2, nodes) if several else 1)

    # Asked by exec: the nodes of a test cluster share a file system, and the kubelet of one deletes the logs of the other's pods.
    told = [kubectl("-n", home, "exec", pod["metadata"]["name"], "--", "python3", "-c", TELL_STORAGE).strip() for pod in pods()]
    assert len(told) == (5 if several else 4) and all(told)
    assert len(set(told)) == 1, "each of them writes and reads the very same storage"
