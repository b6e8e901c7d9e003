"""The state of this installation's pods as the API server tells it: one list and watch for a whole process, in one thread.

What it knows may be old or lack a pod that is seconds young: it wakes those who follow a pod and saves them questions. That a pod
is gone is believed only when a GET says so.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Any

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.checks.rbac import SEE_DOCTOR

logger = logging.getLogger(__name__)

Json = dict[str, Any]
RELIST_S = 300
SILENCE_S = 330.0
LONGEST_PAUSE_S = 10.0


class PodWatch:
    """Follows every pod that a selector names. Thread-safe; it begins with the first follower and ends with the process."""

    def __init__(
        self, api: KubeApi, namespace: str, selector: str, see: Callable[[Json, bool], None] = lambda pod, gone: None
    ) -> None:
        """Contact nothing yet. `see(pod, gone)` is called, by the watch's thread, for each change of any pod."""
        self._see = see
        self._api, self._selector = api, selector
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pods: dict[str, Json] = {}
        self._calls: dict[str, list[Callable[[], None]]] = {}
        self.failures = self.lists = 0

    def pod(self, name: str, uid: str) -> Json | None:
        """Return the pod as it was last seen; None when it was not, or another has its name."""
        with self._lock:
            pod = self._pods.get(name)
        return pod if pod is not None and pod["metadata"]["uid"] == uid else None

    def follow(self, name: str, call: Callable[[], None]) -> None:
        """Have `call` made, by the watch's thread, whenever the pod changed."""
        with self._lock:
            self._calls.setdefault(name, []).append(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="pod-watch", daemon=True)
                self._thread.start()

    def unfollow(self, name: str, call: Callable[[], None]) -> None:
        """Undo `follow`. Idempotent."""
        with self._lock:
            calls = self._calls.get(name, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._calls.pop(name, None)

    def _work(self) -> None:
        pause_s = 0.5
        while True:
            try:
                self._follow_from(self._list())
                pause_s = 0.5
            except ApiFailure as failure:
                if failure.status != 410:
                    self.failures += 1
                    hint = f"; {SEE_DOCTOR}" if failure.of_rights else ""
                    logger.warning("pods not watched at the moment: %s%s", failure, hint)
                    threading.Event().wait(random.uniform(pause_s / 2, pause_s))
                    pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _list(self) -> str:
        answer = self._api.call("GET", self._path, query={"labelSelector": self._selector})
        self.lists += 1
        pods = {pod["metadata"]["name"]: pod for pod in answer.get("items") or []}
        with self._lock:
            before, self._pods = self._pods, pods
        for name in before.keys() | pods.keys():
            self._announce(name)
        return str(answer["metadata"]["resourceVersion"])

    def _follow_from(self, version: str) -> None:
        """Take changes until the server ends the watch. Raises: ApiFailure."""
        query = {"watch": "1", "allowWatchBookmarks": "true", "labelSelector": self._selector}
        query |= {"resourceVersion": version, "timeoutSeconds": str(RELIST_S)}
        for event in self._api.lines(self._path, query, SILENCE_S):
            changed, kind = event.get("object") or {}, event.get("type")
            if kind == "ERROR":
                raise ApiFailure(int(changed.get("code") or 0), str(changed.get("reason")), str(changed.get("message")))
            if kind in ("ADDED", "MODIFIED", "DELETED"):
                self._apply(str(kind), changed)

    def _apply(self, kind: str, pod: Json) -> None:
        name = pod["metadata"]["name"]
        with self._lock:
            if kind == "DELETED":
                self._pods.pop(name, None)
            else:
                self._pods[name] = pod
        self._see(pod, kind == "DELETED")
        self._announce(name)

    def _announce(self, name: str) -> None:
        with self._lock:
            calls = list(self._calls.get(name, ()))
        for call in calls:
            call()
