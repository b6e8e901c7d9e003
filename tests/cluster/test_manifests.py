"""Every kind of pod, held to a real API server whose namespace enforces the restricted level of PodSecurity."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.ids import new_run_id
from app.domain.ports import Attempt
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.pods.manifest import Shape, make_pod, make_secret
from tests.unit.launch.manifests import SECRETS, SPECS, full


@pytest.mark.parametrize("spec", SPECS)
def test_every_pod_is_accepted_as_restricted(api: KubeApi, shape: Shape, spec: str) -> None:
    pods = f"/api/v1/namespaces/{shape.namespace}/pods"
    for each in (shape, full(shape)):
        what, query = Attempt(new_run_id(), 1, SPECS[spec], secrets=SECRETS), {"dryRun": "All", "fieldValidation": "Strict"}
        pod = make_pod(what, each)
        made = api.call("POST", pods, pod, query)
        api.call("POST", f"/api/v1/namespaces/{shape.namespace}/secrets", make_secret(what, each, "uid"), query)
        assert made["metadata"]["name"] == pod["metadata"]["name"]


def test_the_namespace_does_enforce_it_and_fields_are_checked(api: KubeApi, shape: Shape) -> None:
    pods, query = f"/api/v1/namespaces/{shape.namespace}/pods", {"dryRun": "All", "fieldValidation": "Strict"}
    what = Attempt(new_run_id(), 1, SPECS["script"])
    with pytest.raises(ApiFailure, match="PodSecurity"):
        api.call("POST", pods, make_pod(what, replace(shape, user_id=0)), query)
    pod = make_pod(what, shape)
    pod["spec"]["restartpolicy"] = "Never"
    with pytest.raises(ApiFailure, match="unknown field"):
        api.call("POST", pods, pod, query)
