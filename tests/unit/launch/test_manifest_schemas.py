"""Every kind of pod, held strictly to the schemas of the Kubernetes versions: unknown fields and wrong types are faults."""

from __future__ import annotations

from dataclasses import fields

import kubernetes_validate
import pytest
from kubernetes_validate.utils import all_versions, major_minor

from app.domain.ports import Attempt
from app.launch.kubernetes.pods.manifest import Shape, make_pod, make_secret
from tests.unit.launch.manifests import PLAIN, SECRETS, SHAPES, SPECS

RUN = "r" + "a2" * 9 + "b"
OLDEST = 29
VERSIONS = sorted({major_minor(version) for version in all_versions() if int(version.split(".")[1]) >= OLDEST})


def test_the_versions_that_matter_are_there() -> None:
    assert {f"1.{minor}" for minor in range(OLDEST, 36)} <= set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_pod_is_what_the_schema_says(version: str, shape: str) -> None:
    for spec in SPECS.values():
        what = Attempt(RUN, 1, spec, secrets=SECRETS)
        kubernetes_validate.validate(make_pod(what, SHAPES[shape]), version, strict=True)
        kubernetes_validate.validate(make_secret(what, SHAPES[shape], "uid"), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_find_what_is_wrong(version: str) -> None:
    for key, value in (("restartpolicy", "Never"), ("activeDeadlineSeconds", "60")):
        pod = make_pod(Attempt(RUN, 1, SPECS["script"]), PLAIN)
        pod["spec"][key] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(pod, version, strict=True)


def test_one_of_the_shapes_sets_every_option() -> None:
    bare = Shape("", "")
    unset = {each.name for each in fields(Shape) if getattr(SHAPES["full"], each.name) == getattr(bare, each.name)}
    assert unset == set()
