"""Send input to a run that reads its standard input."""

from __future__ import annotations

from app.domain.errors import Conflict, FieldError, InvalidInput, RunEnded
from app.domain.person import Person, visible
from app.service.queue.dispatch import wake
from app.service.services import Services

MAX_BYTES = 64 * 1024


def send(services: Services, person: Person, run_id: str, data: str, input_id: str, eof: bool = False) -> None:
    """Store the input; the program reads it once, in the order of acceptance. The same `input_id` again changes nothing.

    Raises: NotFound, Conflict (the run has no stdin), RunEnded, InvalidInput, StoreUnavailable.
    """
    run = visible(person, services.store.runs.get(run_id))
    if run.status.final:
        raise RunEnded()
    if not run.spec.stdin:
        raise Conflict("This run was submitted without stdin, so it reads no input.")
    if len(data.encode()) > MAX_BYTES:
        raise InvalidInput([FieldError("data", f"is larger than {MAX_BYTES} bytes")])
    services.store.inputs.add(run_id, input_id, data, eof)
    wake(services, run_id, "input")
