"""The Secrets that pods take their secret environment from: one for each pod that needs it, owned by the pod.

The pod comes first, since its uid is what makes the Secret its own; the cluster removes a Secret whose pod is gone. The pod's
program needs the Secret only after the agent has started, so it is there in time. Whoever launches the attempt again completes
what a killed launcher left undone.
"""

from __future__ import annotations

import logging
from typing import Any

from app.domain.errors import LauncherUnavailable, LaunchRefused
from app.domain.ports import Attempt
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure, refusal, unavailable
from app.launch.kubernetes.pods.manifest import DOMAIN, Shape, make_secret, pod_name

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class PodSecrets:
    """The Secrets of this installation's pods. Thread-safe; any number of processes may do the same at once."""

    def __init__(self, api: KubeApi, shape: Shape) -> None:
        """Contact nothing yet."""
        self._api, self._shape = api, shape
        self._path = f"/api/v1/namespaces/{shape.namespace}/secrets"

    def ensure(self, attempt: Attempt, pod_uid: str) -> None:
        """See to it that the pod of this uid has its Secret, if it needs one.

        A Secret never changes; one that an earlier pod of this name left behind is replaced.
        Raises: LaunchRefused, LauncherUnavailable.
        """
        if not attempt.spec.secrets:
            return
        manifest = make_secret(attempt, self._shape, pod_uid)
        try:
            self._api.call("POST", self._path, manifest)
        except ApiFailure as failure:
            # Whatever the answer was, it may be there: an earlier try may have made it, a full quota hides it.
            if not self._is_there(attempt, pod_uid, failure):
                raise LauncherUnavailable("The Secret of an earlier pod is still going away.") from failure

    def forget(self, attempt: Attempt, pod: Json) -> None:
        """Remove the Secret that the pod took its environment from; the pod has ended and stays. Raises: ApiFailure."""
        if not any("valueFrom" in each for container in pod["spec"]["containers"] for each in container.get("env") or []):
            return
        try:
            found = self._api.call("GET", f"{self._path}/{pod_name(attempt)}")["metadata"]
        except ApiFailure as failure:
            if failure.missing:
                return
            raise
        if self._is_ours(attempt, found):
            self._delete(found)

    def _is_there(self, attempt: Attempt, pod_uid: str, failure: ApiFailure) -> bool:
        try:
            found = self._api.call("GET", f"{self._path}/{pod_name(attempt)}")["metadata"]
        except ApiFailure as missing:
            raise refusal(failure if missing.missing else missing) from missing
        if not self._is_ours(attempt, found):
            raise LaunchRefused("Another Secret has the name of this run's Secret.", reason="LaunchFailed")
        if any(owner.get("uid") == pod_uid for owner in found.get("ownerReferences") or []):
            return not found.get("deletionTimestamp")
        self._delete(found)
        return False

    def _is_ours(self, attempt: Attempt, found: Json) -> bool:
        given = found.get("labels") or {}
        return given.get(f"{DOMAIN}/instance") == self._shape.instance and given.get(f"{DOMAIN}/run") == attempt.run_id

    def _delete(self, found: Json) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": found["uid"]}}
        try:
            self._api.call("DELETE", f"{self._path}/{found['name']}", body)
        except ApiFailure as failure:
            # 409: somebody has replaced it already.
            if not failure.missing and failure.status != 409:
                raise unavailable(failure) from failure
