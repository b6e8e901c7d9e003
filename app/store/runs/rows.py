"""How a run, its labels and its texts look in the tables, and back. No statement is executed here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from sqlalchemy import Row

from app.domain.runs import evidence
from app.domain.runs.run import Outcome, Priority, Progress, Reason, Run, Status
from app.domain.runs.spec import RunSpec

AnyRow: TypeAlias = Row[*tuple[Any, ...]]

_PRIORITIES = tuple(Priority)


def run_of(row: AnyRow) -> Run:
    """Return the run of a row that holds all columns of `runs`."""
    status = Status(row.status)
    return Run(
        id=row.id,
        sequence=row.sequence,
        owner_id=row.owner_id,
        owner_name=row.owner_name,
        spec=RunSpec.from_json(json.loads(row.spec)),
        priority=_PRIORITIES[row.priority_order if row.front_of is None else row.front_of],
        in_front=row.front_of is not None,
        status=status,
        created_at=row.created_at,
        attempt=row.attempt,
        token=row.token,
        first_token=row.first_token,
        lease_owner=row.lease_owner,
        lease_until=row.lease_until,
        handle=row.handle,
        dispatched_at=row.dispatched_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        queue_deadline_at=row.queue_deadline_at,
        queued_again_at=row.queued_again_at,
        not_before=row.not_before,
        let_go_at=row.let_go_at,
        deadline_at=row.deadline_at,
        waiting_since=row.waiting_since,
        stopping_since=row.stopping_since,
        stop_reason=Reason(row.stop_reason) if row.stop_reason else None,
        cancel_requested_at=row.cancel_requested_at,
        cancelled_by=row.cancelled_by,
        outcome=_outcome_of(status, row) if row.reason else None,
        held_up=row.held_up,
        evidence=evidence.decode(row.evidence, row.attempt),
        traceparent=row.traceparent,
        archived=Progress(row.archived_epoch, row.archived_seq, row.archived_offset, row.archived_spool),
    )


def _outcome_of(status: Status, row: AnyRow) -> Outcome:
    return Outcome(
        status=status,
        reason=Reason(row.reason),
        message=row.message,
        exit_code=row.exit_code,
        signal=row.signal,
        peak_memory_bytes=row.peak_memory_bytes,
        cpu_seconds=row.cpu_seconds,
    )


def lifecycle_of(run: Run) -> dict[str, object]:
    """Return the columns that a lifecycle step may change.

    Never the lease, a request to cancel or the archive's progress: those are written by others while a supervisor holds an
    older copy of the run.
    """
    columns: dict[str, object] = {
        "status": run.status.value,
        "attempt": run.attempt,
        "first_token": run.first_token,
        "handle": run.handle,
        "dispatched_at": run.dispatched_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "queue_deadline_at": run.queue_deadline_at,
        "queued_again_at": run.queued_again_at,
        "not_before": run.not_before,
        "let_go_at": run.let_go_at,
        "deadline_at": run.deadline_at,
        "waiting_since": run.waiting_since,
        "stopping_since": run.stopping_since,
        "stop_reason": run.stop_reason.value if run.stop_reason else None,
        "held_up": storable(run.held_up) if run.held_up else None,
        "evidence": evidence.encode(run.evidence),
    }
    if (end := run.outcome) is not None:
        columns |= {"reason": end.reason.value, "message": storable(end.message)}
        columns |= {"exit_code": end.exit_code, "signal": end.signal}
        columns |= {"peak_memory_bytes": end.peak_memory_bytes, "cpu_seconds": end.cpu_seconds}
    return columns


def changed(before: Run, after: Run) -> dict[str, object]:
    """Return the lifecycle columns in which `after` differs, and always its status."""
    old = lifecycle_of(before)
    columns = {name: value for name, value in lifecycle_of(after).items() if name not in old or old[name] != value}
    return {**columns, "status": after.status.value}


def spec_text(spec: RunSpec) -> str:
    """Return the stored form of a spec; ASCII, so that no text of a user can trouble a database."""
    return json.dumps(spec.to_json(), separators=(",", ":"))


def labels_of(run: Run) -> list[dict[str, object]]:
    """Return the rows of `run_labels` of a run."""
    labels: Mapping[str, str] = run.spec.labels
    return [{"run_id": run.id, "name": name, "value": storable(value)} for name, value in labels.items()]


def storable(text: str) -> str:
    """Return the text without what a database's text type refuses: NUL characters and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def digest(text: str) -> str:
    """Return what stands for a client's own id in the tables: of fixed size and form, whatever the client chose."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
