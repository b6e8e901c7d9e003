"""The pod of a run that asks for everything, on a cluster where every option is set: whole, as the API server is given it."""

from __future__ import annotations

from app.agent.pod_layout import HOOK
from app.domain.ports import Attempt
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.pods.manifest import make_pod, spec_hash
from tests.unit.launch.manifests import SHAPES, limit

MIB = 1024 * 1024
RUN = "r" + "a2" * 9 + "b"
UID = "uid=$(POD_UID)"
SPEC = RunSpec(
    image="registry.example:5000/mine/image",
    command=("sh", "-c", "echo $(HOME)"),
    args=("a b",),
    secrets=("TOKEN",),
    env={"LANG": "de", "PODWIRE_RUN_ID": "mine", "PRICE": "$$"},
    files={"a.txt": "text"},
    cpu=1.5,
    memory_bytes=256 * MIB,
    disk_bytes=20 * MIB,
    timeout_s=90.5,
    grace_s=0.5,
    output_limit_bytes=4 * MIB,
    network=False,
    stdin=True,
    labels={"team": "a"},
)
WHAT = Attempt(RUN, 12, SPEC, handle="uid", secrets={"TOKEN": "hidden"})
EXPECTED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": f"pw-{RUN}-12",
        "namespace": "runs",
        "labels": {
            "app.kubernetes.io/managed-by": "podwire",
            "podwire.dev/instance": "other-1",
            "podwire.dev/run": RUN,
            "podwire.dev/attempt": "12",
            "podwire.dev/spec": spec_hash(SPEC),
            "podwire.dev/network": "off",
        },
    },
    "spec": {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 6,
        "activeDeadlineSeconds": 752,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "fsGroup": 65534,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "agent",
                "image": "registry.example/podwire:1",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-I", "-S", "/opt/podwire/app/agent/pod.py"],
                "args": ["command=sh", "output_limit=4194304", "backstop_s=121", "linger_s=86400", "stdin=1", UID],
                "env": [{"name": "POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}],
                "lifecycle": {"postStart": {"exec": {"command": ["/bin/busybox", "sh", "-c", HOOK]}}},
                "resources": {
                    "requests": {"cpu": "20m", "memory": "67108864", "ephemeral-storage": "72351744"},
                    "limits": {"cpu": "500m", "memory": "67108864", "ephemeral-storage": "72351744"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "podwire", "mountPath": "/podwire"},
                    {"name": "ask", "mountPath": "/podwire/ask"},
                    {"name": "spool", "mountPath": "/spool"},
                    {"name": "artefacts", "mountPath": "/artefacts", "readOnly": True},
                ],
            },
            {
                "name": "run",
                "image": "registry.example:5000/mine/image",
                "imagePullPolicy": "IfNotPresent",
                "command": ["/podwire/busybox", "sh", "/podwire/run.sh", "sh", "-c", "echo $$(HOME)", "a b"],
                "env": [
                    {"name": "HOME", "value": "/work"},
                    {"name": "LANG", "value": "de"},
                    {"name": "PYTHONUNBUFFERED", "value": "1"},
                    {"name": "TMPDIR", "value": "/tmp"},
                    {"name": "PODWIRE_RUN_ID", "value": RUN},
                    {"name": "PRICE", "value": "$$$$"},
                    {"name": "PODWIRE_DIR", "value": "/podwire"},
                    {"name": "PODWIRE_ATTEMPT", "value": "12"},
                    {"name": "PODWIRE_STDIN", "value": "1"},
                    {"name": "PODWIRE_PIDS", "value": "1024"},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": f"pw-{RUN}-12", "key": "TOKEN"}}},
                    limit("PODWIRE_CPU_MILLICORES", "limits.cpu", "1m"),
                    limit("PODWIRE_MEMORY_BYTES", "limits.memory", "1"),
                    limit("PODWIRE_DISK_BYTES", "limits.ephemeral-storage", "1"),
                    {"name": "PODWIRE_ARTEFACTS", "value": "/artefacts"},
                ],
                "resources": {
                    "requests": {"cpu": "1500m", "memory": "268435456", "ephemeral-storage": "20971520"},
                    "limits": {"cpu": "1500m", "memory": "268435456", "ephemeral-storage": "20971520"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "podwire", "mountPath": "/podwire", "readOnly": True},
                    {"name": "ask", "mountPath": "/podwire/ask"},
                    {"name": "work", "mountPath": "/work"},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "artefacts", "mountPath": "/artefacts"},
                ],
                "workingDir": "/work",
            },
        ],
        "volumes": [
            {"name": "podwire", "emptyDir": {"sizeLimit": "33554432"}},
            {"name": "ask", "emptyDir": {"sizeLimit": "16777216"}},
            {"name": "spool", "emptyDir": {"sizeLimit": "72351744"}},
            {"name": "work", "emptyDir": {"sizeLimit": "20971520"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "20971520"}},
            {"name": "artefacts", "emptyDir": {"sizeLimit": "20971520"}},
        ],
        "imagePullSecrets": [{"name": "first"}, {"name": "second"}],
        "runtimeClassName": "gvisor",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": "runs", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
            {"operator": "Exists"},
        ],
        "priorityClassName": "runs",
        "serviceAccountName": "nobody",
    },
}


def test_the_whole_pod_of_a_run_that_asks_for_everything() -> None:
    assert make_pod(WHAT, SHAPES["full"]) == EXPECTED
