"""What clients may want of the agent: each command is carried out once, however often it is sent, and acknowledged every time."""

from __future__ import annotations

import signal

from app.agent.program.stdin import Stdin
from app.agent.records.wire_format import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Obey = Callable[[dict[str, object]], str | None]

MAX_REMEMBERED = 10_000
SIGNALS = {"TERM": signal.SIGTERM, "KILL": signal.SIGKILL, "INT": signal.SIGINT}


class Commands:
    """Obeys commands. `finished` is true once somebody has taken all that there is to take."""

    def __init__(self, reply: Obey, stdin: Stdin, send_signal: Callable[[int], None], more: dict[int, Obey]) -> None:
        """Take the ways to act; each returns why it could not, or None. `more` are commands that not every agent knows."""
        self._reply, self._stdin, self._send_signal, self._more = reply, stdin, send_signal, more
        self._done: dict[str, None] = {}
        self.finished = False

    def obey(self, kind: int, body: dict[str, object], ended: bool) -> dict[str, object]:
        """Carry a command out unless it was; return the acknowledgement. One that failed may be sent again."""
        command = str(body.get("id"))
        if command in self._done:
            return {"id": command, "ok": True}
        error = self._execute(kind, body, ended)
        if error is not None:
            return {"id": command, "ok": False, "error": error}
        self._done[command] = None
        if len(self._done) > MAX_REMEMBERED:
            del self._done[next(iter(self._done))]
        return {"id": command, "ok": True}

    def _execute(self, kind: int, body: dict[str, object], ended: bool) -> str | None:
        if obey := self._more.get(kind):
            return obey(body)
        if kind == Kind.REPLY:
            return self._reply(body)
        if kind == Kind.INPUT:
            return self._stdin.take(str(body.get("data") or "").encode(errors="replace"), bool(body.get("eof")))
        if kind == Kind.SIGNAL:
            number = SIGNALS.get(str(body.get("signal")))
            if number is None:
                return f"The signal must be one of {', '.join(SIGNALS)}."
            self._send_signal(number)
            return None
        if kind == Kind.FINISH:
            self.finished = ended
            return None if ended else "The program has not ended yet."
        return f"There is no command {kind}."


def signal_name(number: int) -> str:
    """Return a signal's name, such as `SIGTERM`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
