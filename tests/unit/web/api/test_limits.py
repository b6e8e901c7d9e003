"""What a run may ask for, and the limits that admins set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.web.doubles import Site

CLUSTER = {"launcher": "kubernetes", "kube_namespace": "runs", "kube_agent_image": "podwire"}


def test_what_a_run_may_ask_for_is_shown_and_another_image_is_refused(tmp_path: Any) -> None:
    images = {"kube_images": '{"python": "python:3.12"}', "kube_allowed_images": '["mine/*"]'}
    client = Site(tmp_path, **CLUSTER, **images).client()
    limits = client.get("/v1/limits").get_json()
    assert limits["images"] == {"allowed": ["python:3.12", "mine/*"], "by_language": {"python": "python:3.12"}, "default": None}
    assert (limits["languages"], limits["cpu"]) == (["python", "bash", "node"], 4.0)
    assert client.post("/v1/runs", json={"command": ["true"], "image": "mine/tool"}).status_code == 201
    for wrong in ({"command": ["true"], "image": "other"}, {"command": ["true"]}, {"script": "1", "language": "bash"}):
        answer = client.post("/v1/runs", json=wrong)
        assert answer.status_code == 422, wrong
        assert [fault["field"] for fault in answer.get_json()["errors"]] == ["image"], wrong


def test_where_runs_have_no_image_none_matters(site: Site) -> None:
    assert site.client().get("/v1/limits").get_json()["images"] is None
    assert site.submit(image="anything")["image"] == "anything"
    assert site.client(None).get("/v1/limits").status_code == 401


def test_admins_change_limits_and_nobody_else_does(site: Site) -> None:
    ann, root = site.client(), site.client("root")
    for answer in (
        ann.get("/v1/admin/limits"),
        ann.put("/v1/admin/limits", json={"scope": "all", "active": 1}),
        ann.delete("/v1/admin/limits?scope=all"),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")
    site.submit()
    assert root.put("/v1/admin/limits", json={"scope": "owner:ann", "pending": 1, "weight": 3, "group": "red"}).status_code == 200
    set_ = {item["scope"]: item for item in root.get("/v1/admin/limits").get_json()["items"]}
    assert set_["owner:ann"] == {
        "scope": "owner:ann",
        "pending": 1,
        "active": None,
        "queue_length": None,
        "weight": 3,
        "group": "red",
        "counts": {"queued": 1, "active": 0, "waiting": 0},
    }
    assert set_["group:red"]["counts"]["queued"] == 1
    refused = ann.post("/v1/runs", json={"script": "x", "language": "bash"})
    assert (refused.status_code, refused.get_json()["scope"], refused.get_json()["limit"]) == (429, "owner", 1)
    assert root.delete("/v1/admin/limits?scope=owner:ann").status_code == 200
    root.put("/v1/admin/limits", json={"scope": "group:red", "pending": 0})
    site.submit()
    root.put("/v1/admin/limits", json={"scope": "owner:ann", "group": "red"})
    refused = ann.post("/v1/runs", json={"script": "x", "language": "bash"})
    assert (refused.status_code, refused.get_json()["scope"], refused.get_json()["current"]) == (429, "group:red", 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scope": "nobody"}, "scope"),
        ({"scope": "group:a b"}, "scope"),
        ({"scope": "all", "pending": 1}, "pending"),
        ({"scope": "label:a=b"}, "active"),
        ({"scope": "owner:ann", "weight": 0}, "weight"),
        ({"scope": "owner:ann", "group": "a/b"}, "group"),
        ({"scope": "group:red", "active": -1}, "active"),
        ({"scope": "all", "other": 1}, "other"),
        ({"active": 1}, "scope"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(site: Site, body: dict[str, Any], field: str) -> None:
    answer = site.client("root").put("/v1/admin/limits", json=body)
    assert answer.status_code == 422, answer.get_json()
    assert [fault["field"] for fault in answer.get_json()["errors"]] == [field]


def test_the_limits_of_nobody_are_not_found(site: Site) -> None:
    assert site.client("root").put("/v1/admin/limits", json={"scope": "owner:nobody", "active": 1}).status_code == 404
    assert site.client("root").delete("/v1/admin/limits?scope=owner:nobody").status_code == 404
