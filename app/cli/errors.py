"""The errors that only the command line knows; each becomes one sentence on stderr. The service's are in app.domain.errors."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.errors import PodwireError


class Stop(PodwireError):
    """The command cannot be carried out here."""

    code = "stop"
    exit_code = 2


class Unreachable(PodwireError):
    """The service cannot be reached."""

    code, retryable = "unreachable", True


class NobodyThere(Unreachable):
    """Nothing listens where the service of this machine should be; waiting does not help."""


class Refused(PodwireError):
    """The service refused the request."""

    def __init__(self, status: int, problem: Mapping[str, object], fallback: str) -> None:
        """Keep the problem document (RFC 9457) that the service sent; `fallback` is the sentence when it sent none."""
        extensions = {name: value for name, value in problem.items() if name != "detail"}
        super().__init__(str(problem.get("detail") or fallback), **extensions)
        self.http_status = status
        self.problem = problem

    @property
    def name(self) -> str:
        """The service's code of the error, such as `limit_reached`."""
        return str(self.problem.get("code", ""))

    @property
    def worth_repeating(self) -> bool:
        """True when the same request may succeed a moment later."""
        return self.http_status in (502, 503, 504)
