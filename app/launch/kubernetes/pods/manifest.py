"""The pod of an attempt, as one pure function of the attempt and of how pods are made here. No I/O, no clock, nothing random.

Two containers. `agent` comes first: the kubelet starts the next one only after its postStart hook, which waits until the
agent has laid out what the program's container needs. `run` is the user's image, started through the static busybox that lies
there, and waits for the agent's word. Files and the script travel over the link, not in the pod; secrets in a Secret.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.agent.pod_layout import FILE_NAME, HOOK
from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt
from app.domain.runs.images import ImageRules
from app.domain.runs.spec import RunSpec
from app.launch.attempt_name import attempt_name, parse_attempt_name
from app.launch.environment import CPU_LIMIT, DISK_LIMIT, MEMORY_LIMIT, PIDS_LIMIT, millicores, secrets_of
from app.launch.image_choice import choose

Json = dict[str, Any]
DOMAIN = "podwire.dev"
MANAGED_BY = "app.kubernetes.io/managed-by"
AGENT_HOME = "/opt/podwire/app/agent"
AGENT_COMMAND = ["python3", "-I", "-S", f"{AGENT_HOME}/pod.py"]
BRIDGE_COMMAND = ["python3", "-I", "-S", f"{AGENT_HOME}/bridge.py"]
ARTEFACTS = "/artefacts"
GATHER_COMMAND = ["python3", "-I", "-S", f"{AGENT_HOME}/gather.py", ARTEFACTS]
MIB = 1024 * 1024
ENDINGS = {"python": ".py", "bash": ".sh", "sh": ".sh", "node": ".js", "javascript": ".js", "ruby": ".rb", "perl": ".pl"}
BACKSTOP_MARGIN_S = 30.0
# How long an agent keeps an end that no supervisor has come for.
LINGER_S = 86400

_PREFIX = "pw-"


@dataclass(frozen=True, slots=True)
class Shape:
    """How pods are made here: everything that does not come from the run. Sizes in bytes, times in seconds, cpu in cores.

    `instance` tells this installation's pods from those of a neighbour in the same namespace.
    """

    namespace: str
    agent_image: str
    instance: str = "podwire"
    languages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    default_image: str = ""
    allowed_images: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    runtime_class: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, object], ...] = ()
    priority_class: str = ""
    service_account: str = ""
    user_id: int = 1000
    agent_cpu: float = 1.0
    agent_cpu_request: float = 0.05
    agent_memory_bytes: int = 128 * MIB
    waiting_s: float = 7 * 86400.0
    lost_node_s: int = 300
    pids_limit: int = 0
    keeps_artefacts: bool = False


def pod_name(attempt: Attempt) -> str:
    """Return the name of the attempt's pod: always the same. Raises: LaunchRefused for an id that is none of ours."""
    return attempt_name(attempt, _PREFIX)


def parse_name(name: str) -> tuple[str, int] | None:
    """Return the run id and the attempt's number, or None for a name that is not an attempt's."""
    return parse_attempt_name(name, _PREFIX)


def selector(shape: Shape) -> str:
    """Return the label selector of this installation's pods."""
    return f"{MANAGED_BY}=podwire,{DOMAIN}/instance={shape.instance}"


def spec_hash(spec: RunSpec) -> str:
    """Return a short hash of everything that the user asked for."""
    stored = json.dumps(spec.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(stored.encode(errors="surrogatepass")).hexdigest()[:32]


def labels(attempt: Attempt, shape: Shape) -> dict[str, str]:
    """Return the labels by which the pod is known as this attempt's."""
    return {
        MANAGED_BY: "podwire",
        f"{DOMAIN}/instance": shape.instance,
        f"{DOMAIN}/run": attempt.run_id,
        f"{DOMAIN}/attempt": str(attempt.number),
        f"{DOMAIN}/spec": spec_hash(attempt.spec),
        f"{DOMAIN}/network": "on" if attempt.spec.network else "off",
    }


def script_name(spec: RunSpec) -> str:
    """Return the name of the script's file, one that none of the run's files has."""
    name = "script" + ENDINGS.get(spec.language or "", "")
    while name in spec.files:
        name = f"_{name}"
    return name


def command(spec: RunSpec, shape: Shape) -> list[str]:
    """Return the words to run. Raises: LaunchRefused."""
    if spec.script is None:
        if not spec.command or not spec.command[0]:
            raise LaunchRefused("There is no command to run.")
        return [*spec.command, *spec.args]
    language = shape.languages.get(spec.language or "")
    if not language:
        raise LaunchRefused(f"The language {str(spec.language)[:100]!r} is not available here.")
    return [*language, script_name(spec), *spec.args]


def make_pod(attempt: Attempt, shape: Shape) -> Json:
    """Return the manifest. Raises: LaunchRefused for what can never run."""
    spec = attempt.spec
    words = command(spec, shape)
    _check_texts(attempt, words)
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(spec.grace_s) + 5,
        "activeDeadlineSeconds": math.ceil(spec.timeout_s + spec.grace_s + shape.waiting_s + 600),
        "securityContext": _pod_security(shape),
        "containers": [_agent(attempt, shape, words[0]), _run(attempt, shape, words)],
        "volumes": _volumes(spec),
    }
    if shape.keeps_artefacts:
        _add_artefacts(pod, spec)
    pod |= _placing(shape)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod_name(attempt), "namespace": shape.namespace, "labels": labels(attempt, shape)},
        "spec": pod,
    }


def _add_artefacts(pod: Json, spec: RunSpec) -> None:
    """Give the program a folder for what it wants to be kept; the agent beside it may read it. It is of this pod alone."""
    agent, run = pod["containers"]
    pod["volumes"].append({"name": "artefacts", "emptyDir": {"sizeLimit": str(spec.disk_bytes)}})
    agent["volumeMounts"].append({"name": "artefacts", "mountPath": ARTEFACTS, "readOnly": True})
    run["volumeMounts"].append({"name": "artefacts", "mountPath": ARTEFACTS})
    run["env"].append({"name": "PODWIRE_ARTEFACTS", "value": ARTEFACTS})


def keeps_artefacts(pod: Json) -> bool:
    """Say whether a pod was made with a folder for what is to be kept: it may have been made before any was."""
    return any(volume.get("name") == "artefacts" for volume in pod["spec"].get("volumes") or [])


def make_secret(attempt: Attempt, shape: Shape, pod_uid: str) -> Json:
    """Return the Secret of a pod's secret environment: it has the pod's name, and goes when that pod goes.

    Raises: LaunchRefused when a value is missing.
    """
    values = secrets_of(attempt)
    name = pod_name(attempt)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": shape.namespace,
            "labels": labels(attempt, shape),
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()},
    }


def _check_texts(attempt: Attempt, words: list[str]) -> None:
    spec = attempt.spec
    env = {**spec.env, **secrets_of(attempt)}
    texts = [*words, *env, *env.values()]
    if any("\0" in text for text in texts) or any("=" in name or not name for name in env):
        raise LaunchRefused("A word of the command or of the environment holds a NUL character, or a name is not valid.")
    for file in spec.files:
        if not FILE_NAME.match(file):
            raise LaunchRefused(f"The file name {file[:100]!r} is not a plain one.")
    try:
        for text in (*texts, spec.script or "", *spec.files.values()):
            text.encode()
    except UnicodeEncodeError:
        raise LaunchRefused("A text of the run is not valid Unicode.") from None


def _placing(shape: Shape) -> Json:
    """Return what the configuration adds to every pod; nothing for what is not configured."""
    wanted: Json = {
        "imagePullSecrets": [{"name": name} for name in shape.pull_secrets],
        "runtimeClassName": shape.runtime_class,
        "nodeSelector": dict(shape.node_selector),
        "tolerations": [*(dict(toleration) for toleration in shape.tolerations), *_patience(shape)],
        "priorityClassName": shape.priority_class,
        "serviceAccountName": shape.service_account,
    }
    return {key: value for key, value in wanted.items() if value}


def _patience(shape: Shape) -> list[Json]:
    """Return how long the cluster waits for a node that does not answer, before it gives the pod up."""
    taints = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    given = {each.get("key") or "" for each in shape.tolerations if each.get("effect", "NoExecute") in ("", "NoExecute")}
    rest = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": shape.lost_node_s}
    return [{"key": taint, **rest} for taint in taints if not given & {taint, ""}]


def _pod_security(shape: Shape) -> Json:
    return {
        "runAsNonRoot": True,
        "runAsUser": shape.user_id,
        "runAsGroup": shape.user_id,
        "fsGroup": shape.user_id,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _container_security() -> Json:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def _agent(attempt: Attempt, shape: Shape, program: str) -> Json:
    spec = attempt.spec
    words = [
        f"command={program}",
        f"output_limit={spec.output_limit_bytes}",
        f"backstop_s={spec.timeout_s + spec.grace_s + BACKSTOP_MARGIN_S:g}",
        f"linger_s={LINGER_S}",
        f"stdin={'1' if spec.stdin else ''}",
    ]
    args = [*(_literal(word) for word in words), "uid=$(POD_UID)"]
    disk = str(_spool_bytes(spec))
    memory = str(shape.agent_memory_bytes)
    hook = ["/bin/busybox", "sh", "-c", HOOK]
    return {
        "name": "agent",
        "image": shape.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "command": AGENT_COMMAND,
        "args": args,
        "env": [{"name": "POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}],
        "lifecycle": {"postStart": {"exec": {"command": hook}}},
        "resources": {
            "requests": {"cpu": _cores(shape.agent_cpu_request), "memory": memory, "ephemeral-storage": disk},
            "limits": {"cpu": _cores(shape.agent_cpu), "memory": memory, "ephemeral-storage": disk},
        },
        "securityContext": _container_security(),
        "volumeMounts": [
            {"name": "podwire", "mountPath": "/podwire"},
            {"name": "ask", "mountPath": "/podwire/ask"},
            {"name": "spool", "mountPath": "/spool"},
        ],
    }


def _run(attempt: Attempt, shape: Shape, words: list[str]) -> Json:
    spec = attempt.spec
    limits = {"cpu": _cores(spec.cpu), "memory": str(spec.memory_bytes), "ephemeral-storage": str(spec.disk_bytes)}
    container: Json = {
        "name": "run",
        "image": choose(spec, ImageRules(shape.images, shape.default_image, shape.allowed_images)),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/podwire/busybox", "sh", "/podwire/run.sh", *(_literal(word) for word in words)],
        "env": _environment(attempt, shape),
        "resources": {"requests": limits, "limits": limits},
        "securityContext": _container_security(),
        "volumeMounts": [
            {"name": "podwire", "mountPath": "/podwire", "readOnly": True},
            {"name": "ask", "mountPath": "/podwire/ask"},
            {"name": "work", "mountPath": "/work"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    # A command of somebody's own image may count on the folder which that image begins in.
    if spec.script is not None or spec.files or not spec.image:
        container["workingDir"] = "/work"
    return container


def _literal(text: str) -> str:
    """Return the text that reaches the program as `text`: the kubelet replaces $(NAME), and $$ by $."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def _environment(attempt: Attempt, shape: Shape) -> list[Json]:
    spec = attempt.spec
    env = {"HOME": "/work", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "TMPDIR": "/tmp", **spec.env}
    env |= {"PODWIRE_DIR": "/podwire", "PODWIRE_RUN_ID": attempt.run_id, "PODWIRE_ATTEMPT": str(attempt.number)}
    env |= {"PODWIRE_STDIN": "1"} if spec.stdin else {}
    env |= {PIDS_LIMIT: str(shape.pids_limit)} if shape.pids_limit else {}
    plain = [{"name": name, "value": _literal(value)} for name, value in env.items() if name not in spec.secrets]
    secret = [{"name": name, "valueFrom": {"secretKeyRef": {"name": pod_name(attempt), "key": name}}} for name in spec.secrets]
    return [*plain, *secret, *_limits()]


def _limits() -> list[Json]:
    """Return the container's limits as variables, as the cluster has them: whatever admitted the pod may have changed them."""
    sources = (
        (CPU_LIMIT, "limits.cpu", "1m"),
        (MEMORY_LIMIT, "limits.memory", "1"),
        (DISK_LIMIT, "limits.ephemeral-storage", "1"),
    )
    return [
        {"name": name, "valueFrom": {"resourceFieldRef": {"containerName": "run", "resource": resource, "divisor": divisor}}}
        for name, resource, divisor in sources
    ]


def _volumes(spec: RunSpec) -> list[Json]:
    sizes = {"podwire": 32 * MIB, "ask": 16 * MIB, "spool": _spool_bytes(spec), "work": spec.disk_bytes, "tmp": spec.disk_bytes}
    return [{"name": name, "emptyDir": {"sizeLimit": str(size)}} for name, size in sizes.items()]


def _spool_bytes(spec: RunSpec) -> int:
    """Return the room for the records: the output, what each record adds to it, and questions."""
    return spec.output_limit_bytes * 5 // 4 + 64 * MIB


def _cores(cpu: float) -> str:
    """Return a quantity of cpu as the API writes it back: whole cores, or thousandths."""
    thousandths = millicores(cpu)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
