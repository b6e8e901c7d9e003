"""Steering over HTTP: who may do what, in which form, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.web.doubles import Site


@pytest.fixture
def careful(tmp_path: Path) -> Site:
    """A site where people may use priorities up to normal."""
    return Site(tmp_path, max_priority="normal")


def test_people_use_priorities_up_to_the_configured_one_and_go_down_always(careful: Site) -> None:
    refused = careful.client().post("/v1/runs", json={"script": "x", "language": "bash", "priority": "high"})
    assert refused.status_code == 403 and refused.get_json()["field"] == "priority"
    run = careful.submit()
    path = f"/v1/runs/{run['id']}"
    assert careful.client().patch(path, json={"priority": "critical"}).status_code == 403
    assert careful.client("root").patch(path, json={"priority": "critical"}).get_json()["priority"] == "critical"
    assert careful.client().patch(path, json={"priority": "high"}).get_json()["priority"] == "high"
    assert careful.client().patch(path, json={"priority": "critical"}).status_code == 403
    assert careful.client().patch(path, json={"priority": "low"}).get_json()["priority"] == "low"


def test_an_admin_moves_a_run_to_the_front(site: Site) -> None:
    site.submit(priority="critical")
    path = f"/v1/runs/{site.submit('bob')['id']}"
    assert site.client("bob").patch(path, json={"front": True}).status_code == 403
    assert site.client().patch(path, json={"front": True}).status_code == 403
    assert site.client("root").patch(path, json={"front": True}).get_json()["priority"] == "normal"
    assert site.client("bob").get(path).get_json()["wait"]["position"] == 1
    for body in ({}, {"front": True, "priority": "low"}, {"front": False}):
        assert site.client("root").patch(path, json=body).status_code == 422


def test_only_admins_pause_and_close_the_queue_and_everybody_is_told_why(site: Site) -> None:
    run = site.submit()
    assert site.client().patch("/v1/admin/queue", json={"paused": True}).status_code == 403
    assert site.client().get("/v1/admin/queue").status_code == 403
    root = site.client("root")
    state = root.patch("/v1/admin/queue", json={"paused": True, "closed": True}).get_json()
    assert state == {"paused": True, "closed": True, "queued": 1, "active": 0, "waiting": 0}
    refused = site.client().post("/v1/runs", json={"script": "x", "language": "bash"})
    assert refused.status_code == 503 and refused.get_json()["code"] == "queue_closed" and refused.headers["Retry-After"]
    assert "paused" in site.client().get(f"/v1/runs/{run['id']}").get_json()["wait"]["message"]
    assert root.patch("/v1/admin/queue", json={"closed": False}).get_json()["paused"] is True
    assert root.get("/v1/admin/queue").get_json()["closed"] is False
    assert root.patch("/v1/admin/queue", json={"paused": "yes"}).status_code == 422


def test_the_record_is_for_admins_and_of_ones_own_runs_for_everybody(site: Site) -> None:
    mine, other = site.submit(), site.submit("bob")
    for number, priority in enumerate(("high", "low", "normal")):
        site.client().patch(f"/v1/runs/{mine['id']}", json={"priority": priority})
        site.client("bob").post(f"/v1/runs/{other['id']}/cancel", json={}) if number == 1 else None
    assert site.client().get("/v1/audit").status_code == 403
    assert site.client().get(f"/v1/audit?subject={other['id']}").status_code == 404
    own = site.client().get(f"/v1/audit?subject={mine['id']}").get_json()["items"]
    assert [(entry["by"], entry["before"], entry["after"]) for entry in own] == [
        ("ann", "low", "normal"),
        ("ann", "high", "low"),
        ("ann", "normal", "high"),
    ]
    first = site.client("root").get("/v1/audit?limit=2").get_json()
    assert [entry["action"] for entry in first["items"]] == ["priority", "cancel"]
    rest = site.client("root").get(first["next"]).get_json()
    assert [entry["action"] for entry in rest["items"]] == ["priority", "priority"] and rest["next"] is None
