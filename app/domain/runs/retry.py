"""When a failed attempt is followed by another, and after how long. Pure: what is random is passed in.

By itself only what failed before the user's code began is tried again, because only that is certain to have had no effect.
Whoever knows that their code may run twice names more reasons in the run's spec.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.errors import FieldError
from app.domain.runs.reason import Reason

MOST_ATTEMPTS = 10
LONGEST_WAIT_S = 300.0

# The place where the attempt was to run failed, which may be better elsewhere or later.
BY_ITSELF = frozenset(
    {
        Reason.LAUNCH_FAILED,
        Reason.NODE_LOST,
        Reason.EVICTED,
        Reason.POD_DELETED,
        Reason.AGENT_LOST,
        Reason.IMAGE_PULL_FAILED,
    }
)

# What a spec may name. Never an end that somebody wanted, nor one that another attempt cannot change.
ON_REQUEST = BY_ITSELF | {
    Reason.NON_ZERO_EXIT,
    Reason.SIGNALLED,
    Reason.OOM_KILLED,
    Reason.DISK_LIMIT,
    Reason.RUN_TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Retry:
    """What a spec asks for: attempts in all (None: as the site has it), and the reasons after which the code may run again."""

    max_attempts: int | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retries:
    """What the site does: attempts in all where the spec does not say, and the wait before the second one, in seconds."""

    max_attempts: int = 3
    backoff_s: float = 5.0

    def attempts(self, wish: Retry | None) -> int:
        """Return how many attempts a run of this wish may have."""
        return wish.max_attempts if wish is not None and wish.max_attempts is not None else self.max_attempts


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed. `began`: the user's code may have. `hopeless`: it would only happen again."""

    reason: Reason
    began: bool
    hopeless: bool = False


def tried_again(retries: Retries, wish: Retry | None, attempt: int, failure: Failure) -> bool:
    """Say whether another attempt follows."""
    if attempt >= retries.attempts(wish):
        return False
    if wish is not None and failure.reason.value in wish.reasons:
        return failure.reason in ON_REQUEST
    return failure.reason in BY_ITSELF and not failure.began and not failure.hopeless


def wait_s(retries: Retries, attempt: int, jitter: float) -> float:
    """Return how long to wait after the attempt of that number: twice as long each time, a quarter more or less by `jitter`.

    `jitter` lies between 0 and 1; runs that failed together shall not come back together.
    """
    longest = min(LONGEST_WAIT_S, retries.backoff_s * 2.0 ** (attempt - 1))
    return longest * (0.75 + 0.5 * jitter)


def check_retry(wish: Retry | None) -> list[FieldError]:
    """Return what is wrong with a spec's wish; empty when it can be accepted."""
    errors: list[FieldError] = []
    if wish is None:
        return errors
    if wish.max_attempts is not None and not 1 <= wish.max_attempts <= MOST_ATTEMPTS:
        errors.append(FieldError("retry.max_attempts", f"must lie between 1 and {MOST_ATTEMPTS}"))
    known = sorted(reason.value for reason in ON_REQUEST)
    errors += [
        FieldError(f"retry.reasons[{number}]", f"must be one of {', '.join(known)}")
        for number, name in enumerate(wish.reasons)
        if name not in known
    ]
    return errors


def explain_again(number: int, of: int, in_s: float, reason: Reason) -> str:
    """Say in one sentence why a run that has run before is in the queue."""
    return f"attempt {number} of {of} in about {max(1.0, in_s):.0f} s: {reason}"
