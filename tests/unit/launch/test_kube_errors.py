"""What the answers of the API server mean for an attempt."""

from __future__ import annotations

import json

import pytest

from app.domain.errors import LauncherUnavailable, LaunchRefused
from app.launch.kubernetes.api.kube_errors import ApiFailure, refusal, unavailable


def answer(status: int, message: str, reason: str = "") -> ApiFailure:
    return ApiFailure.of_answer(status, json.dumps({"kind": "Status", "message": message, "reason": reason}).encode())


@pytest.mark.trap("C8")
@pytest.mark.parametrize(
    ("failure", "kind", "reason"),
    [
        (answer(403, 'pods "x" is forbidden: exceeded quota: q, requested: pods=1'), LauncherUnavailable, "QuotaExceeded"),
        (answer(403, 'pods is forbidden: User "u" cannot create resource "pods"'), LaunchRefused, "LaunchFailed"),
        (answer(403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'), LaunchRefused, "LaunchFailed"),
        (answer(403, 'pods "x" is forbidden: no PriorityClass with name y was found'), LaunchRefused, "LaunchFailed"),
        (answer(404, 'namespaces "runs" not found', "NotFound"), LaunchRefused, "LaunchFailed"),
        (answer(403, "no new content in namespace runs because it is being terminated"), LaunchRefused, "LaunchFailed"),
        (answer(422, "Pod is invalid: spec.containers[1].image", "Invalid"), LaunchRefused, "InvalidSpec"),
        (answer(400, "bad"), LaunchRefused, "InvalidSpec"),
        (answer(409, "already exists"), LauncherUnavailable, None),
        (answer(429, "slow down"), LauncherUnavailable, None),
        (answer(500, "etcd"), LauncherUnavailable, None),
        (answer(401, "Unauthorized"), LauncherUnavailable, None),
        (ApiFailure(0, "Unreachable", "refused"), LauncherUnavailable, None),
    ],
)
def test_which_refusals_are_for_good(failure: ApiFailure, kind: type[Exception], reason: str | None) -> None:
    error = refusal(failure)
    assert type(error) is kind
    assert error.extensions.get("reason") == reason


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "requested: limits.cpu=1,requests.cpu=1, used: limits.cpu=4,requests.cpu=4, limited: limits.cpu=4,requests.cpu=4",
            "The cluster quota small is used up: cpu 4/4; this run needs cpu 1.",
        ),
        (
            "requested: limits.memory=1Gi,pods=1, used: limits.memory=3500Mi,pods=2, limited: limits.memory=4Gi,pods=2",
            "The cluster quota small is used up: memory 3500Mi/4Gi, pods 2/2; this run needs memory 1Gi, pods 1.",
        ),
        ("something new", 'The cluster quota is used up: pods "x" is forbidden: exceeded quota: small, something new'),
    ],
)
def test_a_full_quota_is_said_in_plain_words(said: str, sentence: str) -> None:
    error = refusal(answer(403, f'pods "x" is forbidden: exceeded quota: small, {said}'))
    assert (error.detail, error.extensions["waits"]) == (sentence, True)


def test_what_a_proxy_says_is_understood_as_far_as_can_be() -> None:
    failure = ApiFailure.of_answer(503, b"<html>no healthy upstream</html>", "7")
    assert unavailable(failure).extensions == {"retry_after_s": 7.0}
    assert "no healthy upstream" in unavailable(failure).detail
    assert ApiFailure.of_answer(404, b'"text"').missing
    assert not answer(404, 'namespaces "runs" not found').missing


def test_missing_rights_are_told_from_other_refusals() -> None:
    words = 'pods "x" is forbidden: User "u" cannot get resource "pods/exec" in API group "" in the namespace "runs"'
    assert answer(403, words).of_rights
    assert not answer(401, words).of_rights
    assert not answer(403, 'pods "x" is forbidden: exceeded quota: q').of_rights
    assert not answer(403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"').of_rights
