"""What SQL knows of artefacts: what became of each attempt's, each file's name and size, and who removes them now.

The files themselves are in the storage (workspaces.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Engine, and_, bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.errors import Fenced
from app.domain.metrics import ARTEFACT_BYTES, ARTEFACTS, ARTEFACTS_REMOVED
from app.domain.runs.artefacts import Artefact, ArtefactState, Holding
from app.domain.runs.run import Run
from app.store import counters
from app.store.engine import begin, db_now, reading
from app.store.runs.rows import AnyRow, run_of, storable
from app.store.schema.tables import IS_HELD, IS_SUPERVISED, artefact_files, artefacts, runs

S = ArtefactState
# How long one process has to remove one run's artefacts before another tries.
REMOVE_WITHIN_S = 300.0

# Note that an attempt's artefacts are being collected, and until when; the first note stays.
BEGIN = (
    upsert(artefacts)
    .values(
        run_id=bindparam("run"),
        attempt=bindparam("of_attempt"),
        state=S.COLLECTING.value,
        began_at=db_now(),
        until=db_now() + bindparam("within_s"),
    )
    .on_conflict_do_nothing(index_elements=[artefacts.c.run_id, artefacts.c.attempt])
)

_OF_ATTEMPT = and_(artefacts.c.run_id == bindparam("run"), artefacts.c.attempt == bindparam("of_attempt"))
GET = select(*artefacts.c).where(_OF_ATTEMPT)

# All attempts of a run that left something, or might have.
OF_RUN = select(*artefacts.c).where(artefacts.c.run_id == bindparam("run")).order_by(artefacts.c.attempt)

# Whether the run is still the caller's; holds its row until the end of the transaction.
HELD = (
    select(runs.c.id)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held_token"), IS_SUPERVISED)
    .with_for_update()
)

# What became of the collecting, once.
SETTLE = (
    update(artefacts)
    .where(_OF_ATTEMPT, artefacts.c.state == S.COLLECTING.value)
    .values(
        state=bindparam("new_state"),
        until=None,
        token=bindparam("new_token"),
        storage=bindparam("new_storage"),
        files=bindparam("new_files"),
        size_bytes=bindparam("new_size"),
        left_out=bindparam("new_left_out"),
        message=bindparam("new_message"),
    )
)

FILE = insert(artefact_files)
_FILE_OF_ATTEMPT = and_(artefact_files.c.run_id == bindparam("run"), artefact_files.c.attempt == bindparam("of_attempt"))

# A page of an attempt's files.
FILES = (
    select(*artefact_files.c)
    .where(_FILE_OF_ATTEMPT, artefact_files.c.number > bindparam("after"))
    .order_by(artefact_files.c.number)
    .limit(bindparam("at_most"))
)
BY_NAME = select(*artefact_files.c).where(_FILE_OF_ATTEMPT, artefact_files.c.name == bindparam("wanted"))

# Something of the attempt is in the storage, or may be.
IN_STORAGE = and_(IS_HELD, or_(artefacts.c.state != S.KEPT.value, artefacts.c.files > 0))

# The runs that ended long ago and have artefacts, the oldest first; none that has not ended, whatever its artefacts' age, and
# none whose artefacts are in another storage than the one at hand.
_FREE = or_(artefacts.c.state != S.REMOVING.value, artefacts.c.until < db_now())
_of_elsewhere = artefacts.alias()
_ELSEWHERE = exists().where(
    _of_elsewhere.c.run_id == runs.c.id,
    _of_elsewhere.c.removed_at.is_(None),
    _of_elsewhere.c.storage.not_in(["", bindparam("here")]),
)
EXPIRED = (
    select(*runs.c)
    .where(
        runs.c.ended_at < db_now() - bindparam("keep_s"),
        ~_ELSEWHERE,
        exists().where(
            artefacts.c.run_id == runs.c.id,
            IN_STORAGE,
            _FREE,
            artefacts.c.began_at < db_now() - bindparam("keep_s"),
        ),
    )
    .order_by(runs.c.ended_at)
    .limit(bindparam("at_most"))
)

# Claim the removal of one run's artefacts: of all processes that try, one. From here on nobody can read them.
CLAIM_REMOVAL = (
    update(artefacts)
    .where(
        artefacts.c.run_id == bindparam("run"),
        IS_HELD,
        _FREE,
        exists().where(runs.c.id == bindparam("run"), runs.c.ended_at < db_now() - bindparam("keep_s")),
    )
    .values(state=S.REMOVING.value, until=db_now() + REMOVE_WITHIN_S)
)

# They are gone.
FORGET_FILES = delete(artefact_files).where(artefact_files.c.run_id == bindparam("run"))
SET_REMOVED = (
    update(artefacts)
    .where(artefacts.c.run_id == bindparam("run"), artefacts.c.state == S.REMOVING.value)
    .values(state=S.REMOVED.value, until=None, removed_at=db_now())
)

# Which of these ids are runs that may have artefacts in the storage.
KNOWN = select(artefacts.c.run_id).where(artefacts.c.run_id.in_(bindparam("ids", expanding=True)), IS_HELD)
NOW = select(db_now())


class ArtefactStore:
    """The artefacts of runs. Every method raises StoreUnavailable when the database cannot be reached."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def begin(self, run: Run, within_s: float) -> tuple[Holding, float]:
        """Note that the present attempt's artefacts are being collected; return what is known of them and how long, in seconds,
        they may still be collected. A takeover finds the time that the first one was given.
        """
        values = {"run": run.id, "of_attempt": run.attempt}
        with begin(self._engine) as connection:
            connection.execute(BEGIN, {**values, "within_s": within_s})
            holding = _holding(connection.execute(GET, values).one())
            left_s = (holding.until or 0.0) - connection.execute(NOW).scalar_one()
            return holding, left_s

    def settle(self, run: Run, holding: Holding, files: Iterable[Artefact] = ()) -> None:
        """Write what became of the collecting, once, under the token of the run. Doing the same again is fine. Raises: Fenced."""
        values = {"run": run.id, "of_attempt": run.attempt}
        settled = {
            "new_state": holding.state.value,
            "new_token": run.token,
            "new_storage": holding.storage,
            "new_files": holding.files,
            "new_size": holding.size_bytes,
            "new_left_out": holding.left_out,
            "new_message": storable(holding.message),
        }
        rows = [_file(run, file) for file in files]
        with begin(self._engine) as connection:
            if connection.execute(HELD, {"run": run.id, "held_token": run.token}).one_or_none() is None:
                raise Fenced()
            if connection.execute(SETTLE, values | settled).rowcount != 1:
                return
            if rows:
                connection.execute(FILE, rows)
            counters.add(connection, [ARTEFACTS.count(holding.state.value), ARTEFACT_BYTES.count(by=holding.size_bytes)])

    def of_run(self, run_id: str) -> list[Holding]:
        """Return what became of the artefacts of each attempt, the first one first; attempts that left none may be missing."""
        with reading(self._engine) as connection:
            return [_holding(row) for row in connection.execute(OF_RUN, {"run": run_id})]

    def files(self, run_id: str, attempt: int, after: int, limit: int) -> list[Artefact]:
        """Return up to `limit` files of an attempt with numbers above `after`."""
        values = {"run": run_id, "of_attempt": attempt, "after": after, "at_most": limit}
        with reading(self._engine) as connection:
            return [_artefact(row) for row in connection.execute(FILES, values)]

    def file(self, run_id: str, attempt: int, name: str) -> Artefact | None:
        """Return the file of that name, or None."""
        values = {"run": run_id, "of_attempt": attempt, "wanted": json.dumps(name)}
        with reading(self._engine) as connection:
            row = connection.execute(BY_NAME, values).one_or_none()
            return _artefact(row) if row else None

    # --- the end of them

    def expired(self, keep_s: float, storage: str, limit: int) -> list[Run]:
        """Return runs that ended more than `keep_s` ago and have artefacts in this storage that nobody removes now."""
        values = {"keep_s": keep_s, "here": storage, "at_most": limit}
        with reading(self._engine) as connection:
            return [run_of(row) for row in connection.execute(EXPIRED, values)]

    def claim_removal(self, run_id: str, keep_s: float) -> bool:
        """Take the removal of a run's artefacts on; True for one process, and only if the run ended more than `keep_s` ago."""
        with begin(self._engine) as connection:
            return connection.execute(CLAIM_REMOVAL, {"run": run_id, "keep_s": keep_s}).rowcount > 0

    def removed(self, run_id: str) -> None:
        """Note that the claimed artefacts are gone from the storage."""
        with begin(self._engine) as connection:
            connection.execute(FORGET_FILES, {"run": run_id})
            if connection.execute(SET_REMOVED, {"run": run_id}).rowcount:
                counters.add(connection, [ARTEFACTS_REMOVED.count()])

    def known(self, run_ids: Sequence[str]) -> set[str]:
        """Return those of the ids that are runs with artefacts which were not removed."""
        with reading(self._engine) as connection:
            return set(connection.execute(KNOWN, {"ids": list(run_ids)}).scalars())


def _holding(row: AnyRow) -> Holding:
    names = Holding.__dataclass_fields__
    return Holding(**{name: getattr(row, name) for name in names if name != "state"}, state=ArtefactState(row.state))


def _artefact(row: AnyRow) -> Artefact:
    return Artefact(row.number, json.loads(row.name), row.size_bytes, row.modified_at)


def _file(run: Run, file: Artefact) -> dict[str, object]:
    return {
        "run_id": run.id,
        "attempt": run.attempt,
        "number": file.number,
        "name": json.dumps(file.name),
        "size_bytes": file.size_bytes,
        "modified_at": file.modified_at,
    }
