"""What an upgrade must leave as it was: the objects of installations that began with an older chart, and what is fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.charts import Objects, render

HERE = Path(__file__).parent
VALUES = ["previous-values.yaml", "previous-full-values.yaml"]
# Written from the charts that were released; never to be changed.
RELEASED = HERE / "previous-objects.yaml"
# What the server refuses to change, or what others know these objects by.
FIXED = {
    "Deployment": ("selector",),
    "Service": ("selector", "ports", "type"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName", "resources"),
    "Ingress": ("rules", "ingressClassName"),
    "HTTPRoute": ("parentRefs",),
    "HorizontalPodAutoscaler": ("scaleTargetRef", "minReplicas", "maxReplicas"),
    "ScaledObject": ("scaleTargetRef", "minReplicaCount", "maxReplicaCount"),
    "ResourceQuota": ("hard",),
}

# A Job is of its revision; budgets follow what is known of drains, and hold nothing that could be lost.
FREE = ("Job", "PodDisruptionBudget")


def fixed_parts(objects: Objects) -> Objects:
    """Return what must not change of these objects."""
    return [
        {
            "kind": each["kind"],
            "apiVersion": each["apiVersion"],
            "name": each["metadata"]["name"],
            "namespace": each["metadata"].get("namespace", ""),
            "fixed": {part: each["spec"][part] for part in FIXED.get(each["kind"], ()) if part in each["spec"]},
            "roleRef": each.get("roleRef", {}),
            "keys": sorted(each.get("stringData", each.get("data", {}))) if each["kind"] == "Secret" else [],
        }
        for each in objects
        if each["kind"] not in FREE
    ]


@pytest.mark.trap("D5")
@pytest.mark.parametrize("values", VALUES)
def test_an_older_installation_keeps_its_objects(values: str) -> None:
    found = fixed_parts(render(files=(HERE / values,), upgrade=True))
    released: dict[str, list[dict[str, Any]]] = yaml.safe_load(RELEASED.read_text())
    kept = [each for each in released[values] if each["kind"] not in FREE]
    assert [each for each in kept if each not in found] == [] and len(kept) > 8


@pytest.mark.trap("D5")
@pytest.mark.parametrize("values", VALUES)
def test_an_older_values_file_means_the_same(values: str) -> None:
    def shape(objects: Objects) -> dict[str, Any]:
        specs = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Deployment"}
        return {name: [spec.get("replicas"), spec["strategy"]] for name, spec in specs.items() if "strategy" in spec}

    released = yaml.safe_load(RELEASED.read_text())["shapes"]
    assert shape(render(files=(HERE / values,), upgrade=True)) == released[values]
