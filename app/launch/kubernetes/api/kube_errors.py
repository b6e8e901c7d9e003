"""What the Kubernetes API refuses, as one value, and what each kind of refusal means for an attempt."""

from __future__ import annotations

import json
import re

from app.domain.errors import LauncherUnavailable, LaunchRefused, PodwireError

PERMANENT = (400, 422)
_EXCEEDED = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>.+), used: (?P<used>.+), limited: (?P<limited>.+)"
)


class ApiFailure(Exception):
    """An answer of the API that is no success; `status` 0 when there was no answer at all."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        self.status, self.reason, self.message, self.retry_after_s = status, reason, message, retry_after_s
        super().__init__(f"{status} {reason}: {message}")

    @classmethod
    def of_answer(cls, status: int, body: bytes, retry_after: str | None = None) -> ApiFailure:
        """Read a Status object, or whatever else a proxy in between may have answered."""
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        answer = answer if isinstance(answer, dict) else {}
        message = str(answer.get("message") or body[:300].decode(errors="replace").strip() or "no message")
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        return cls(status, str(answer.get("reason") or ""), message, seconds)

    @property
    def missing(self) -> bool:
        """True when what was asked for is not there, the namespace being there."""
        return self.status == 404 and not self.of_namespace

    @property
    def of_namespace(self) -> bool:
        """True when the namespace itself is not there, or is going away."""
        return self.status in (403, 404) and ("namespaces " in self.message or "being terminated" in self.message)

    @property
    def of_rights(self) -> bool:
        """True when the account that this service has may not do what it asked for."""
        return self.status == 403 and " cannot " in self.message and "User " in self.message

    @property
    def quota(self) -> bool:
        """True when it fits as soon as others have ended."""
        return self.status == 403 and "exceeded quota" in self.message


def refusal(failure: ApiFailure) -> PodwireError:
    """Translate a refused creation: LaunchRefused when it will never be accepted, else LauncherUnavailable (try again).

    `reason` among the error's extensions is the run's outcome if it ends because of this. `rights`: an API server that has been
    started just now says the same for a moment, until it knows the roles.
    """
    if failure.quota:
        return LauncherUnavailable(used_up(failure.message), reason="QuotaExceeded", waits=True)
    if failure.of_namespace:
        return LaunchRefused(f"Runs cannot be started here, tell the administrator: {failure.message}", reason="LaunchFailed")
    if failure.status == 403:
        words = "The cluster does not allow this service to start the run, tell the administrator"
        return LaunchRefused(f"{words}: {failure.message}", reason="LaunchFailed", rights=failure.of_rights)
    if failure.status in PERMANENT:
        return LaunchRefused(f"The cluster does not accept the run: {failure.message}", reason="InvalidSpec")
    return unavailable(failure)


def used_up(message: str) -> str:
    """Return what the API says of an exceeded quota in plain words: `The cluster quota small is used up: cpu 4/4; ...`."""
    found = _EXCEEDED.search(message)
    amounts = [_amounts(found[name]) for name in ("requested", "used", "limited")] if found else []
    if found is None or not all(amounts):
        return f"The cluster quota is used up: {message}"
    wanted, used, limited = amounts
    # A limit on requests and one on limits of the same are one thing to whoever waits.
    full = dict.fromkeys(f"{_plain(name)} {used.get(name, '?')}/{limit}" for name, limit in limited.items())
    needs = dict.fromkeys(f"{_plain(name)} {amount}" for name, amount in wanted.items())
    return f"The cluster quota {found['quota']} is used up: {', '.join(full)}; this run needs {', '.join(needs)}."


def _amounts(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): amount.strip() for name, sign, amount in pairs if sign}


def _plain(name: str) -> str:
    return name.removeprefix("requests.").removeprefix("limits.").removeprefix("count/")


def unavailable(failure: ApiFailure) -> LauncherUnavailable:
    """Translate a failure that time may heal."""
    return LauncherUnavailable(f"The cluster cannot be used at the moment: {failure}", retry_after_s=failure.retry_after_s)
