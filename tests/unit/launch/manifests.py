"""Pods of many kinds of runs on many kinds of clusters, for the checks that every manifest must pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.pods.manifest import Shape

MIB = 1024 * 1024
SPECS: Mapping[str, RunSpec] = {
    "script": RunSpec(script="print(1)", language="python"),
    "command": RunSpec(command=("sh", "-c", "echo $(HOME) $$ 'ü'"), args=("a b", "")),
    "image": RunSpec(command=("/bin/true",), image="registry.example:5000/mine/image@sha256:" + "0" * 64),
    "files": RunSpec(command=("cat", "a.txt"), files={"a.txt": "text", "b.json": "{}"}),
    "stdin": RunSpec(script="cat", language="bash", stdin=True, network=False),
    "environment": RunSpec(command=("env",), env={"A": "1", "_b": "$(A)", "EMPTY": "", "LONG": "x" * 10_000}),
    "secrets": RunSpec(command=("env",), env={"A": "1"}, secrets=("TOKEN", "KEY")),
    "least": RunSpec(
        command=("true",), cpu=0.01, memory_bytes=16 * MIB, disk_bytes=MIB, timeout_s=1, grace_s=0, output_limit_bytes=1
    ),
    "most": RunSpec(command=("true",), cpu=4, memory_bytes=4096 * MIB, disk_bytes=10240 * MIB, timeout_s=7 * 86400, grace_s=600),
    "fractions": RunSpec(command=("true",), cpu=1 / 3, memory_bytes=100_000_001, timeout_s=1.5, grace_s=0.1),
    "labels": RunSpec(command=("true",), labels={"team/name": "a.b", "x": "y"}),
}
SECRETS = {"TOKEN": "hidden", "KEY": "also hidden"}
LANGUAGES = {"python": ("python3", "-u"), "bash": ("bash",)}
PLAIN = Shape("runs", "registry.example/podwire:1", languages=LANGUAGES, default_image="debian:12", allowed_images=("*",))


def limit(name: str, resource: str, divisor: str) -> dict[str, object]:
    """Return the variable that tells a program a limit of its container."""
    return {"name": name, "valueFrom": {"resourceFieldRef": {"containerName": "run", "resource": resource, "divisor": divisor}}}


def full(shape: Shape) -> Shape:
    """Return the shape with every option set that the cluster need not have anything for."""
    toleration: dict[str, object] = {
        "key": "runs",
        "operator": "Equal",
        "value": "yes",
        "effect": "NoExecute",
        "tolerationSeconds": 60,
    }
    images = {"python": shape.default_image, "bash": shape.default_image}
    changed = replace(shape, instance="other-1", images=images, user_id=65534, agent_cpu=0.5, agent_cpu_request=0.02)
    changed = replace(changed, tolerations=(toleration, {"operator": "Exists"}), pull_secrets=("first", "second"), waiting_s=60.5)
    changed = replace(changed, lost_node_s=30, pids_limit=1024, keeps_artefacts=True)
    return replace(changed, node_selector={"kubernetes.io/os": "linux"}, service_account="default", agent_memory_bytes=64 * MIB)


SHAPES: Mapping[str, Shape] = {
    "plain": PLAIN,
    "full": replace(full(PLAIN), runtime_class="gvisor", priority_class="runs", service_account="nobody"),
}
