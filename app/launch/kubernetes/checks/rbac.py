"""What Podwire does in the namespace of its runs, as rules of RBAC, and which of it the cluster does not permit.

`RULES` is the one list: docs/kubernetes-rbac.yaml grants exactly this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure

logger = logging.getLogger(__name__)

SEE_DOCTOR = "`podwire doctor --cluster` says what to fix"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with one resource of the core API group. `resource` may name a subresource: `pods/exec`.

    `only_for`: the runs that need it, where others do without.
    """

    resource: str
    verbs: tuple[str, ...]
    only_for: str = ""

    def __str__(self) -> str:
        """Return it in words: `pods: get, list`."""
        return f"{self.resource}: {', '.join(self.verbs)}"


RULES = (
    Rule("pods", ("get", "list", "watch", "create", "delete")),
    Rule("pods/exec", ("get", "create")),
    Rule("secrets", ("create", "get", "delete"), only_for="runs with secret environment"),
    Rule("events", ("list",)),
)


def lacking(api: KubeApi, namespace: str) -> list[Rule]:
    """Return what of RULES is not permitted in the namespace, with only the verbs that are refused. Raises: ApiFailure."""
    refused = [replace(rule, verbs=tuple(verb for verb in rule.verbs if not _may(api, namespace, rule, verb))) for rule in RULES]
    return [rule for rule in refused if rule.verbs]


def _may(api: KubeApi, namespace: str, rule: Rule, verb: str) -> bool:
    resource, _, subresource = rule.resource.partition("/")
    asked = {"namespace": namespace, "verb": verb, "group": "", "resource": resource, "subresource": subresource}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
    return bool(api.call("POST", REVIEWS, body).get("status", {}).get("allowed"))


def as_yaml(rules: list[Rule]) -> str:
    """Return the lines that a Role needs under `rules:`."""
    lines = '  - apiGroups: [""]\n    resources: [{}]\n    verbs: [{}]'
    return "\n".join(lines.format(rule.resource, ", ".join(rule.verbs)) for rule in rules)


def log_lacking(connect: Callable[[], KubeApi], namespace: str) -> None:
    """Log as errors what this process may not do in the namespace. Raises nothing when the cluster cannot be asked."""
    try:
        for rule in lacking(connect(), namespace):
            if rule.only_for:
                logger.warning("not permitted in namespace %s: %s; %s are refused", namespace, rule, rule.only_for)
            else:
                logger.error("configuration error: not permitted in namespace %s: %s; %s", namespace, rule, SEE_DOCTOR)
    except ApiFailure as failure:
        logger.warning("permissions in the namespace %s not checked: %s", namespace, failure)
