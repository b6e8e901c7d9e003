"""An outside observer: notes which pods each attempt ever had, by a raw watch of its own, whatever Podwire says about them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import closing
from typing import Any

from app.agent.records import wire_format
from app.agent.records.wire_format import Kind
from app.domain.errors import LinkLost
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.link.exec_socket import ExecSocket
from app.launch.kubernetes.pods.manifest import BRIDGE_COMMAND, DOMAIN

PAUSE_S = 0.1
DIAL_WITHIN_S = 2.0


class Observer(threading.Thread):
    """Watches the namespace from outside and notes the uid of every pod of every attempt.

    An attempt may get a second pod, one that an overtaken supervisor made, but nothing may start in it. Each is asked, for as
    long as it lives; a first pod is taken for started.
    """

    def __init__(self, api: KubeApi, namespace: str) -> None:
        """Watch from `start` on."""
        super().__init__(daemon=True)
        self._api, self._namespace, self._path = api, namespace, f"/api/v1/namespaces/{namespace}/pods"
        self._version = ""
        self.uids: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.nodes: dict[str, set[str]] = defaultdict(set)
        self.started: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.breaks = self.holes = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Watch until `stop`. After a break it goes on where it was; only where the server has forgotten that, from a list."""
        while not self.stop.is_set():
            try:
                self._follow()
            except ApiFailure as failure:
                self.breaks += 1
                if failure.status == 410:
                    self.holes += 1
                    self._version = ""
                self.stop.wait(PAUSE_S)

    def _follow(self) -> None:
        if not self._version:
            listed = self._api.call("GET", self._path)
            for pod in listed["items"]:
                self._note(pod)
            self._version = str(listed["metadata"]["resourceVersion"])
        query = {"watch": "1", "resourceVersion": self._version, "timeoutSeconds": "3"}
        for event in self._api.lines(self._path, query, 10.0):
            if event["type"] == "ERROR":
                raise ApiFailure(int(event["object"].get("code") or 0), "Watch", str(event["object"].get("message")))
            self._note(event["object"])
            self._version = event["object"]["metadata"]["resourceVersion"]

    def _note(self, pod: dict[str, Any]) -> None:
        labels, uid = pod["metadata"].get("labels") or {}, str(pod["metadata"]["uid"])
        if f"{DOMAIN}/run" not in labels:
            return
        run = labels[f"{DOMAIN}/run"]
        if node := pod["spec"].get("nodeName"):
            self.nodes[run].add(str(node))
        uids = self.uids[run, labels[f"{DOMAIN}/attempt"]]
        if uid not in uids and uids:
            asked = (run, labels[f"{DOMAIN}/attempt"]), pod["metadata"]["name"], uid
            threading.Thread(target=self._ask, args=asked, daemon=True).start()
        uids.add(uid)

    def _ask(self, attempt: tuple[str, str], name: str, uid: str) -> None:
        """Follow the pod's agent, without giving the word to start, until the pod is gone or has started something."""
        while not self.stop.is_set() and uid not in self.started[attempt]:
            try:
                connection, _ = self._api.dial(self._namespace, name, "agent", BRIDGE_COMMAND, DIAL_WITHIN_S)
                with closing(ExecSocket(connection)) as socket:
                    socket.send(wire_format.encode(Kind.FOLLOW, 0.0, b'{"from": 0}'))
                    while not self.stop.is_set() and uid not in self.started[attempt]:
                        if any(kind == Kind.STARTED or b'"started": true' in body for kind, _, body in socket.receive()):
                            self.started[attempt].add(uid)
                        time.sleep(0.02)
            except ApiFailure as failure:
                if failure.missing:
                    return
                time.sleep(PAUSE_S)
            except LinkLost:
                time.sleep(PAUSE_S)

    def seconds(self) -> dict[tuple[str, str], set[str]]:
        """Return the attempts that had more than one pod, with the uids."""
        return {attempt: uids for attempt, uids in list(self.uids.items()) if len(uids) > 1}

    def doubled(self) -> dict[tuple[str, str], set[str]]:
        """Return the attempts that were started in a second pod, with its uid; there must be none."""
        return {attempt: uids for attempt, uids in list(self.started.items()) if uids}

    def end(self) -> None:
        """Stop watching."""
        self.stop.set()
        self.join(15)
