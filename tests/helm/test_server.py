"""What an API server says to the manifests: nothing unknown, no wrong type, no pod that is not restricted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helm.charts import one, render
from tests.helm.test_chart import EVERYTHING, HPA, OF_OTHERS

NAMESPACES = ("podwire", "podwire-runs")


def kubectl(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *words], input=text, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, str]]:
    """Namespaces in place of those of the render, as nothing can be tried in one that is not there."""
    if not os.environ.get("KUBECONFIG") or shutil.which("kubectl") is None:
        pytest.skip("missing: a cluster (KUBECONFIG) and kubectl")
    found = {name: f"chart-{uuid.uuid4().hex[:8]}" for name in NAMESPACES}
    try:
        for name in found.values():
            assert kubectl("create", "namespace", name).returncode == 0
            assert kubectl("label", "namespace", name, "pod-security.kubernetes.io/warn=restricted").returncode == 0
        yield found
    finally:
        kubectl("delete", "namespace", "--wait=false", *found.values())


@pytest.mark.parametrize(
    "values", [{}, {"app.allowMultiReplica": False}, EVERYTHING, HPA], ids=["defaults", "recreate", "everything", "hpa"]
)
def test_the_server_takes_every_manifest_without_a_warning(places: dict[str, str], values: dict[str, Any]) -> None:
    for home in NAMESPACES:
        objects = [o for o in render(values) if o["kind"] not in OF_OTHERS | {"Namespace"}]
        here = [o for o in objects if o["metadata"].get("namespace", "podwire") == home]
        text = "\n---\n".join(_json(o, places[home]) for o in here)
        done = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", text=text)
        assert done.returncode == 0 and "arning" not in done.stderr, done.stderr
        assert done.stdout.count("(server dry run)") == len(here) > 3


def _json(manifest: dict[str, Any], namespace: str) -> str:
    return json.dumps(manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}})


@pytest.mark.trap("D13")
@pytest.mark.parametrize("way", [[], ["--server-side"]], ids=["client", "server"])
def test_a_living_deployment_can_change_from_rolling_to_recreate(places: dict[str, str], way: list[str]) -> None:
    shapes: tuple[dict[str, Any], ...] = ({}, {"app.allowMultiReplica": False})
    before, after = (one(render({"app.replicaCount": 0} | shape), "Deployment", "-web") for shape in shapes)
    name = {"name": f"switch-{len(way)}", "labels": before["metadata"]["labels"]}
    for step, manifest in enumerate((before, after, before)):
        done = kubectl("apply", *way, "-f", "-", text=_json(manifest | {"metadata": name}, places["podwire"]))
        assert done.returncode == 0, (step, done.stderr)
