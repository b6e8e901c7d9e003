"""Several attempts of one run as pods: what never began is tried again by itself, what began only on request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.domain.ports import Attempt
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.pods.manifest import pod_name
from tests.cluster.conftest import exists, wait_for
from tests.cluster.installation import installed
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import watch

SMALL: dict[str, object] = {"cpu": 0.1, "memory": "64Mi"}
STAYS = 'echo "$PODWIRE_ATTEMPT"; [ "$PODWIRE_ATTEMPT" -gt 1 ] || sleep 600'


@pytest.fixture(scope="module")
def podwire(api: KubeApi, namespace: str) -> Iterator[Podwire]:
    with installed(namespace, web=1, workers=1, retry_backoff_s=1, max_cpu=10_000) as made:
        yield made


@pytest.fixture
def client(podwire: Podwire) -> Iterator[Client]:
    yield podwire.client()
    podwire.must_run()


def pod(namespace: str, run: str, attempt: int) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{pod_name(Attempt(run, attempt, RunSpec()))}"


def delete(api: KubeApi, path: str) -> None:
    api.call("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})


def ends(run: dict[str, object]) -> list[object]:
    return [each["outcome"] and each["outcome"]["reason"] for each in run["attempts"]]  # type: ignore[attr-defined]


def test_a_pod_that_is_deleted_before_the_word_to_start_is_followed_by_another(
    client: Client, api: KubeApi, namespace: str
) -> None:
    # No node is that large: the pod waits, so that nothing can have begun.
    run = client.submit("echo never", cpu=5000, memory="64Mi")
    watcher = watch(client, run)
    first, second = (pod(namespace, run, attempt) for attempt in (1, 2))
    wait_for(lambda: exists(api, first))
    uid = api.call("GET", first)["metadata"]["uid"]
    delete(api, first)
    wait_for(lambda: exists(api, second))
    assert api.call("GET", second)["metadata"]["uid"] != uid and not exists(api, first)
    shown = client.wait_status(run, "starting")
    assert (shown["attempt"], ends(shown)) == (2, ["PodDeleted", None])
    client.cancel(run).must(202)
    assert watcher.finish(b"").end["status"] == "cancelled"
    wait_for(lambda: not exists(api, second))


def test_a_pod_that_is_deleted_while_its_program_runs_is_not(client: Client, api: KubeApi, namespace: str) -> None:
    run = client.submit(STAYS, **SMALL)
    watcher = watch(client, run)
    watcher.wait_for("1\n")
    delete(api, pod(namespace, run, 1))
    end = watcher.finish(b"1\n").end
    assert (end["status"], end["reason"]) == ("failed", "PodDeleted")
    assert client.run(run)["attempt"] == 1 and not exists(api, pod(namespace, run, 2))


def test_unless_it_was_asked_for(client: Client, api: KubeApi, namespace: str) -> None:
    run = client.submit(STAYS, retry={"max_attempts": 2, "reasons": ["PodDeleted"]}, **SMALL)
    watcher = watch(client, run)
    watcher.wait_for("1\n")
    delete(api, pod(namespace, run, 1))
    told = watcher.finish(b"1\n2\n")
    assert told.end["status"] == "succeeded"
    assert [event["attempt"] for event in told.of_kind("status") if event["status"] == "starting"] == [1, 2]
    assert ends(client.run(run)) == ["PodDeleted", "Completed"]
