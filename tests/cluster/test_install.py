"""The chart on a real cluster: installed as its README says, tested by `helm test`, upgraded and disturbed under load.

scripts/upgradetest is the long one.
"""

from __future__ import annotations

import json
import random
import shutil
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.launch.kubernetes.api.kube_api import KubeApi
from tests.cluster.conftest import wait_for
from tests.cluster.installation import IMAGE, PREVIOUS_IMAGE
from tests.integration.client import Client
from tests.upgrade.release import Release
from tests.upgrade.trial import Doings, Load, prove

# Both nodes are needed.
pytestmark = pytest.mark.xdist_group("nodes")


WATCHER = "ops:only for tests"
WITH_FLOWER = {
    "flower": {"enabled": True, "existingSecret": "watchers"},
    "extraObjects": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "watchers"}, "stringData": {"basic-auth": WATCHER}},
    ],
}


@pytest.fixture(scope="module")
def release(api: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The present version."""
    with installed(IMAGE, tmp_path_factory.mktemp("values")) as made:
        yield made


@pytest.fixture
def earlier_release(api: KubeApi, tmp_path: Path) -> Iterator[Release]:
    """The version to upgrade from."""
    with installed(PREVIOUS_IMAGE, tmp_path) as made:
        yield made


@contextmanager
def installed(image: str, folder: Path) -> Iterator[Release]:
    for tool in ("helm", "kubectl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing")
    values = folder / "flower.json"
    values.write_text(json.dumps(WITH_FLOWER))
    made = Release(image, files=[str(values)])
    try:
        made.install()
        yield made
    finally:
        made.remove()


def test_helm_test_sends_a_run_and_answers_it(release: Release) -> None:
    assert "the run came back as it must" in release.test()


def test_flower_shows_a_run_to_who_has_the_password(release: Release) -> None:
    client, flower = Client([release.url()], release.token()), release.url("flower")
    assert ask(f"{flower}/api/tasks", None)[0] == 401
    run = client.submit("sleep 20", priority="high")
    wait_for(lambda: run in ask(f"{flower}/api/tasks", WATCHER)[1], 60)
    [task] = [one for one in json.loads(ask(f"{flower}/api/tasks", WATCHER)[1]).values() if run in one["args"]]
    assert "'priority': 'high'" in task["kwargs"] and f"'owner': '{client.run(run)['owner']}'" in task["kwargs"]
    client.cancel(run).must(200, 202)


def ask(url: str, watcher: str | None) -> tuple[int, str]:
    """Return the status and body of what Flower answers."""
    request = urllib.request.Request(url)
    if watcher is not None:
        request.add_header("Authorization", "Basic " + b64encode(watcher.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


@pytest.mark.trap("D12")
def test_an_upgrade_and_a_deleted_pod_lose_nothing_and_refuse_nobody(earlier_release: Release, api: KubeApi) -> None:
    """What pods of the earlier version hold, workers of this one take over, and the other way round while both are there."""
    release, tag = earlier_release, IMAGE.rpartition(":")[2]
    assert len(release.nodes_of("web")) == 2 or len(api.call("GET", "/api/v1/nodes")["items"]) == 1
    before = {component: release.images_of(component) for component in ("web", "worker")}
    load = Load(random.randrange(1, 100_000), at_once=4)
    verdict = prove(release, api, release.url(), Doings(release, tag).short(), load)
    print(verdict.table)
    assert not verdict.complaints, "\n".join([verdict.table, *verdict.complaints[:20], release.state()])
    for component, images in before.items():
        assert len(images) == 1 and not images & release.images_of(component), "two versions, not one under two names"
