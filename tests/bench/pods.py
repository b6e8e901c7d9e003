"""The plain side of the benchmarks on Kubernetes: bare pods made with the kubernetes client; and Podwire on the same cluster.

A bare pod has one container: the image, the command and the limits of the run that it is measured beside, and nothing else.
A twin has a second one besides, which sleeps: the containers, limits and volumes of a run's pod, without what the agent does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kubernetes import client, config

from tests.bench.servers import BenchRedis, Server, raise_open_files
from tests.bench.stack import MANY, Stack

AGENT_IMAGE = os.environ.get("PODWIRE_TEST_IMAGE", "localhost/podwire:dev")
RUN_IMAGE = os.environ.get("PODWIRE_TEST_RUN_IMAGE", "docker.io/library/python:3.11-slim-bookworm")
ASK_EVERY_S = 0.01
VOLUMES = ("tmp", "podwire", "ask", "spool", "work")
SLEEPER = {
    "name": "agent",
    "image": AGENT_IMAGE,
    "command": ["/bin/busybox", "sleep", "3600"],
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
}
WITHIN_S = 120.0


@dataclass(frozen=True)
class Size:
    """The limits of a container; requests are the same."""

    cpu: float = 0.2
    memory_bytes: int = 64 * 1024**2
    disk_bytes: int = 1024**3

    def limits(self) -> dict[str, str]:
        """Return them as Kubernetes wants them."""
        cpu, memory, disk = f"{round(self.cpu * 1000)}m", str(self.memory_bytes), str(self.disk_bytes)
        return {"cpu": cpu, "memory": memory, "ephemeral-storage": disk}

    def fields(self) -> dict[str, object]:
        """Return them as a run's request has them."""
        return {"cpu": self.cpu, "memory": self.memory_bytes, "disk": self.disk_bytes}


class BarePods:
    """Bare pods in a namespace of one's own, on the cluster of KUBECONFIG."""

    def __init__(self) -> None:
        """Create the namespace; `close` deletes it and all that is in it."""
        config.load_kube_config()
        self._api = client.CoreV1Api(client.ApiClient(self._settings()))
        self.namespace = f"podwire-bench-{uuid.uuid4().hex[:8]}"
        self._api.create_namespace({"metadata": {"name": self.namespace}})
        until = time.monotonic() + WITHIN_S
        while not self._has_account():
            if time.monotonic() > until:
                raise SystemExit("the namespace has no service account")
            time.sleep(0.1)

    @staticmethod
    def _settings() -> client.Configuration:
        settings = client.Configuration.get_default_copy()
        settings.connection_pool_maxsize = 64
        return settings

    def _has_account(self) -> bool:
        with suppress(client.ApiException):
            return bool(self._api.read_namespaced_service_account("default", self.namespace))
        return False

    def create(self, command: Sequence[str], size: Size, *, twin: bool = False) -> str:
        """Create a pod and return its name; it may not have started yet."""
        name = f"bare-{uuid.uuid4().hex[:12]}"
        sizes = VOLUMES if twin else VOLUMES[:1]
        container = {
            "name": "run",
            "image": RUN_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": list(command),
            "resources": {"requests": size.limits(), "limits": size.limits()},
            "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in sizes],
        }
        containers = [{**container, **SLEEPER}, container] if twin else [container]
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "containers": containers,
            "volumes": [{"name": volume, "emptyDir": {}} for volume in sizes],
        }
        self._api.create_namespaced_pod(self.namespace, {"metadata": {"name": name}, "spec": spec})
        return name

    def first_byte(self, name: str) -> bytes:
        """Wait for the first byte of the pod's output, as `logs -f` tells it; it is asked for until the container is there."""
        until = time.monotonic() + WITHIN_S
        while time.monotonic() < until:
            with suppress(client.ApiException):
                answer = self._api.read_namespaced_pod_log(name, self.namespace, follow=True, _preload_content=False)
                with answer:
                    if first := answer.read(1):
                        return bytes(first)
            time.sleep(ASK_EVERY_S)
        raise SystemExit(f"pod {name} wrote nothing")

    def begun(self) -> int:
        """Return how many pods have a container `run` that runs or has run."""
        pods = self._api.list_namespaced_pod(self.namespace, resource_version="0").items
        states = [each.state for pod in pods for each in pod.status.container_statuses or () if each.name == "run"]
        return sum(state.running is not None or state.terminated is not None for state in states)

    def clear(self) -> None:
        """Delete every pod and wait until they are gone."""
        self._api.delete_collection_namespaced_pod(self.namespace, grace_period_seconds=0)
        until = time.monotonic() + WITHIN_S
        while self._api.list_namespaced_pod(self.namespace).items:
            if time.monotonic() > until:
                raise SystemExit("pods did not go away")
            time.sleep(0.1)

    def close(self) -> None:
        """Delete the namespace."""
        self._api.delete_namespace(self.namespace)


@contextmanager
def both(**settings: object) -> Iterator[tuple[BarePods, Stack, Server]]:
    """Yield bare pods and, beside them on the same cluster, the smallest whole Podwire: SQLite, a web process, a worker."""
    raise_open_files()
    redis, bare, own = BenchRedis(), BarePods(), BarePods()
    redis.start()
    kube = {
        "launcher": "kubernetes",
        "kube_namespace": own.namespace,
        "kube_agent_image": AGENT_IMAGE,
        "kube_images": json.dumps({"python": RUN_IMAGE, "bash": RUN_IMAGE}),
        "kube_default_image": RUN_IMAGE,
    }
    stack = Stack(redis.url, max_active=MANY, max_active_per_owner=MANY, **kube, **settings)
    try:
        with stack.web() as web, stack.worker():
            yield bare, stack, web
    finally:
        stack.close()
        redis.remove()
        bare.close()
        own.close()


def kubectl(*words: str) -> subprocess.Popen[bytes]:
    """Run kubectl; its output is a pipe."""
    program = shutil.which("kubectl")
    if program is None:
        raise SystemExit("kubectl is missing")
    return subprocess.Popen([program, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
