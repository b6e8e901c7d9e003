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
from dataclasses import replace

import pytest

from app.domain.errors import LauncherUnavailable
from app.domain.ports import Attempt, Launcher
from app.launch.kube_api import KubeApi
from app.launch.kube_errors import ApiFailure
from app.launch.kubernetes import KubernetesLauncher
from app.launch.manifest import Shape
from tests.contract.attempts import Follower, clear

IMAGE = os.environ.get("PODWIRE_TEST_IMAGE", "localhost/podwire:dev")
RUN_IMAGE = os.environ.get("PODWIRE_TEST_RUN_IMAGE", "docker.io/library/python:3.11-slim-bookworm")
BARE_IMAGE = os.environ.get("PODWIRE_TEST_BARE_IMAGE", "docker.io/library/busybox:1.36")
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
    name = f"podwire-test-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    api.call("POST", "/api/v1/namespaces", body)
    # Pods are refused until the namespace has its service account.
    wait_for(lambda: exists(api, f"/api/v1/namespaces/{name}/serviceaccounts/default"))
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def shape(namespace: str) -> Shape:
    images = dict.fromkeys(LANGUAGES, RUN_IMAGE)
    kept = {"languages": LANGUAGES, "images": images, "default_image": RUN_IMAGE, "allowed_images": ("*",)}
    return Shape(namespace, IMAGE, agent_cpu_request=0.01, **kept)  # type: ignore[arg-type]


@pytest.fixture
def launcher(api: KubeApi, shape: Shape) -> Iterator[KubernetesLauncher]:
    made = KubernetesLauncher(api, shape)
    yield made
    clear(made)


def exists(api: KubeApi, path: str) -> bool:
    with suppress(ApiFailure):
        return bool(api.call("GET", path))
    return False


def wait_for(done: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def launched(launcher: Launcher, what: Attempt) -> Follower:
    """Launch, store the handle as a supervisor does, and follow."""
    while True:
        try:
            handle = launcher.launch(what)
            break
        except LauncherUnavailable:
            time.sleep(0.2)
    return Follower(launcher, replace(what, handle=handle))
