"""What a worker's log says of missing rights."""

from __future__ import annotations

import logging

import pytest

from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.checks.rbac import log_lacking
from tests.unit.launch.cluster_double import Cluster


def test_missing_rights_are_logged_as_configuration_errors(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(denied=("get pods/exec", "list events"))
    log_lacking(lambda: cluster, "runs")  # type: ignore[arg-type,return-value]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "configuration error: not permitted in namespace runs: pods/exec: get; `podwire doctor" in caplog.text
    caplog.clear()
    log_lacking(lambda: Cluster(denied=("get secrets",)), "runs")  # type: ignore[arg-type,return-value]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    caplog.clear()
    log_lacking(lambda: Cluster(), "runs")  # type: ignore[arg-type,return-value]
    assert caplog.records == []


def test_a_cluster_that_cannot_be_asked_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def connect() -> Cluster:
        raise ApiFailure(0, "Unreachable", "refused")

    log_lacking(connect, "runs")  # type: ignore[arg-type]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
