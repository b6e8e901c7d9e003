"""Probe runs: every image that is configured is pulled, and what its languages need started in it, by the real launcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.domain.errors import LaunchRefused
from app.domain.ids import new_probe_id
from app.domain.ports import Attempt, Launcher
from app.domain.runs.images import ImageRules
from app.domain.runs.spec import RunSpec
from app.launch.image_choice import choose
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.checks.check_result import CheckResult, State
from app.launch.kubernetes.pods.manifest import Shape, selector
from app.launch.probe import Probe, try_out

Json = dict[str, Any]
MIB = 1024 * 1024
# Small, but enough for the interpreters that there are. An empty script is a program in all of them.
TINY = RunSpec(cpu=0.1, memory_bytes=128 * MIB, disk_bytes=64 * MIB, output_limit_bytes=MIB, timeout_s=60, grace_s=1)
# Every image can run this: the agent brings it.
PROGRAM = ("/podwire/busybox", "true")
NO_IMAGE = "Name one in PODWIRE_KUBE_IMAGES or PODWIRE_KUBE_DEFAULT_IMAGE, or take it out of PODWIRE_LANGUAGES."
PULL = "Check its name, and that nodes reach its registry; a private one needs PODWIRE_KUBE_PULL_SECRETS."


@dataclass(frozen=True, slots=True)
class Case:
    """One probe run. `language` is empty for a command in the default image."""

    name: str
    spec: RunSpec
    image: str
    language: str = ""


def with_default(shape: Shape) -> Shape:
    """Return the shape with an image for commands: where none is configured, Podwire's own."""
    return shape if shape.default_image else replace(shape, default_image=shape.agent_image)


def probe_shape(shape: Shape) -> Shape:
    """Return how the pods of probe runs are made: as all are, but apart from them, and ended by the cluster after minutes.

    A worker that removes what no run wants does not see them.
    """
    return replace(shape, instance=f"doctor.{shape.instance[:56].rstrip('._-')}", waiting_s=0.0)


def trials(api: KubeApi, launch: Callable[[KubeApi, Shape], Launcher], shape: Shape, within_s: float) -> Iterator[CheckResult]:
    """Yield a finding for each probe run, each of which takes `within_s` at most."""
    tried = probe_shape(with_default(shape))
    launcher = launch(api, tried)
    _remove_ended(api, tried)
    bad: dict[str, str] = {}
    for case in _cases(shape):
        if isinstance(case, CheckResult):
            yield case
        elif case.image in bad:
            yield CheckResult(case.name, State.FAILED, f"{case.image}: see {bad[case.image]}", "The same as there.")
        else:
            probe = try_out(launcher, Attempt(new_probe_id(), 1, case.spec), within_s)
            finding = _finding(case, probe, tried)
            if finding.state is State.FAILED and "started" not in probe.phases:
                bad[case.image] = case.name
            yield finding


def _cases(shape: Shape) -> Iterator[Case | CheckResult]:
    yield Case("probe", replace(TINY, command=PROGRAM), with_default(shape).default_image)
    for language in sorted(shape.languages):
        name, spec = f"probe {language}", replace(TINY, script="", language=language)
        try:
            yield Case(name, spec, choose(spec, ImageRules(shape.images, shape.default_image)), language)
        except LaunchRefused:
            yield CheckResult(name, State.WARNING, f"scripts in {language} have no image", NO_IMAGE)


def _finding(case: Case, probe: Probe, shape: Shape) -> CheckResult:
    times = _times(probe)
    if probe.worked:
        return CheckResult(case.name, State.OK, f"{case.image}: {times}")
    if probe.waits:
        return CheckResult(case.name, State.WARNING, probe.detail, "Runs wait until the quota has room.")
    return CheckResult(
        case.name, State.FAILED, f"{case.image}: {probe.detail}" + (f" ({times})" if times else ""), _advice(case, probe, shape)
    )


def _times(probe: Probe) -> str:
    """Return what each phase took: `created 0.01 s, agent 0.62 s, …`, each from the end of the one before."""
    before, words = 0.0, []
    for phase, at_s in sorted(probe.phases.items(), key=lambda each: each[1]):
        words.append(f"{phase} {at_s - before:.2f} s")
        before = at_s
    return ", ".join(words)


def _advice(case: Case, probe: Probe, shape: Shape) -> str:
    detail = probe.detail
    if "agent's image" in detail:
        return f"PODWIRE_KUBE_AGENT_IMAGE is {shape.agent_image}. {PULL}"
    if probe.reason in ("ImagePullFailed", "InvalidImage"):
        return f"{_setting(case, shape)} names {case.image}. {PULL}"
    if "No node has room" in detail:
        return "Make room on the nodes, or check PODWIRE_KUBE_NODE_SELECTOR and PODWIRE_KUBE_TOLERATIONS."
    if "pods/exec" in detail:
        return f"kubectl apply -n {shape.namespace} -f docs/kubernetes-rbac.yaml"
    if case.language and (probe.end or {}).get("exit_code") not in (None, 0):
        command = " ".join(shape.languages[case.language])
        return f"The image must have `{command}`: change {_setting(case, shape)} or PODWIRE_LANGUAGES."
    return f"kubectl get events -n {shape.namespace} says what the cluster did; the workers' log says the rest."


def _setting(case: Case, shape: Shape) -> str:
    return "PODWIRE_KUBE_IMAGES" if case.language in shape.images else "PODWIRE_KUBE_DEFAULT_IMAGE"


def _remove_ended(api: KubeApi, shape: Shape) -> None:
    """Remove the pods of a former examination that was killed; the cluster has ended them. What cannot be removed stays."""
    pods = f"/api/v1/namespaces/{shape.namespace}/pods"
    try:
        for pod in api.call("GET", pods, query={"labelSelector": selector(shape)}).get("items") or []:
            if pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
                uid = {"preconditions": {"uid": pod["metadata"]["uid"]}}
                options = {"apiVersion": "v1", "kind": "DeleteOptions", **uid}
                api.call("DELETE", f"{pods}/{pod['metadata']['name']}", options)
    except ApiFailure:
        return
