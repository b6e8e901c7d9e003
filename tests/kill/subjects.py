"""The runs of a kill test with their watchers and answering people, and the judgement on each when it is over.

What a run must write is computed (program.py); what happens to the service meanwhile is not known here (chaos.py).
"""

from __future__ import annotations

import http.client
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.integration.client import FINAL, Answer, Client
from tests.integration.transcript import difference
from tests.integration.watcher import Watcher
from tests.kill import program
from tests.kill.ground import Ground

FAULTS = (
    "gaps",
    "duplicates",
    "other faults in streams",
    "watchers incomplete",
    "wrong bytes",
    "doubled answers",
    "wrong answers",
    "runs without an end",
    "wrong ends",
    "internal errors",
)


class Tally:
    """What was counted over all runs. Thread-safe."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._lock = threading.Lock()

    def add(self, what: str, number: int = 1) -> None:
        """Count."""
        with self._lock:
            self.counts[what] += number

    def complain(self, what: str, detail: str) -> None:
        """Count a fault and remember what it was."""
        with self._lock:
            self.counts[what] += 1
            self.complaints.append(f"{what}: {detail[:600]}")


class Subject(threading.Thread):
    """One run: submits it, has it watched, answers its questions or cancels it, and waits for its end."""

    def __init__(self, client: Client, number: int, ground: Ground, tally: Tally, pace_s: float, watchers: int = 4) -> None:
        """`number` decides what the program does; every seventh is cancelled on the way."""
        super().__init__(daemon=True, name=f"subject-{number}")
        self._client, self.number, self._ground, self._tally, self._pace_s = client, number, ground, tally, pace_s
        self._random, self._count = random.Random(number), watchers
        self.give_up = threading.Event()
        self.cancels = number % 7 == 3
        self.run_id = ""
        self.final: dict[str, Any] | None = None
        self.accepted: dict[str, object] = {}
        self.texts: dict[str, str] = {}
        self.watchers: list[Watcher] = []

    def run(self) -> None:
        """Live through it."""
        body = {
            "script": Path(program.__file__).read_text(),
            "language": "python",
            "args": [str(self.number), self._ground.notes, str(self._pace_s)],
            "priority": self._random.choice(["critical", "high", "normal", "low", "background"]),
            "grace": 0,
            **self._ground.resources,
        }
        key = {"Idempotency-Key": f"kill-{self.number}"}
        answer = self._stubborn(lambda: self._client.post("/v1/runs", body, key), 200, 201, 202)
        if answer is None:
            return
        self.run_id = str(answer.json["id"])
        self._watch()
        cancel_at = time.monotonic() + self._random.uniform(0.5, 8) if self.cancels else None
        while not self.give_up.is_set() and self.final is None:
            time.sleep(self._random.uniform(0.1, 0.5))
            self._answer_all()
            if cancel_at is not None and time.monotonic() > cancel_at:
                self._stubborn(lambda: self._client.cancel(self.run_id), 200, 202)
                cancel_at = None
            run = self._stubborn(lambda: self._client.get(f"/v1/runs/{self.run_id}"), 200)
            if run is not None and run.json["status"] in FINAL:
                self.final = run.json

    def _watch(self) -> None:
        kinds = (("ws", None, 0.0), ("ws", 1.5, 0.0), ("ws", None, 0.05), ("sse", 2.5, 0.0))
        for index, (kind, drop_every_s, pause_s) in enumerate(islice(cycle(kinds), self._count)):
            watcher = Watcher(
                self._client, self.run_id, kind, seed=self.number * 100 + index, drop_every_s=drop_every_s, read_pause_s=pause_s
            )
            watcher.start()
            self.watchers.append(watcher)

    def _stubborn(self, call: Callable[[], Answer], *wanted: int, within_s: float = math.inf) -> Answer | None:
        """Repeat the request until it is answered with one of the statuses; None once it is time to give up."""
        deadline = time.monotonic() + within_s
        while not self.give_up.is_set() and time.monotonic() < deadline:
            try:
                answer = call()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            if answer.status in wanted:
                return answer
            if answer.status != 503:
                self._tally.complain("internal errors", f"{answer.status} {answer.body.decode(errors='replace')}")
            time.sleep(0.2)
        return None

    # --- answers

    def _answer_all(self) -> None:
        listed = self._stubborn(lambda: self._client.get(f"/v1/runs/{self.run_id}/questions"), 200)
        for question in listed.json["items"] if listed else ():  # type: ignore[attr-defined]
            self.texts[question["id"]] = question["text"]
            if question["state"] == "open" and question["id"] not in self.accepted:
                self._answer(question["id"])

    def _answer(self, question_id: str) -> None:
        """Give three answers at once, two of them the same, over whichever replicas; all must agree on which was accepted."""
        values = [f"one-{question_id}", f"two-{question_id}", f"one-{question_id}"]
        post = f"/v1/questions/{question_id}/answer"
        with ThreadPoolExecutor(3) as pool:
            calls = [
                pool.submit(self._stubborn, lambda value=value: self._client.post(post, {"value": value}), 200, 409)
                for value in values
            ]
        answers = [answer for call in calls if (answer := call.result()) is not None]
        told = {str(answer.json["value"] if answer.status == 200 else answer.json.get("accepted")) for answer in answers}
        if any(answer.json.get("code") == "question_closed" for answer in answers):
            return
        if len(told) != 1:
            self._tally.complain("wrong answers", f"{question_id}: replicas disagree: {told}")
        self.accepted[question_id] = next(iter(told), None)
        self._tally.add("answers accepted")

    # --- the judgement

    @property
    def partial(self) -> bool:
        """True when the run was ended on its way, as it may."""
        final = self.final
        return final is not None and (final["status"] == "cancelled" or self._ground.lost(final))

    def judge(self) -> None:
        """Count everything that is not as it must be."""
        tally = self._tally
        if self.final is None:
            tally.complain("runs without an end", f"run {self.run_id} number {self.number}")
        elif self._ground.lost(self.final):
            tally.add("runs lost with their node")
        elif self.final["status"] != "succeeded" and not (self.cancels and self.final["status"] == "cancelled"):
            tally.complain("wrong ends", f"run {self.run_id}: {self.final['status']} {self.final['outcome']}")
        starts = self._ground.starts(self.run_id)
        if len(starts) > 1 or (len(starts) == 0 and not self.partial):
            tally.complain(self._ground.second, f"run {self.run_id} was started {len(starts)} times: {starts}")
        noted = self._ground.answers(self.run_id)
        if noted is not None:
            self._judge_answers(noted)
        for watcher in self.watchers:
            self._judge_watcher(watcher)
        if self.final is not None:
            stored = self._stubborn(lambda: self._client.get(f"/v1/runs/{self.run_id}/output"), 200, within_s=30.0)
            if stored is None:
                tally.complain("wrong bytes", f"the archive of run {self.run_id} cannot be read")
            else:
                self._judge_bytes("archive", stored.body)

    def _judge_answers(self, noted: list[list[str]]) -> None:
        seen = Counter(place for place, _ in noted)
        for place, count in seen.items():
            if count > 1:
                self._tally.complain("doubled answers", f"run {self.run_id}: {place} {count} times")
        accepted = {self.texts[asked].split()[1]: value for asked, value in self.accepted.items() if value is not None}
        for place, value in noted:
            if accepted.get(place) != value:
                self._tally.complain("wrong answers", f"run {self.run_id}: {place} got {value}, accepted {accepted.get(place)}")
        if not self.cancels and self.final is not None and set(accepted) != set(seen):
            self._tally.complain("wrong answers", f"run {self.run_id}: accepted {sorted(accepted)}, seen {sorted(seen)}")

    def _judge_watcher(self, watcher: Watcher) -> None:
        told, tally = watcher.transcript, self._tally
        tally.add("events delivered", told.deliveries)
        tally.add("bytes delivered", len(told.shown))
        tally.add("connections", watcher.connects)
        tally.add("resets", told.resets)
        tally.add("gaps", told.gaps)
        tally.add("duplicates", told.duplicates)
        for fault in told.faults:
            tally.complain("other faults in streams", f"{watcher.name}: {fault}")
        if watcher.is_alive() or watcher.error is not None or told.ends != 1:
            where = f"at {told.position}, {told.ends} ends, error {watcher.error!r}, closes {watcher.closes[-5:]}"
            tally.complain("watchers incomplete", f"{watcher.name}: {where}")
            return
        if bytes(told.shown) != told.output or told.end["output_bytes"] != len(told.shown):
            tally.complain("wrong bytes", f"{watcher.name}: shown, valid and announced output differ")
        if self.final is not None and told.end["status"] != self.final["status"]:
            tally.complain("wrong ends", f"{watcher.name}: told {told.end['status']}, is {self.final['status']}")
        asked = [event["question"]["id"] for event in told.of_kind("question")]
        answered = [event["question_id"] for event in told.of_kind("answer")]
        if len(set(asked)) != len(asked) or len(set(answered)) != len(answered):
            tally.complain("doubled answers", f"{watcher.name}: asked {asked}, answered {answered}")
        self._judge_bytes(watcher.name, bytes(told.shown))

    def _judge_bytes(self, who: str, seen: bytes) -> None:
        ordered = sorted(self.texts, key=lambda question_id: int(question_id.rsplit("-", 1)[1]))
        wanted = program.expected(self.number, [self.accepted.get(question_id) for question_id in ordered])
        if seen != (wanted[: len(seen)] if self.partial else wanted):
            self._tally.complain("wrong bytes", f"{who} of run {self.run_id}: {difference(seen, wanted)}")
