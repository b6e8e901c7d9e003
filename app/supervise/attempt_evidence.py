"""What a supervisor learns about its attempt besides its output: evidence of where and when it ran, readings of what it uses.

Pure. Every fact has one source, and is read again from it by a supervisor that takes over: the claim (stored with the handle),
the link (the pod's status), the agent's records, and the log, where records that somebody else has read have become events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from app.agent.records.wire_format import Kind as Wire
from app.domain.ports import Record
from app.domain.runs.events import Entry, Kind
from app.domain.runs.evidence import Evidence
from app.domain.runs.run import Run, Status
from app.domain.runs.usage import Use, reading

# The beginning of an attempt is among the first events of its run, unless others came before it.
RECALLED_EVENTS = 100
_OUTPUT = (Wire.STDOUT, Wire.STDERR)


class AttemptEvidence:
    """The evidence of one attempt as far as it is known here."""

    def __init__(self, run: Run, lease_s: float | None = None) -> None:
        """Begin with what is stored. With `lease_s`, the run was claimed just now: if nobody has launched it, that is a fact."""
        known = run.evidence if run.evidence.attempt == run.attempt else Evidence(run.attempt)
        if lease_s is not None and run.handle is None and run.lease_until is not None:
            known = replace(known, dispatched=run.dispatched_at, claimed=run.lease_until - lease_s)
        self.known = known
        self._saw_start = False

    def of(self, run: Run) -> Run:
        """Return the run with this evidence."""
        return replace(run, evidence=self.known)

    def observe(self, record: Record, offset: int) -> bool:
        """Take a record before which the run had `offset` bytes of output; say whether it told something new."""
        if record.kind in _OUTPUT:
            fresh = self.known.first_byte is None and (self._saw_start or offset == 0)
            return fresh and self._add(first_byte=record.time)
        if record.kind == Wire.STARTED:
            self._saw_start = True
            return self._add(started=record.time)
        if record.kind == Wire.EXIT and record.position:
            return self._add(exited=record.time)
        return record.kind == Wire.EVIDENCE and self._add(**json.loads(record.payload))

    def _add(self, **found: object) -> bool:
        before, self.known = self.known, self.known.with_added(**found)
        return self.known != before

    def lacks(self, offset: int) -> bool:
        """Say whether the log knows more about the beginning than this."""
        return self.known.started is None or (offset > 0 and self.known.first_byte is None)

    def recall(self, entries: Iterable[Entry]) -> None:
        """Learn from the log when the program started and first wrote, which somebody else may have heard."""
        began = False
        for entry in entries:
            event = json.loads(entry.payload)
            kind = event.get("kind")
            if kind == Kind.STATUS and event.get("status") == Status.RUNNING:
                began = event.get("attempt") == self.known.attempt
                if began:
                    self._add(started=event.get("time"))
            elif kind == Kind.OUTPUT and began:
                self._add(first_byte=event.get("time"))
                return


def use_of(record: Record, run: Run) -> Use | None:
    """Return the reading that a record holds."""
    return reading(json.loads(record.payload), run.attempt, record.time)
