"""The kill test on a cluster: the service as processes here, its runs as pods there, and the parts of the cluster killed as well.

Podwire has the documented rights and no others; the observer beside it is the cluster's administrator.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from tests.cluster.conftest import RESTRICTED, exists, wait_for
from tests.cluster.installation import installed
from tests.cluster.node import SECOND, TestNode
from tests.cluster.observer import Observer
from tests.cluster.rights import grant, kubeconfig_of
from tests.integration.cluster import Podwire
from tests.kill.chaos import Chaos
from tests.kill.cluster_chaos import ClusterChaos, ready
from tests.kill.ground import ClusterGround
from tests.kill.trial import LEASE_S, Plan, Verdict, trial


def plan(duration_s: float, seed: int) -> Plan:
    """Return what is enough for two small nodes that share a machine with the test."""
    return Plan(duration_s, seed, at_once=8, pace_s=0.12)


def kill(how: Plan, folder: str | None) -> Verdict:
    """Try it on the cluster of KUBECONFIG, or on a test node whose tools are in the folder; then all is as it was before."""
    if folder is None:
        return _kill(how, None, os.environ["KUBECONFIG"])
    node = TestNode(folder)
    config = node.up(2)
    try:
        return _kill(how, node, config)
    finally:
        node.restore(lambda: ready(KubeApi(kubeconfig=config), "node1", SECOND))


def _kill(how: Plan, node: TestNode | None, config: str) -> Verdict:
    api = KubeApi(kubeconfig=config)
    with _namespace(api) as namespace, _service(api, namespace, config) as podwire:
        observer = Observer(api, namespace)
        observer.start()
        chaos = ClusterChaos(podwire, how.seed, LEASE_S, node, api) if node else Chaos(podwire, how.seed, LEASE_S)
        lost = chaos.may_be_lost if isinstance(chaos, ClusterChaos) else _never
        try:
            verdict = trial(podwire, ClusterGround(observer, lost, lambda: _pods(api, namespace)), chaos, how)
            if verdict.complaints:
                verdict.complaints.append(f"the logs of all processes are kept in {_kept_logs(podwire)}")
            return verdict
        finally:
            observer.end()


def _kept_logs(podwire: Podwire) -> str:
    folder = tempfile.mkdtemp(prefix="pw-kill-logs-")
    for process in podwire.processes:
        shutil.copy(process.log, folder)
    return folder


def _never(node: str) -> bool:
    return False


@contextmanager
def _namespace(api: KubeApi) -> Iterator[str]:
    name = f"podwire-kill-{uuid.uuid4().hex[:8]}"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    try:
        wait_for(lambda: exists(api, f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        yield name
    finally:
        wait_for(lambda: _deleted(api, f"/api/v1/namespaces/{name}"))


def _deleted(api: KubeApi, path: str) -> bool:
    """Say whether the cluster has taken the deletion; it may not be well yet."""
    try:
        api.call("DELETE", path)
    except ApiFailure as failure:
        return failure.missing or failure.status == 409
    return True


@contextmanager
def _service(api: KubeApi, namespace: str, config: str) -> Iterator[Podwire]:
    folder = Path(tempfile.mkdtemp(prefix="pw-kill-"))
    own = kubeconfig_of(grant(api, namespace), folder, config)
    limits = {"lease_s": LEASE_S, "renew_s": 1, "max_active": 8, "max_active_per_owner": 8}
    try:
        with installed(namespace, web=3, environment={"KUBECONFIG": own}, **limits) as podwire:
            yield podwire
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pods(api: KubeApi, namespace: str) -> list[str]:
    try:
        return [pod["metadata"]["name"] for pod in api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]]
    except ApiFailure as failure:
        return [str(failure)]
