"""The observer sees a second start. Nothing else shows that it would."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape, pod_name
from tests.cluster.conftest import exists, launched, wait_for
from tests.cluster.observer import Observer
from tests.contract.attempts import Follower, bash


@pytest.mark.trap("R1")
def test_a_second_pod_is_seen_and_a_second_start_is_told_from_it(api: KubeApi, shape: Shape, other_namespace: str) -> None:
    observer = Observer(api, other_namespace)
    observer.start()
    launcher = KubernetesLauncher(api, replace(shape, namespace=other_namespace))
    what = bash("echo ready; sleep 60", cpu=0.2, memory_bytes=64 * 1024**2)
    attempt = (what.run_id, "1")
    try:
        first = launched(launcher, what)
        first.until(lambda: first.output())
        launcher.remove(first.attempt)
        wait_for(lambda: not exists(api, f"/api/v1/namespaces/{other_namespace}/pods/{pod_name(what)}"))
        assert observer.doubled() == observer.seconds() == {}
        second = launched(launcher, what)
        wait_for(lambda: len(observer.uids[attempt]) == 2)
        assert observer.doubled() == {}
        second.until(lambda: second.output())
        wait_for(observer.doubled)
        assert observer.doubled() == {attempt: {second.attempt.handle}}
    finally:
        for follower in (each for each in locals().values() if isinstance(each, Follower)):
            follower.drop()
        observer.end()
