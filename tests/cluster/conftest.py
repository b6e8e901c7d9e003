"""A namespace of one's own on the cluster that KUBECONFIG names, and launchers there.

The cluster's nodes must have Podwire's image and a Python image, or be able to pull them: PODWIRE_TEST_IMAGE (default
localhost/podwire:dev), PODWIRE_TEST_RUN_IMAGE (default docker.io/library/python:3.11-slim-bookworm) and one that holds a
busybox and nothing else, PODWIRE_TEST_BARE_IMAGE (default docker.io/library/busybox:1.36).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape
from tests.cluster.installation import IMAGE as IMAGE
from tests.cluster.installation import RUN_IMAGE as RUN_IMAGE
from tests.cluster.installation import installed
from tests.cluster.observer import Observer
from tests.contract.attempts import clear
from tests.contract.attempts import launched as launched
from tests.integration.client import Client
from tests.integration.cluster import Podwire

BARE_IMAGE = os.environ.get("PODWIRE_TEST_BARE_IMAGE", "docker.io/library/busybox:1.36")
# How long a lost node may come back, after the some 20 s in which a test cluster notices that it is lost.
LOST_NODE_S = 10
# The service has a name of its own: what other tests launch is not left over in its eyes.
SERVICE = "service"
LANGUAGES = {"python": ("python3",), "bash": ("bash",), "sh": ("sh",)}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}


@pytest.fixture(scope="session")
def api() -> KubeApi:
    if "KUBECONFIG" not in os.environ:
        pytest.skip("a cluster is missing: KUBECONFIG is not set")
    made = KubeApi()
    try:
        made.call("GET", "/version")
    except ApiFailure as failure:
        pytest.skip(f"a cluster is missing: {failure}")
    return made


@pytest.fixture(scope="session")
def namespace(api: KubeApi) -> Iterator[str]:
    yield from make_namespace(api)


@pytest.fixture
def other_namespace(api: KubeApi) -> Iterator[str]:
    yield from make_namespace(api)


def make_namespace(api: KubeApi) -> Iterator[str]:
    """Make a namespace that enforces the restricted PodSecurity, and delete it with all that is in it."""
    name = f"podwire-test-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    api.call("POST", "/api/v1/namespaces", body)
    # Pods are refused until the namespace has its service account.
    wait_for(lambda: exists(api, f"/api/v1/namespaces/{name}/serviceaccounts/default"))
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session", autouse=True)
def observer(api: KubeApi, namespace: str) -> Iterator[Observer]:
    """Watches every pod of every test; no attempt may ever be started in two of them."""
    made = Observer(api, namespace)
    made.start()
    yield made
    made.end()
    print(f"\nobserved {len(made.uids)} attempts, {len(made.seconds())} with a second pod, {len(made.doubled())} started twice")
    assert not made.doubled()


@pytest.fixture(scope="session")
def shape(namespace: str) -> Shape:
    images = dict.fromkeys(LANGUAGES, RUN_IMAGE)
    kept = {"languages": LANGUAGES, "images": images, "default_image": RUN_IMAGE, "allowed_images": ("*",)}
    return Shape(namespace, IMAGE, agent_cpu_request=0.01, keeps_artefacts=True, **kept)  # type: ignore[arg-type]


@pytest.fixture
def launcher(api: KubeApi, shape: Shape) -> Iterator[KubernetesLauncher]:
    made = KubernetesLauncher(api, shape)
    yield made
    clear(made)


@pytest.fixture(scope="session")
def podwire(api: KubeApi, namespace: str) -> Iterator[Podwire]:
    """The whole service: three web replicas and two workers as processes here, runs as pods there."""
    with installed(namespace, web=3, kube_instance=SERVICE, kube_lost_node_s=LOST_NODE_S) as made:
        yield made
        wait_for(lambda: not api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"])


@pytest.fixture
def client(podwire: Podwire) -> Iterator[Client]:
    yield podwire.client()
    podwire.must_run()


def exists(api: KubeApi, path: str) -> bool:
    with suppress(ApiFailure):
        return bool(api.call("GET", path))
    return False


def wait_for(done: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
