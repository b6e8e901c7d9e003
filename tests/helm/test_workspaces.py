"""The storage of artefacts in the chart: who mounts it, and that a volume of one node has all its pods there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.charts import Refused, render

RWO: dict[str, Any] = {"app.workspaces.enabled": True}
RWX: dict[str, Any] = {**RWO, "app.workspaces.accessModes": ["ReadWriteOnce", "ReadWriteMany"]}
LABEL = "podwire.dev/workspaces"


def templates(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the pods' templates of Deployments and Jobs by their component."""
    found = [each["spec"]["template"] for each in render(values) if each["kind"] in ("Deployment", "Job")]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found}


def budgets(values: dict[str, Any]) -> list[str]:
    found = [each for each in render(values) if each["kind"] == "PodDisruptionBudget"]
    return sorted(each["metadata"]["labels"]["app.kubernetes.io/component"] for each in found)


def environment(template: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in template["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize("values", [RWO, RWX])
def test_web_and_workers_mount_the_claim_and_nobody_else_does(values: dict[str, Any]) -> None:
    (claim,) = [each["metadata"]["name"] for each in render(values) if each["kind"] == "PersistentVolumeClaim"]
    for component, template in templates({**values, "dev.enabled": True}).items():
        mounts = [each for each in template["spec"]["containers"][0].get("volumeMounts", []) if each["name"] == "workspaces"]
        claims = [
            each["persistentVolumeClaim"] for each in template["spec"].get("volumes", []) if "persistentVolumeClaim" in each
        ]
        wanted = component in ("web", "worker")
        assert (mounts, claims) == (
            ([{"name": "workspaces", "mountPath": "/workspaces"}], [{"claimName": claim}]) if wanted else ([], [])
        ), component
        if wanted:
            assert environment(template)["PODWIRE_WORKSPACES_DIR"] == "/workspaces"
            assert template["spec"]["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_off_is_off() -> None:
    for template in templates({}).values():
        assert "PODWIRE_WORKSPACES_DIR" not in environment(template) and LABEL not in template["metadata"]["labels"]
    assert not [each for each in render({}) if each["kind"] == "PersistentVolumeClaim"]


@pytest.mark.trap("D7")
def test_a_volume_of_one_node_has_web_and_workers_there() -> None:
    found = templates({**RWO, "flower.enabled": True, "flower.image.repository": "f", "flower.existingSecret": "s"})
    for component, template in found.items():
        together = component in ("web", "worker")
        assert (LABEL in template["metadata"]["labels"]) is together, component
        if together:
            (term,) = template["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            assert term["topologyKey"] == "kubernetes.io/hostname"
            chosen = term["labelSelector"]["matchLabels"]
            # The first of them may go anywhere because it satisfies the rule itself.
            assert chosen.items() <= template["metadata"]["labels"].items() and chosen == {LABEL: "shop"}
            assert "topologySpreadConstraints" not in template["spec"]
    # With one of its pods held back by a budget, a drain of that node would never end: the others may not go elsewhere.
    assert budgets(RWO) == ["runs"]
    shared = templates(RWX)
    assert all(LABEL not in each["metadata"]["labels"] and "affinity" not in each["spec"] for each in shared.values())
    assert budgets(RWX) == ["runs", "web", "worker"]


def test_an_affinity_of_one_s_own_stays() -> None:
    node = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
    both = templates({**RWO, "worker.affinity": node})["worker"]["spec"]["affinity"]
    assert both["nodeAffinity"] == node["nodeAffinity"] and "podAffinity" in both
    own = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    assert templates({**RWO, "worker.affinity": own})["worker"]["spec"]["affinity"] == own


def test_the_folder_is_set_in_one_place() -> None:
    with pytest.raises(Refused, match=r"settings\.workspaces_dir and app\.workspaces\.enabled"):
        render({**RWO, "settings.workspaces_dir": "/elsewhere"})
    mine = templates({"settings.workspaces_dir": "/nfs"})
    assert {environment(each)["PODWIRE_WORKSPACES_DIR"] for each in mine.values()} == {"/nfs"}
