"""The examination of a cluster: one check after the other, each a finding that says what to do. Nothing is printed here.

A check whose ground is missing (no credentials, no namespace) ends the examination; one that lacks a permission which runs do
not need says so and is no fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from app.domain.ids import new_probe_id
from app.domain.ports import Attempt, Launcher
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.checks import rbac
from app.launch.kubernetes.checks.check_result import CheckResult, State
from app.launch.kubernetes.checks.probe_runs import PROGRAM, trials, with_default
from app.launch.kubernetes.pods import quotas as room
from app.launch.kubernetes.pods.manifest import Shape, make_pod

Json = dict[str, Any]
PSA = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True, slots=True)
class CheckedCluster:
    """The cluster that is examined, and how pods are made there. `launch` makes the launcher for the probe runs."""

    connect: Callable[[], KubeApi]
    shape: Shape
    launch: Callable[[KubeApi, Shape], Launcher]
    within_s: float = 180.0


def examine(cluster: CheckedCluster) -> Iterator[CheckResult]:
    """Yield a finding for every check, as soon as it is made. Contacts the cluster; probe runs are removed again."""
    try:
        api = cluster.connect()
        version = api.call("GET", "/version").get("gitVersion")
    except ApiFailure as failure:
        yield CheckResult("cluster", State.FAILED, failure.message, _reach(failure))
        return
    yield CheckResult("cluster", State.OK, f"Kubernetes {version} at {api.server}{_identity(api)}")
    yield from _examine(api, cluster)


def _examine(api: KubeApi, cluster: CheckedCluster) -> Iterator[CheckResult]:
    shape = cluster.shape
    namespace = _namespace(api, shape)
    yield namespace[0]
    if namespace[0].state is State.FAILED:
        return
    permissions = _permissions(api, shape)
    yield permissions
    yield _pod_security(shape, namespace[1])
    # What a run takes that asks for nothing in particular; every image can run it, for the agent brings the program.
    pod = make_pod(Attempt(new_probe_id(), 1, RunSpec(command=PROGRAM)), with_default(shape))
    yield _quota(api, shape, pod)
    yield _limits(api, shape, pod)
    if permissions.state is State.FAILED:
        yield CheckResult("probe", State.WARNING, "not tried: the permissions come first", "Run it again when they are there.")
        return
    accepted = _accepted(api, shape, pod)
    yield accepted
    if accepted.state is State.OK:
        yield from trials(api, cluster.launch, shape, cluster.within_s)


def _reach(failure: ApiFailure) -> str:
    if failure.reason == "NoCredentials":
        return "Run Podwire in the cluster with a service account, or set KUBECONFIG to the file of a cluster."
    if failure.status in (401, 403):
        return "The credentials are refused. Renew the token or the certificate that the kubeconfig or the service account has."
    if failure.status == 0:
        return "The API server does not answer. Check the server's address in the kubeconfig, its certificate, and the network."
    return "The API server answers, but not as one. Check that the address in the kubeconfig is the API server's."


def _identity(api: KubeApi) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        made = api.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except ApiFailure:
        return ""  # older than 1.28, or not permitted
    return f", as {made.get('status', {}).get('userInfo', {}).get('username')}"


def _namespace(api: KubeApi, shape: Shape) -> tuple[CheckResult, Json | None]:
    name = shape.namespace
    try:
        found = api.call("GET", f"/api/v1/namespaces/{name}")
    except ApiFailure as failure:
        if failure.status == 403:
            return _unseen("namespace", f"{name}; whether it is there shows below"), None
        missing = failure.status == 404
        detail = f"there is no namespace {name}" if missing else str(failure)
        advice = f"kubectl create namespace {name}\nkubectl label namespace {name} {PSA}=restricted" if missing else "Try again."
        return CheckResult("namespace", State.FAILED, detail, advice), None
    if found.get("status", {}).get("phase") == "Terminating":
        advice = "Wait until it is gone and make it anew, or set PODWIRE_KUBE_NAMESPACE to another."
        return CheckResult("namespace", State.FAILED, f"{name} is being deleted", advice), found
    return CheckResult("namespace", State.OK, name), found


def _unseen(name: str, detail: str) -> CheckResult:
    return CheckResult(name, State.UNSEEN, f"could not look (not permitted), fine: {detail}")


def _permissions(api: KubeApi, shape: Shape) -> CheckResult:
    name, namespace = "permissions", shape.namespace
    try:
        lacking = rbac.lacking(api, namespace)
    except ApiFailure as failure:
        if failure.status in (403, 404):
            return _unseen(name, "the probe run shows whether they suffice")
        return CheckResult(name, State.FAILED, str(failure), "Try again.")
    if not lacking:
        return CheckResult(name, State.OK, "; ".join(map(str, rbac.RULES)))
    detail = f"not permitted in {namespace}: {'; '.join(map(str, lacking))}"
    advice = (
        f"kubectl apply -n {namespace} -f docs/kubernetes-rbac.yaml\nor add to the rules of the Role that Podwire is bound to:"
    )
    advice = f"{advice}\n{rbac.as_yaml(lacking)}"
    if all(rule.only_for for rule in lacking):
        return CheckResult(name, State.WARNING, detail, f"Without it {lacking[0].only_for} are refused. To permit it:\n{advice}")
    return CheckResult(name, State.FAILED, detail, advice)


def _pod_security(shape: Shape, namespace: Json | None) -> CheckResult:
    name = "podsecurity"
    if namespace is None:
        return _unseen(name, "runs comply with every level")
    level = (namespace["metadata"].get("labels") or {}).get(PSA, "privileged")
    if level == "privileged":
        advice = f"Recommended: kubectl label --overwrite namespace {shape.namespace} {PSA}=restricted"
        return CheckResult(name, State.WARNING, "the namespace enforces nothing that its labels name", advice)
    return CheckResult(name, State.OK, f"the namespace enforces {level}")


def _quota(api: KubeApi, shape: Shape, pod: Json) -> CheckResult:
    try:
        quotas = _items(api, shape, "resourcequotas")
    except ApiFailure as failure:
        return _not_listed("quota", failure, "runs wait where a quota is used up")
    if not quotas:
        return CheckResult("quota", State.OK, "none; the queue's own limits decide how much runs at once")
    short = [fault for quota in quotas for fault in room.shortfalls(quota, pod)]
    if not short:
        return CheckResult("quota", State.OK, "; ".join(f"{quota['metadata']['name']}: {room.usage(quota)}" for quota in quotas))
    detail = "a run of default size does not fit: " + "; ".join(sentence for _, sentence in short)
    if all(ever for ever, _ in short):
        return CheckResult(
            "quota", State.WARNING, detail, "Runs wait for place until others have ended; raise the quota for more at once."
        )
    return CheckResult(
        "quota", State.WARNING, detail, f"Raise it (kubectl edit resourcequota -n {shape.namespace}), or ask for less per run."
    )


def _limits(api: KubeApi, shape: Shape, pod: Json) -> CheckResult:
    try:
        ranges = _items(api, shape, "limitranges")
    except ApiFailure as failure:
        return _not_listed("limits", failure, "the dry run shows whether runs comply")
    found = [fault for each in ranges for fault in room.conflicts(each, pod)]
    if not found:
        return CheckResult("limits", State.OK, f"{len(ranges)} limit ranges, no conflict" if ranges else "no limit ranges")
    detail = "; ".join(sentence for _, sentence in found)
    state = State.FAILED if any(every for every, _ in found) else State.WARNING
    words = "No run can start" if state is State.FAILED else "A run of default size cannot start"
    return CheckResult("limits", state, detail, f"{words}. Change it: kubectl edit limitrange -n {shape.namespace}")


def _items(api: KubeApi, shape: Shape, kind: str) -> list[Json]:
    return list(api.call("GET", f"/api/v1/namespaces/{shape.namespace}/{kind}").get("items") or [])


def _not_listed(name: str, failure: ApiFailure, detail: str) -> CheckResult:
    return _unseen(name, detail) if failure.status == 403 else CheckResult(name, State.FAILED, str(failure), "Try again.")


def _accepted(api: KubeApi, shape: Shape, pod: Json) -> CheckResult:
    """Have the API server check a run's pod without making it: admission, PodSecurity, quota, names of classes."""
    try:
        api.call("POST", f"/api/v1/namespaces/{shape.namespace}/pods", pod, {"dryRun": "All"})
    except ApiFailure as failure:
        if failure.quota:
            return CheckResult(
                "pod", State.WARNING, failure.message, "Runs wait until the quota has room; probe runs are left out now."
            )
        return CheckResult("pod", State.FAILED, failure.message, _accept(failure, shape))
    return CheckResult("pod", State.OK, "a run's pod is accepted (dry run)")


# What an answer holds -> what to do about it.
REFUSALS = (
    ("PriorityClass", "Set PODWIRE_KUBE_PRIORITY_CLASS to one that is there (kubectl get priorityclasses), or leave it empty."),
    ("RuntimeClass", "Set PODWIRE_KUBE_RUNTIME_CLASS to one that is there (kubectl get runtimeclasses), or leave it empty."),
    (
        "serviceaccount",
        "Set PODWIRE_KUBE_SERVICE_ACCOUNT to one that is there (kubectl get serviceaccounts -n {0}), or leave it empty.",
    ),
    ("violates PodSecurity", "Runs comply with `restricted` as long as PODWIRE_KUBE_USER_ID is not 0; see the sentence above."),
    ("usage per", "A limit range refuses it: kubectl edit limitrange -n {0}"),
    ("namespaces ", "kubectl create namespace {0}"),
    ("cannot create resource", "kubectl apply -n {0} -f docs/kubernetes-rbac.yaml"),
)


def _accept(failure: ApiFailure, shape: Shape) -> str:
    for words, advice in REFUSALS:
        if words.lower() in failure.message.lower():
            return advice.format(shape.namespace)
    if failure.status in (400, 422):
        return "Check the PODWIRE_KUBE_ settings that go into every pod; the sentence above names the field."
    return "An admission policy of the cluster refuses it; the sentence above is its own."
