"""The launcher for Kubernetes: each attempt is one bare pod of a name that follows from the run and the attempt.

How an attempt starts once. Of any number of launchers that create the pod one succeeds, and the others adopt it by its uid. The
program waits in it for a word that only a link gives, and a link is made with the stored uid: so the fence around storing it
(SQL, by the claim's token) is the fence around the start. An attempt whose uid is stored is never created again, and what an
overtaken supervisor creates after a removal never runs: it is left over, and removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from app.domain.errors import AttemptGone, LauncherUnavailable, LaunchRefused, PodwireError
from app.domain.ports import Attempt, Link
from app.domain.runs.artefacts import Found, LeftOut
from app.launch.artefact_transfer import received
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure, refusal, unavailable
from app.launch.kubernetes.api.pod_watch import PodWatch
from app.launch.kubernetes.checks.rbac import SEE_DOCTOR
from app.launch.kubernetes.link.exec_link import Cluster, ExecLink
from app.launch.kubernetes.link.exec_socket import ExecSocket
from app.launch.kubernetes.pods.late_evidence import LateEvidence, Receiver, ignore
from app.launch.kubernetes.pods.manifest import (
    DOMAIN,
    GATHER_COMMAND,
    Shape,
    keeps_artefacts,
    labels,
    make_pod,
    parse_name,
    pod_name,
    selector,
)
from app.launch.kubernetes.pods.pod_secrets import PodSecrets

logger = logging.getLogger(__name__)

Json = dict[str, Any]
REMOVE_WITHIN_S = 1
DIAL_WITHIN_S = 10.0
RIGHTS_WITHIN_S, RIGHTS_EVERY_S = 6.0, 0.5
ENDED = ("Failed", "Succeeded")


class KubernetesLauncher:
    """Runs attempts as pods in one namespace. Thread-safe; any number of processes may do the same at once."""

    def __init__(self, api: KubeApi, shape: Shape, on_late_evidence: Receiver = ignore) -> None:
        """Contact nothing yet. `on_late_evidence` takes facts about attempts that come to light after their removal."""
        self._api, self._shape = api, shape
        self._late = LateEvidence(on_late_evidence)
        self._cluster = Cluster(api, shape, PodWatch(api, shape.namespace, selector(shape), self._late.see))
        self._secrets = PodSecrets(api, shape)
        self._pods = f"/api/v1/namespaces/{shape.namespace}/pods"

    def launch(self, attempt: Attempt) -> str:
        """Create the attempt's pod, and its Secret, unless they are there; return the pod's uid.

        The program waits until the uid is stored.

        Raises: LaunchRefused, LauncherUnavailable, AttemptGone when the stored pod is not there any more.
        """
        manifest = make_pod(attempt, self._shape)
        until = time.monotonic() + RIGHTS_WITHIN_S
        while True:
            try:
                return self._launch(attempt, manifest)
            except LaunchRefused as refused:
                # An API server that has just been started does not know the roles yet, and refuses everybody.
                if not refused.extensions.get("rights") or time.monotonic() > until:
                    raise
            time.sleep(RIGHTS_EVERY_S)

    def _launch(self, attempt: Attempt, manifest: Json) -> str:
        uid = self._adopt(attempt) if attempt.handle is not None else self._create(attempt, manifest)
        self._secrets.ensure(attempt, uid)
        return uid

    def _create(self, attempt: Attempt, manifest: Json) -> str:
        try:
            made = self._api.call("POST", self._pods, manifest)
            logger.info("run %s: pod %s created", attempt.run_id, manifest["metadata"]["name"])
            return str(made["metadata"]["uid"])
        except ApiFailure as failure:
            # Whatever the answer was, the pod may be there: an earlier try may have made it, a full quota hides it.
            return self._adopt(attempt, failure)

    def _adopt(self, attempt: Attempt, failure: ApiFailure | None = None) -> str:
        try:
            pod = self._cluster.get(pod_name(attempt))
        except ApiFailure as missing:
            if missing.missing and attempt.handle is not None:
                raise AttemptGone("The run's pod is gone.", reason="PodDeleted") from missing
            raise self._refused(attempt, failure if missing.missing and failure else missing) from missing
        uid = str(pod["metadata"]["uid"])
        if attempt.handle is not None and uid != attempt.handle:
            raise AttemptGone("The run's pod is gone.", reason="PodDeleted")
        given, wanted = pod["metadata"].get("labels") or {}, labels(attempt, self._shape)
        if any(given.get(name) != value for name, value in wanted.items()):
            raise LaunchRefused("Another pod has the name of this run's pod.", reason="LaunchFailed")
        if pod["metadata"].get("deletionTimestamp") and attempt.handle is None:
            raise LauncherUnavailable("A pod of this name is still going away.")
        return uid

    def _refused(self, attempt: Attempt, failure: ApiFailure) -> PodwireError:
        error = refusal(failure)
        if error.extensions.get("reason") == "LaunchFailed":
            logger.error("run %s: configuration error: no pod: %s; %s", attempt.run_id, failure, SEE_DOCTOR)
        return error

    def connect(self, attempt: Attempt, position: int, on_start: Callable[[], None] = lambda: None) -> Link:
        """Follow the attempt's records from the spool position; the link dials while it is read.

        Raises: LauncherUnavailable when the attempt's uid is not stored.
        """
        if attempt.handle is None:
            raise LauncherUnavailable("The run's pod is not known yet.")
        return ExecLink(self._cluster, attempt, position, on_start)

    def collect(self, attempt: Attempt, max_files: int, max_bytes: int) -> Iterator[Found | bytes | LeftOut]:
        """Yield what the program left to be kept: a process beside it reads it (see domain.ports.Collector)."""
        try:
            pod = self._cluster.get(pod_name(attempt))
            if str(pod["metadata"]["uid"]) != attempt.handle:
                raise AttemptGone("the run's pod is gone.")
            if not keeps_artefacts(pod):
                return iter([LeftOut()])
            command = [*GATHER_COMMAND, str(max_files), str(max_bytes)]
            namespace = self._shape.namespace
            connection, _ = self._api.dial(namespace, pod_name(attempt), "agent", command, DIAL_WITHIN_S)
        except ApiFailure as failure:
            if failure.missing:
                raise AttemptGone("the run's pod is gone.") from failure
            raise unavailable(failure) from failure
        return received(ExecSocket(connection))

    def remove(self, attempt: Attempt, *, unless_ended: bool = False) -> bool:
        """Delete the attempt's pod, if it is ours and the very one whose uid is stored. Raises: LauncherUnavailable.

        Programs wait for the word here, so nothing begins without one. With `unless_ended`, a pod whose containers have all
        ended stays; only its Secret goes.
        """
        try:
            pod = self._ours(attempt) if unless_ended or attempt.handle is None else None
            if pod and unless_ended and pod.get("status", {}).get("phase") in ENDED:
                self._secrets.forget(attempt, pod)
                return False
            uid = attempt.handle or (str(pod["metadata"]["uid"]) if pod else None)
            if uid is None:
                return False
            self._cluster.shared.forget(uid)
            self._late.expect(uid, attempt, self._cluster.watch.pod(pod_name(attempt), uid))
            body: Json = {"gracePeriodSeconds": REMOVE_WITHIN_S, "preconditions": {"uid": uid}}
            self._api.call("DELETE", f"{self._pods}/{pod_name(attempt)}", {"apiVersion": "v1", "kind": "DeleteOptions", **body})
        except ApiFailure as failure:
            # 409: the pod of this uid is gone, and another has its name.
            if not failure.missing and failure.status != 409:
                raise unavailable(failure) from failure
        return False

    def _ours(self, attempt: Attempt) -> Json | None:
        pod = self._cluster.get(pod_name(attempt))
        given = pod["metadata"].get("labels") or {}
        ours = given.get(f"{DOMAIN}/instance") == self._shape.instance and given.get(f"{DOMAIN}/run") == attempt.run_id
        return pod if ours else None

    def present(self) -> list[tuple[str, int]]:
        """Return (run id, attempt number) of every pod of ours that is not being deleted. Raises: LauncherUnavailable."""
        try:
            answer = self._api.call("GET", self._pods, query={"labelSelector": selector(self._shape)})
        except ApiFailure as failure:
            raise unavailable(failure) from failure
        metadata = [pod["metadata"] for pod in answer.get("items") or []]
        names = [parse_name(each["name"]) for each in metadata if not each.get("deletionTimestamp")]
        return [name for name in names if name is not None]
