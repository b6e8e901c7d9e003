"""Which run the present thread works for, so that whatever is said meanwhile, by whomever, can be found by the run's id.

Only for logs and traces: no rule may depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_run_id: ContextVar[str | None] = ContextVar("run_id", default=None)


@contextmanager
def about(run_id: str | None) -> Iterator[None]:
    """Work for the run while inside, in this thread."""
    former = present()
    set_present(run_id)
    try:
        yield
    finally:
        set_present(former)


def set_present(run_id: str | None) -> None:
    """Work for the run, or for none, from now on. For who cannot use `about`."""
    _run_id.set(run_id)


def present() -> str | None:
    """Return the id of the run that this thread works for."""
    return _run_id.get()
