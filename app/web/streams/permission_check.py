"""Whether a watcher may still watch: asked now and then while the stream lasts, since people leave and runs are removed."""

from __future__ import annotations

import time

from app.domain.errors import NotFound, Unauthenticated
from app.domain.person import Person
from app.domain.runs.run import Run
from app.service.services import Services
from app.web.auth import Credential, still_valid

INTERVAL_S = 60.0


class PermissionCheck:
    """The question for one stream. Not thread-safe."""

    __slots__ = ("_asked_at", "_held", "_run", "_services")

    def __init__(self, services: Services, held: Credential, run: Run) -> None:
        """Ask nothing yet: the stream has just been accepted."""
        self._services, self._held, self._run = services, held, run
        self._asked_at = time.monotonic()

    @property
    def due(self) -> bool:
        """True when it is time to ask again."""
        return time.monotonic() - self._asked_at > INTERVAL_S

    def person(self) -> Person:
        """Return who watches, as they are now. Raises: Unauthenticated, NotFound, StoreUnavailable."""
        self._asked_at = time.monotonic()
        person = still_valid(self._services, self._held)
        if person is None:
            raise Unauthenticated()
        if not person.may_see(self._run) or not self._services.store.retention.exists(self._run.id):
            raise NotFound()
        return person
