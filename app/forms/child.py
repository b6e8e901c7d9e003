"""The child process of checker.py: reads a schema and a value, says whether they fit, and ends. It limits itself first.

It gets no environment, opens nothing and fetches nothing. What it cannot finish ends it; its exit code says why.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Mapping
from itertools import islice

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource

from app.forms.exit_code import ExitCode

MAX_MEMORY_BYTES = 256 * 1024 * 1024
MAX_CPU_S = 2
MAX_ERRORS = 10


def fault_of(schema: Mapping[str, object], value: object) -> str | None:
    """Return why the value does not fit, None when it does: the first ten reasons, in one sentence.

    Raises: whatever the library does for a schema that nobody checked, MemoryError, RecursionError.
    """
    validator = Draft202012Validator(dict(schema), registry=Registry(retrieve=_nothing))  # type: ignore[call-arg]
    faults = sorted((f.json_path[:200], f.message[:200]) for f in islice(validator.iter_errors(value), MAX_ERRORS))
    return "; ".join(f"{path}: {message}" for path, message in faults) or None


def _nothing(uri: str) -> Resource[object]:
    raise NoSuchResource(ref=uri)  # type: ignore[call-arg]


def _limit() -> None:
    """Have the kernel end this process when it takes more than it may, also when nobody is left who waits for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(used.ru_utime + used.ru_stime) + 1 + MAX_CPU_S
    for what, most in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)


def main() -> int:
    """Check what stands on stdin; return the exit code."""
    _limit()
    try:
        asked = json.loads(sys.stdin.buffer.read())
        answer = json.dumps(fault_of(asked["schema"], asked["value"]))
    except (MemoryError, RecursionError):
        return ExitCode.TOO_COSTLY
    except Exception:
        # The library's own, of which it has many: for whoever asks they are all the same.
        return ExitCode.UNCHECKABLE
    sys.stdout.write(answer)
    sys.stdout.flush()
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
