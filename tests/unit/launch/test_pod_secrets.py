"""The Secret of a pod: made after it and owned by it, whoever is killed in between and however often it is tried."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, cast

import pytest

from app.domain.errors import LauncherUnavailable, LaunchRefused
from app.domain.ports import Attempt
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes import launcher as kubernetes
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape, labels, make_pod, make_secret, pod_name, spec_hash

Json = dict[str, Any]
RUN = "r" + "a2" * 9 + "b"
SHAPE = Shape("runs", "podwire", images={"python": "python:3.12"}, languages={"python": ("python3",)})
SPEC = RunSpec(script="1", language="python", env={"PLAIN": "p"}, secrets=("HOME", "KEY"))
ATTEMPT = Attempt(RUN, 1, SPEC, secrets={"HOME": "/root", "KEY": "$(value) ü"})
NAME = pod_name(ATTEMPT)
PODS, SECRETS = "/api/v1/namespaces/runs/pods", "/api/v1/namespaces/runs/secrets"


class Killed(BaseException):
    """The process ends here."""


class Cluster:
    """The API of a cluster that keeps objects; `before` is done ahead of the request that it names."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.before: dict[tuple[str, str], list[Exception | Killed]] = {}
        self.requests: list[tuple[str, str]] = []
        self._uids = (f"uid-{number}" for number in itertools.count(1))

    def call(self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None) -> Json:
        self.requests.append((method, path))
        for fault in (faults := self.before.get((method, path), [])):
            faults.remove(fault)
            raise fault
        return {"POST": self._post, "GET": self._get, "DELETE": self._delete}[method](path, body or {})

    def _post(self, path: str, body: Json) -> Json:
        key = f"{path}/{body['metadata']['name']}"
        if key in self.objects:
            raise ApiFailure(409, "AlreadyExists", "already exists")
        self.objects[key] = {**body, "metadata": {**body["metadata"], "uid": next(self._uids)}}
        return self.objects[key]

    def _get(self, path: str, body: Json) -> Json:
        if path not in self.objects:
            raise ApiFailure(404, "NotFound", f"{path} not found")
        return self.objects[path]

    def _delete(self, path: str, body: Json) -> Json:
        found = self._get(path, {})
        if body["preconditions"]["uid"] != found["metadata"]["uid"]:
            raise ApiFailure(409, "Conflict", "the uid is another")
        return self.objects.pop(path)

    def fail(self, method: str, path: str, *faults: Exception | Killed) -> None:
        self.before[method, path] = list(faults)

    @property
    def secret(self) -> Json:
        return self.objects[f"{SECRETS}/{NAME}"]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def launcher(cluster: Cluster) -> KubernetesLauncher:
    return KubernetesLauncher(cast(KubeApi, cluster), SHAPE)


def owner_of(secret: Json) -> str:
    (owner,) = secret["metadata"]["ownerReferences"]
    return str(owner["uid"])


def test_the_secret_whole() -> None:
    assert make_secret(ATTEMPT, SHAPE, "uid-1") == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"pw-{RUN}-1",
            "namespace": "runs",
            "labels": labels(ATTEMPT, SHAPE),
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": f"pw-{RUN}-1", "uid": "uid-1"}],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {"HOME": "L3Jvb3Q=", "KEY": "JCh2YWx1ZSkgw7w="},
    }


def test_the_pod_names_its_secrets_and_holds_none_of_them() -> None:
    pod = make_pod(ATTEMPT, SHAPE)
    agent, run = pod["spec"]["containers"]
    assert [each["name"] for each in agent["env"]] == ["POD_UID"]
    env = {each["name"]: each for each in run["env"]}
    assert len(env) == len(run["env"]), "no name stands there twice"
    for name in ("HOME", "KEY"):
        assert env[name] == {"name": name, "valueFrom": {"secretKeyRef": {"name": f"pw-{RUN}-1", "key": name}}}
    assert env["PLAIN"] == {"name": "PLAIN", "value": "p"}
    assert "value)" not in str(pod) and "/root" not in str(pod)


def test_the_labels_agree_before_and_after_the_launch_and_tell_nothing_of_a_value() -> None:
    stored = Attempt(RUN, 1, RunSpec.from_json(SPEC.to_json()))
    assert labels(stored, SHAPE) == labels(ATTEMPT, SHAPE)
    assert spec_hash(RunSpec(command=("x",))) != spec_hash(RunSpec(command=("x",), secrets=("A",)))


def test_a_value_that_is_missing_is_never_launched_without(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    with pytest.raises(LaunchRefused, match="not there any more: HOME, KEY"):
        launcher.launch(Attempt(RUN, 1, SPEC))
    assert cluster.objects == {}


def test_a_run_without_secrets_asks_nothing_about_any(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    launcher.launch(Attempt(RUN, 1, RunSpec(script="1", language="python")))
    assert cluster.requests == [("POST", PODS)]


def test_the_secret_comes_right_after_the_pod_and_is_its_own(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    uid = launcher.launch(ATTEMPT)
    assert cluster.requests == [("POST", PODS), ("POST", SECRETS)]
    assert owner_of(cluster.secret) == uid
    before = cluster.secret
    assert launcher.launch(ATTEMPT) == uid
    assert cluster.secret == before


def test_a_launcher_killed_between_pod_and_secret_is_completed(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    cluster.fail("POST", SECRETS, Killed())
    with pytest.raises(Killed):
        launcher.launch(ATTEMPT)
    assert list(cluster.objects) == [f"{PODS}/{NAME}"]
    uid = launcher.launch(ATTEMPT)
    assert (owner_of(cluster.secret), uid) == (uid, "uid-1")


@pytest.mark.parametrize("status", [0, 403, 500])
def test_an_answer_that_got_lost_or_hides_it_changes_nothing(launcher: KubernetesLauncher, cluster: Cluster, status: int) -> None:
    uid = launcher.launch(ATTEMPT)
    cluster.fail("POST", SECRETS, ApiFailure(status, "", "exceeded quota"))
    assert launcher.launch(ATTEMPT) == uid


def test_a_secret_that_an_earlier_pod_left_behind_is_replaced(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    launcher.launch(ATTEMPT)
    del cluster.objects[f"{PODS}/{NAME}"]
    with pytest.raises(LauncherUnavailable):
        launcher.launch(ATTEMPT)
    uid = launcher.launch(ATTEMPT)
    assert owner_of(cluster.secret) == uid == "uid-3"


def test_a_replacement_is_left_alone_by_whoever_saw_the_old_one(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    launcher.launch(ATTEMPT)
    del cluster.objects[f"{PODS}/{NAME}"]
    cluster.fail("DELETE", f"{SECRETS}/{NAME}", ApiFailure(409, "Conflict", "the uid is another"))
    with pytest.raises(LauncherUnavailable):
        launcher.launch(ATTEMPT)
    assert owner_of(cluster.secret) == "uid-1"


def test_somebody_else_s_secret_is_neither_used_nor_removed(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    other = {"metadata": {"name": NAME, "uid": "theirs", "labels": {"podwire.dev/instance": "neighbour"}}}
    cluster.objects[f"{SECRETS}/{NAME}"] = other
    with pytest.raises(LaunchRefused, match="Another Secret"):
        launcher.launch(ATTEMPT)
    assert cluster.secret == other


def test_a_right_that_is_missing_is_said(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    cluster.fail("POST", SECRETS, ApiFailure(403, "Forbidden", "secrets is forbidden"))
    cluster.fail("GET", f"{SECRETS}/{NAME}", ApiFailure(403, "Forbidden", "secrets is forbidden"))
    with pytest.raises(LaunchRefused, match="tell the administrator"):
        launcher.launch(ATTEMPT)


def test_rights_that_are_missing_for_a_moment_are_waited_for(
    launcher: KubernetesLauncher, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "RIGHTS_EVERY_S", 0.01)
    starting = ApiFailure(403, "Forbidden", 'pods is forbidden: User "podwire" cannot create resource "pods" in API group ""')
    for method, path in (("POST", PODS), ("GET", f"{PODS}/{NAME}")):
        cluster.fail(method, path, starting)
    assert launcher.launch(ATTEMPT) == "uid-1"
    monkeypatch.setattr(kubernetes, "RIGHTS_WITHIN_S", 0.0)
    cluster.fail("POST", PODS, starting)
    cluster.fail("GET", f"{PODS}/{NAME}", starting)
    with pytest.raises(LaunchRefused, match="tell the administrator"):
        launcher.launch(ATTEMPT)


def test_an_attempt_shows_no_value_of_its_secrets() -> None:
    assert "/root" not in repr(ATTEMPT)
