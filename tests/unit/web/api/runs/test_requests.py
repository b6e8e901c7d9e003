"""What may be asked of a run: every fault is named, secrets are kept."""

from __future__ import annotations

import pytest

from app.domain.runs.spec import SpecLimits
from app.web.api.runs.requests import run_request
from tests.unit.web.doubles import Site


def test_every_fault_of_a_request_is_named_at_once(site: Site) -> None:
    body = {
        "language": "cobol",
        "script": "x",
        "priority": "URGENT",
        "cpu": 1000,
        "memory": "much",
        "env": {"PATH": 5},
        "args": ["a", 1],
        "nonsense": 1,
        "timeout": True,
    }
    answer = site.client().post("/v1/runs", json=body)
    assert answer.status_code == 422 and answer.mimetype == "application/problem+json"
    fields = {fault["field"] for fault in answer.get_json()["errors"]}
    assert fields == {"priority", "memory", "env.PATH", "args[1]", "nonsense", "timeout", "language", "cpu"}


def test_secrets_are_named_and_never_shown(site: Site) -> None:
    env = {"KEY": {"value": "s3cret", "secret": True}, "A": "1", "B": {"value": "2"}}
    run = site.submit(env=env)
    shown = [site.client().get(path).text for path in (f"/v1/runs/{run['id']}", "/v1/runs", "/v1/queue")]
    assert run["spec"]["env"] == {"A": "1", "B": "2"} and run["spec"]["secrets"] == ["KEY"]
    assert not any("s3cret" in text for text in shown)
    assert site.services.store.secrets.of_run(run["id"]) == {"KEY": "s3cret"}


@pytest.mark.parametrize("wrong", [5, None, {"secret": True}, {"value": 5}, {"value": "x", "secret": 1}, {"value": "x", "y": 1}])
def test_what_is_no_value_of_a_variable_is_refused(site: Site, wrong: object) -> None:
    answer = site.client().post("/v1/runs", json={"script": "x", "language": "bash", "env": {"KEY": wrong}})
    assert answer.status_code == 422
    assert all(fault["field"].startswith("env.KEY") for fault in answer.get_json()["errors"])


def test_the_hash_of_a_request_lets_nobody_try_out_secrets() -> None:
    def hashed(value: str, key: str, secret: bool = True) -> str:
        env = {"KEY": {"value": value, "secret": secret}}
        return run_request({"script": "x", "language": "bash", "env": env}, SpecLimits({"bash": ("bash",)})).fingerprint(key)

    assert hashed("a", "k") == hashed("a", "k") != hashed("b", "k")
    assert hashed("a", "k") != hashed("a", "other")
    assert hashed("a", "k", secret=False) == hashed("a", "other", secret=False)


@pytest.mark.trap("C18")
@pytest.mark.parametrize("priority", ["Critical", "HIGH", "", 5, 0, None, True, ["high"], {"a": 1}])
def test_only_the_five_priorities_exist(site: Site, priority: object) -> None:
    answer = site.client().post("/v1/runs", json={"script": "x", "language": "bash", "priority": priority})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "priority"
