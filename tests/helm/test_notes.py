"""What the operator is told after an install: the next step, and every unsafe choice."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.helm.charts import HELM, MINIMUM, binary, nested

ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def notes(values: dict[str, Any]) -> str:
    """Return the notes of an install with these values; no cluster is asked."""
    words = [binary(), "install", "shop", str(HELM), "--dry-run=client", "-f", str(MINIMUM), "-f", "-"]
    done = subprocess.run(words, input=json.dumps(nested(values)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_the_next_step_and_nothing_unsafe() -> None:
    told = notes({"runs.defaultImage": "python:3.12-slim"})
    assert "podwire user create" in told and "UNSAFE" not in told and "WARNING" not in told


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dev.enabled": True}, "UNSAFE: dev.enabled"),
        ({"app.allowMultiReplica": False}, "WARNING: upgrades stop the old web pod"),
        ({"app.allowMultiReplica": False, "app.strategy": ROLLING}, "UNSAFE: app.strategy"),
        ({"runs.networkPolicy.enabled": False}, "UNSAFE: runs.networkPolicy.enabled"),
        ({"runs.quota.enabled": False}, "UNSAFE: runs.quota.enabled"),
        ({"runs.allowedImages": ["*"]}, "UNSAFE: runs.allowedImages"),
        ({"ingress.enabled": True, "ingress.host": "h"}, "UNSAFE: ingress.tlsSecret"),
        ({"redis.url": "redis://h", "redis.existingSecret": ""}, "UNSAFE: database.url or redis.url"),
        ({}, "WARNING: runs have no image"),
        ({}, "NOTE: app.preStopDelaySeconds is 0"),
    ],
)
def test_what_is_unsafe_is_said(values: dict[str, Any], words: str) -> None:
    assert words in notes(values)


@pytest.mark.trap("D8")
def test_a_delay_is_of_no_use_where_pods_do_not_roll() -> None:
    assert "WARNING: app.preStopDelaySeconds" in notes({"app.allowMultiReplica": False, "app.preStopDelaySeconds": 5})
    assert "app.preStopDelaySeconds" not in notes({"app.preStopDelaySeconds": 5})
