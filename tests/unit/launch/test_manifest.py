"""The pod of an attempt, whole, as the API server is given it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.agent.pod_layout import HOOK
from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.pods.manifest import Shape, labels, make_pod, parse_name, pod_name, spec_hash
from tests.unit.launch.manifests import limit

RUN = "r" + "a2" * 9 + "b"
MIB = 1024 * 1024
SHAPE = Shape("runs", "registry.example/podwire:1", languages={"python": ("python3", "-u")}, images={"python": "python:3.11"})
SCRIPT = RunSpec(script="print(1)", language="python", cpu=0.5, memory_bytes=64 * MIB, disk_bytes=100 * MIB)
SCRIPT = replace(SCRIPT, timeout_s=60, grace_s=2.5)

CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
AGENT_ARGS = ["linger_s=86400", "stdin=", "uid=$(POD_UID)"]
EXPECTED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": f"pw-{RUN}-1",
        "namespace": "runs",
        "labels": {
            "app.kubernetes.io/managed-by": "podwire",
            "podwire.dev/instance": "podwire",
            "podwire.dev/run": RUN,
            "podwire.dev/attempt": "1",
            "podwire.dev/spec": spec_hash(SCRIPT),
            "podwire.dev/network": "on",
        },
    },
    "spec": {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 8,
        "activeDeadlineSeconds": 605463,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "agent",
                "image": "registry.example/podwire:1",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-I", "-S", "/opt/podwire/app/agent/pod.py"],
                "args": ["command=python3", "output_limit=67108864", "backstop_s=92.5", *AGENT_ARGS],
                "env": [{"name": "POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}],
                "lifecycle": {"postStart": {"exec": {"command": ["/bin/busybox", "sh", "-c", HOOK]}}},
                "resources": {
                    "requests": {"cpu": "50m", "memory": "134217728", "ephemeral-storage": "150994944"},
                    "limits": {"cpu": "1", "memory": "134217728", "ephemeral-storage": "150994944"},
                },
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [
                    {"name": "podwire", "mountPath": "/podwire"},
                    {"name": "ask", "mountPath": "/podwire/ask"},
                    {"name": "spool", "mountPath": "/spool"},
                ],
            },
            {
                "name": "run",
                "image": "python:3.11",
                "imagePullPolicy": "IfNotPresent",
                "command": ["/podwire/busybox", "sh", "/podwire/run.sh", "python3", "-u", "script.py"],
                "env": [
                    {"name": "HOME", "value": "/work"},
                    {"name": "LANG", "value": "C.UTF-8"},
                    {"name": "PYTHONUNBUFFERED", "value": "1"},
                    {"name": "TMPDIR", "value": "/tmp"},
                    {"name": "PODWIRE_DIR", "value": "/podwire"},
                    {"name": "PODWIRE_RUN_ID", "value": RUN},
                    {"name": "PODWIRE_ATTEMPT", "value": "1"},
                    limit("PODWIRE_CPU_MILLICORES", "limits.cpu", "1m"),
                    limit("PODWIRE_MEMORY_BYTES", "limits.memory", "1"),
                    limit("PODWIRE_DISK_BYTES", "limits.ephemeral-storage", "1"),
                ],
                "resources": {
                    "requests": {"cpu": "500m", "memory": "67108864", "ephemeral-storage": "104857600"},
                    "limits": {"cpu": "500m", "memory": "67108864", "ephemeral-storage": "104857600"},
                },
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [
                    {"name": "podwire", "mountPath": "/podwire", "readOnly": True},
                    {"name": "ask", "mountPath": "/podwire/ask"},
                    {"name": "work", "mountPath": "/work"},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
                "workingDir": "/work",
            },
        ],
        "volumes": [
            {"name": "podwire", "emptyDir": {"sizeLimit": "33554432"}},
            {"name": "ask", "emptyDir": {"sizeLimit": "16777216"}},
            {"name": "spool", "emptyDir": {"sizeLimit": "150994944"}},
            {"name": "work", "emptyDir": {"sizeLimit": "104857600"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "104857600"}},
        ],
        "tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        ],
    },
}


def attempt(**changes: object) -> Attempt:
    return Attempt(RUN, 1, replace(SCRIPT, **changes))  # type: ignore[arg-type]


def command(**spec: object) -> dict[str, object]:
    """Return the container of a command's run."""
    made = Attempt(RUN, 1, RunSpec(**spec))  # type: ignore[arg-type]
    return dict(make_pod(made, replace(SHAPE, default_image="base", allowed_images=("mine/*",)))["spec"]["containers"][1])


def test_the_whole_pod_of_a_script() -> None:
    assert make_pod(attempt(), SHAPE) == EXPECTED
    assert make_pod(attempt(), SHAPE) == make_pod(attempt(), SHAPE)


def test_what_the_configuration_adds_to_every_pod() -> None:
    toleration = {"key": "runs", "operator": "Exists"}
    shape = replace(SHAPE, pull_secrets=("a", "b"), runtime_class="gvisor", node_selector={"pool": "runs"})
    shape = replace(shape, tolerations=(toleration,), priority_class="runs", service_account="nobody")
    wanted = {
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
        "runtimeClassName": "gvisor",
        "nodeSelector": {"pool": "runs"},
        "tolerations": [toleration, *EXPECTED["spec"]["tolerations"]],  # type: ignore[index]
        "priorityClassName": "runs",
        "serviceAccountName": "nobody",
    }
    assert make_pod(attempt(), shape)["spec"] == {**EXPECTED["spec"], **wanted}  # type: ignore[dict-item]


def test_how_long_a_lost_node_is_waited_for() -> None:
    own = {"key": "node.kubernetes.io/unreachable", "operator": "Exists"}
    waits = make_pod(attempt(), replace(SHAPE, lost_node_s=7, tolerations=(own,)))["spec"]["tolerations"]
    assert [(each["key"], each.get("tolerationSeconds")) for each in waits] == [
        ("node.kubernetes.io/unreachable", None),
        ("node.kubernetes.io/not-ready", 7),
    ]


def test_words_and_values_reach_the_program_as_they_are() -> None:
    made = command(command=("sh", "-c", "echo $(HOME) $HOME $$"), args=("a b",), env={"A": "$(B)", "C": "$d"})
    assert made["command"] == ["/podwire/busybox", "sh", "/podwire/run.sh", "sh", "-c", "echo $$(HOME) $$HOME $$$$", "a b"]
    env = {each["name"]: each.get("value") for each in made["env"]}  # type: ignore[attr-defined]
    assert (env["A"], env["C"]) == ("$$(B)", "$d")


def test_a_command_of_ones_own_image_begins_where_that_image_does() -> None:
    assert "workingDir" not in command(command=("x",), image="mine/image")
    assert command(command=("x",), image="mine/image", files={"a": "b"})["workingDir"] == "/work"
    assert command(command=("x",))["image"] == "base"


def test_input_is_offered_only_to_programs_that_want_it() -> None:
    made = make_pod(attempt(stdin=True, network=False), SHAPE)
    assert "stdin=1" in made["spec"]["containers"][0]["args"]
    assert {"name": "PODWIRE_STDIN", "value": "1"} in made["spec"]["containers"][1]["env"]
    assert made["metadata"]["labels"]["podwire.dev/network"] == "off"


@pytest.mark.parametrize("image", ["other/image", "mine", "docker.io/mine.evil/x", "mine/../x@y"])
def test_images_that_are_not_allowed(image: str) -> None:
    allowed = replace(SHAPE, allowed_images=("mine/good*", "registry.example/*"))
    with pytest.raises(LaunchRefused):
        make_pod(attempt(image=image), allowed)
    assert make_pod(attempt(image="docker.io/mine/good:1"), allowed)
    assert make_pod(attempt(image="python:3.11"), allowed)


def test_names_lead_back_to_their_attempts() -> None:
    assert parse_name(pod_name(Attempt(RUN, 12, SCRIPT))) == (RUN, 12)
    for name in ("pw-x-1", f"pw-{RUN}-0", f"x{RUN}-1", f"pw-{RUN}-1-x"):
        assert parse_name(name) is None
    with pytest.raises(LaunchRefused):
        pod_name(Attempt("../../etc", 1, SCRIPT))


@pytest.mark.trap("W4")
def test_the_hash_tells_every_difference_and_survives_storing() -> None:
    assert labels(attempt(), SHAPE) != labels(attempt(env={"A": "1"}), SHAPE)
    assert spec_hash(RunSpec.from_json(SCRIPT.to_json())) == spec_hash(SCRIPT)
