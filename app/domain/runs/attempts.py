"""The attempts of a run, each with its part of the one log. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.runs.evidence import Evidence
from app.domain.runs.run import Outcome, Run


@dataclass(frozen=True, slots=True)
class AttemptPart:
    """One attempt and its part of the log: events [first_seq, last_seq], output bytes [first_offset, last_offset).

    `outcome` is None until it has ended.
    """

    number: int
    started_at: float | None
    ended_at: float | None
    outcome: Outcome | None
    evidence: Evidence
    first_seq: int
    last_seq: int
    first_offset: int
    last_offset: int


def all_attempts(run: Run, former: Sequence[AttemptPart]) -> list[AttemptPart]:
    """Return the former attempts and the present one, whose part reaches as far as the archive does."""
    last = former[-1] if former else None
    present = AttemptPart(
        number=run.attempt,
        started_at=run.started_at,
        ended_at=run.ended_at,
        outcome=run.outcome,
        evidence=run.evidence,
        first_seq=last.last_seq + 1 if last else 1,
        last_seq=run.archived.seq,
        first_offset=last.last_offset if last else 0,
        last_offset=run.archived.offset,
    )
    return [*former, present]
