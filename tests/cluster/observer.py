"""An outside observer: notes which pods each attempt ever had, by a raw watch of its own, whatever Podwire says about them."""

from __future__ import annotations

import threading
from collections import defaultdict

from app.launch.kube_api import KubeApi
from app.launch.kube_errors import ApiFailure
from app.launch.manifest import DOMAIN

PAUSE_S = 0.1


class Observer(threading.Thread):
    """Watches the namespace from outside and notes the uid of every pod of every attempt."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        super().__init__(daemon=True)
        self._api, self._path = api, f"/api/v1/namespaces/{namespace}/pods"
        self.uids: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.nodes: dict[str, set[str]] = defaultdict(set)
        self.breaks = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Watch until `stop`, from the last version seen; after a break from a list."""
        version = ""
        while not self.stop.is_set():
            try:
                version = self._follow(version or self._list())
            except ApiFailure:
                version = ""
                self.breaks += 1
                self.stop.wait(PAUSE_S)

    def _list(self) -> str:
        listed = self._api.call("GET", self._path)
        for pod in listed["items"]:
            self._note(pod)
        return str(listed["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> str:
        for event in self._api.lines(self._path, {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3"}, 10.0):
            if event["type"] == "ERROR":
                raise ApiFailure(int(event["object"].get("code") or 0), "Watch", str(event["object"].get("message")))
            self._note(event["object"])
            version = event["object"]["metadata"]["resourceVersion"]
        return version

    def _note(self, pod: dict[str, dict[str, object]]) -> None:
        labels = pod["metadata"].get("labels")
        if isinstance(labels, dict) and f"{DOMAIN}/run" in labels:
            run = labels[f"{DOMAIN}/run"]
            self.uids[run, labels[f"{DOMAIN}/attempt"]].add(str(pod["metadata"]["uid"]))
            if node := pod["spec"].get("nodeName"):
                self.nodes[run].add(str(node))

    def seconds(self) -> dict[tuple[str, str], set[str]]:
        """Return the attempts that had more than one pod, with the uids; there must be none."""
        return {attempt: uids for attempt, uids in list(self.uids.items()) if len(uids) > 1}

    def end(self) -> None:
        """Stop watching."""
        self.stop.set()
        self.join(15)
