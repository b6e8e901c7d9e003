"""The chart on a real cluster: installed as its README says, tested by `helm test`, upgraded and disturbed under load.

scripts/upgradetest is the long one.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator

import pytest

from app.launch.kube_api import KubeApi
from tests.cluster.conftest import IMAGE
from tests.upgrade.release import Release
from tests.upgrade.trial import Doings, Load, prove

# A second name of an image of Podwire, to upgrade to; scripts/cluster-images makes it.
OTHER_TAG = os.environ.get("PODWIRE_TEST_OTHER_TAG", "next")


@pytest.fixture(scope="module")
def release(api: KubeApi) -> Iterator[Release]:
    for tool in ("helm", "kubectl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing")
    made = Release(IMAGE)
    try:
        made.install()
        yield made
    finally:
        made.remove()


def test_helm_test_sends_a_run_and_answers_it(release: Release) -> None:
    assert "the run came back as it must" in release.test()


@pytest.mark.trap("D12")
def test_an_upgrade_and_a_deleted_pod_lose_nothing_and_refuse_nobody(release: Release, api: KubeApi) -> None:
    assert len(release.nodes_of("web")) == 2 or len(api.call("GET", "/api/v1/nodes")["items"]) == 1
    load = Load(random.randrange(1, 100_000), at_once=4)
    verdict = prove(release, api, release.url(), Doings(release, OTHER_TAG).short(), load)
    print(verdict.table)
    assert not verdict.complaints, "\n".join([verdict.table, *verdict.complaints[:20], release.state()])
