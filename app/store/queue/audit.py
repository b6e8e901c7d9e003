"""The record of who steered what. It is written in the transaction of the change, so that neither exists without the other."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, bindparam, insert, select

from app.domain.audit import Action, Change
from app.domain.person import Person
from app.store.engine import db_now, reading
from app.store.runs.rows import storable
from app.store.schema.tables import audit

NOTE = insert(audit).values(at=db_now())


def note(
    connection: Connection, by: Person, action: Action, subject: str | None, before: str | None = None, after: str | None = None
) -> None:
    """Add an entry."""
    row = {"by_id": by.id, "by_name": storable(by.name), "action": action.value, "subject": subject}
    connection.execute(NOTE, {**row, "before": before, "after": after})


class AuditLog:
    """The entries."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def changes(self, *, subject: str | None = None, before: int | None = None, limit: int = 50) -> list[Change]:
        """Return the newest entries first: all or those about a subject; older than the number `before`."""
        found = select(audit).order_by(audit.c.number.desc()).limit(bindparam("at_most"))
        if subject is not None:
            found = found.where(audit.c.subject == subject)
        if before is not None:
            found = found.where(audit.c.number < before)
        with reading(self._engine) as connection:
            rows = connection.execute(found, {"at_most": limit}).all()
        return [Change(r.number, r.at, r.by_name, Action(r.action), r.subject, r.before, r.after) for r in rows]
