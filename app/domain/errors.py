"""The one tree of errors. A class's docstring is the sentence that a person reads; `code` is what a program reads.

Foreign errors (SQL, Redis, HTTP, the kernel) are translated to these once, at the edge where they appear.
Nothing else belongs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field of a request. `field` is a dotted path such as `env.PATH` or `files[2].name`."""

    field: str
    message: str


class PodwireError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str | None = None, **extensions: object) -> None:
        """Keep the sentence and the machine-readable extensions (limit, current, retry_after_s, …) that go with it."""
        self.detail = detail or cleandoc(type(self).__doc__ or "").split("\n")[0]
        self.extensions = extensions
        super().__init__(self.detail)


class BadRequest(PodwireError):
    """The request could not be read: it is not what this address expects."""

    code, status = "bad_request", 400


class NotJson(BadRequest):
    """This is not valid JSON."""


class InvalidInput(PodwireError):
    """The request has fields that are not valid."""

    code, status = "invalid_input", 422

    def __init__(self, errors: Sequence[FieldError], detail: str | None = None) -> None:
        """`errors` holds every fault found, not only the first."""
        self.errors = tuple(errors)
        super().__init__(detail or "; ".join(f"{error.field}: {error.message}" for error in self.errors))


class FormTooCostly(PodwireError):
    """Checking this form takes more time or memory than it may: simplify its schema or its value."""

    code, status = "form_too_costly", 422


class FormUncheckable(PodwireError):
    """This form's schema cannot be checked."""

    code, status = "form_uncheckable", 422


class FormEndedProcesses(PodwireError):
    """Each process that began to check this form was gone before it was done: simplify its schema or its default."""

    code, status = "form_ended_processes", 422


class FormsBusy(PodwireError):
    """Too many forms are being checked at the moment; try again shortly."""

    code, status, retryable = "forms_busy", 503, True


class Unauthenticated(PodwireError):
    """Sign in first, or send a valid token."""

    code, status = "unauthenticated", 401


class Forbidden(PodwireError):
    """You may not do this."""

    code, status = "forbidden", 403


class NotFound(PodwireError):
    """There is nothing of that name here, or it is not yours."""

    code, status = "not_found", 404


class Conflict(PodwireError):
    """The state of things does not allow this any more."""

    code, status = "conflict", 409


class AlreadyAnswered(Conflict):
    """This question has another accepted answer."""

    code = "already_answered"


class QuestionClosed(Conflict):
    """This question is no longer open."""

    code = "question_closed"


class QuestionExpired(Conflict):
    """This question's time to answer is over."""

    code, status = "question_expired", 410


class RunEnded(Conflict):
    """This run has ended."""

    code = "run_ended"


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used before with a different request."""

    code, status = "idempotency_mismatch", 422


class TooLarge(PodwireError):
    """The request is larger than what is accepted here."""

    code, status = "too_large", 413


class LimitReached(PodwireError):
    """You have reached one of your limits; wait until something of yours has ended."""

    code, status, retryable = "limit_reached", 429, True


class QueueFull(PodwireError):
    """The queue is full; try again later."""

    code, status, retryable = "queue_full", 503, True


class QueueClosed(PodwireError):
    """An admin has closed the queue: what is in it still runs, nothing more is taken in."""

    code, status, retryable = "queue_closed", 503, True


class TooManyAttempts(PodwireError):
    """Too many failed attempts; wait before trying again."""

    code, status, retryable = "too_many_attempts", 429, True


class StoreUnavailable(PodwireError):
    """The database cannot be reached at the moment; try again shortly."""

    code, status, retryable = "store_unavailable", 503, True


class LiveUnavailable(PodwireError):
    """Redis cannot be reached at the moment."""

    code, status, retryable = "live_unavailable", 503, True


class Draining(PodwireError):
    """This replica is shutting down; connect again."""

    code, status, retryable = "draining", 503, True


class TooManySockets(PodwireError):
    """Too many open streams; close some or try again later."""

    code, status, retryable = "too_many_sockets", 503, True


class WorkspacesUnavailable(PodwireError):
    """The storage of artefacts cannot be used at the moment."""

    code, status, retryable = "workspaces_unavailable", 503, True


class ArtefactsRemoved(PodwireError):
    """The artefacts of this run were removed."""

    code, status = "artefacts_removed", 410


class ArtefactMissing(PodwireError):
    """This artefact is recorded, but the storage has lost its file."""

    code, status = "artefact_missing", 410


class LaunchRefused(PodwireError):
    """The run cannot be started as it is specified."""

    code, status = "launch_refused", 422


class LauncherUnavailable(PodwireError):
    """The place where runs are executed cannot be reached at the moment."""

    code, status, retryable = "launcher_unavailable", 503, True


class LinkLost(PodwireError):
    """The connection to the run's agent broke; it can be made again."""

    code, retryable = "link_lost", True


class AttemptGone(PodwireError):
    """The run's process and its agent are gone."""

    code = "attempt_gone"


class Fenced(PodwireError):
    """Another process supervises this run now."""

    code = "fenced"


class SettingsError(PodwireError):
    """The configuration is not valid."""

    code = "settings"
