"""What the core needs from the outside: small interfaces, each held to one contract suite on every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from app.domain.runs.artefacts import Found, LeftOut
from app.domain.runs.events import Entry
from app.domain.runs.spec import RunSpec
from app.domain.runs.usage import Use


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to execute a run: everything a launcher may know of it.

    `handle` is what `launch` returned, once it is stored. `secrets` are the values of `spec.secrets`, present only for a launch.
    """

    run_id: str
    number: int
    spec: RunSpec
    handle: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One message from the agent: its kind (see app.agent.records.wire_format), the time it was recorded, its bytes, and the
    spool position after it (0 = not spooled).
    """

    kind: int
    time: float
    payload: bytes
    position: int


class Link(Protocol):
    """A connection to one attempt's agent. One thread reads and sends; any thread may wake."""

    def read(self, timeout_s: float) -> list[Record]:
        """Wait for records; [] after the timeout or a wake.

        Raises: LinkLost (connect again), AttemptGone (nothing more will ever come).
        """

    def send(self, kind: int, body: dict[str, object]) -> None:
        """Send a command; the agent acknowledges it by its id. Raises: LinkLost."""

    def wake(self) -> None:
        """Make a `read` that waits return now, from any thread."""

    def close(self) -> None:
        """Give the connection up; the attempt runs on. Idempotent."""


class Launcher(Protocol):
    """A place where attempts run."""

    def launch(self, attempt: Attempt) -> str:
        """Start the attempt unless it was ever started, and return its handle. Idempotent under any race.

        Raises: LaunchRefused (permanent), LauncherUnavailable (try again).
        """

    def connect(self, attempt: Attempt, position: int, on_start: Callable[[], None] = lambda: None) -> Link:
        """Follow the attempt's records from the spool position. Raises: LauncherUnavailable (try again), AttemptGone.

        `on_start` is called before every word to start, in a place where programs wait for one; if it raises, none is given.
        """

    def remove(self, attempt: Attempt, *, unless_ended: bool = False) -> bool:
        """End whatever of the attempt is still there and remove it, so that it can never start again.

        Say whether its program may have begun without a word to start, now and whenever asked again. With `unless_ended`, an
        attempt of which nothing runs any more stays as it is, for inspection, without its secrets. Idempotent.
        Raises: LauncherUnavailable, with `may_have_begun`.
        """

    def present(self) -> list[tuple[str, int]]:
        """Return (run id, attempt number) of all that has not been removed. Raises: LauncherUnavailable."""


class Collector(Protocol):
    """A way to what a program left to be kept, after its end and before its attempt is removed."""

    def collect(self, attempt: Attempt, max_files: int, max_bytes: int) -> Iterator[Found | bytes | LeftOut]:
        """Yield each file and then its bytes, at last what was left out. Every call begins anew.

        Raises: LauncherUnavailable (try again), AttemptGone (nothing is left).
        """


class CollectingLauncher(Launcher, Collector, Protocol):
    """A place where attempts run, with a way to what they leave there."""


class Append(Enum):
    """What became of an append to the live log."""

    OK = "ok"
    BEHIND = "behind"
    MISSING = "missing"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class Head:
    """The live log's own knowledge of a run: the writer's token, its epoch, last seq, the floor below which it holds
    nothing, and the server that holds it.
    """

    token: int
    epoch: int
    seq: int
    floor: int
    server: str


class EventLog(Protocol):
    """The live log of every run, in a place that may be emptied at any moment. Raises LiveUnavailable from every method."""

    def append(self, run_id: str, token: int, epoch: int, entries: Sequence[Entry]) -> Append:
        """Append what is not there yet, if it follows on; announce it to readers.

        BEHIND and MISSING ask for `open` and the retained entries.

        Without entries it only raises the fence to `token` (OK, MISSING where nothing is held, FENCED), whatever the epoch.
        """

    def open(self, run_id: str, token: int, epoch: int, floor: int) -> Append:
        """Begin the log anew so that `floor + 1` is the next seq (OK), unless a higher token wrote last (FENCED)."""

    def head(self, run_id: str) -> Head | None:
        """Return the head, or None where nothing is held."""

    def read(self, run_id: str, epoch: int, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` entries with seq > `after`, in order; [] when there are none.

        The caller checks that they follow on.
        """

    def trim(self, run_id: str, token: int, archived_seq: int) -> Append:
        """Forget the events up to `archived_seq`; readers take them from the archive."""

    def server_id(self) -> str:
        """Return the identity of the running server; it differs after a restart or a failover. `open` stores it in the head."""


class Nudges(Protocol):
    """Wake-ups between processes: carriers of no truth, lost without harm."""

    def send(self, run_id: str, what: str) -> None:
        """Tell every process that something about the run changed (`reply`, `cancel`, `input`, `queue`).

        Never raises for a lost Redis.
        """

    def listen(self, on_nudge: Callable[[str, str], None], stop: Callable[[], bool]) -> None:
        """Call `on_nudge(run_id, what)` for each, and `on_nudge("*", "resync")` after every (re)connection, until `stop()`."""


class Uses(Protocol):
    """What runs use at the moment, for every process to see: forgotten by itself within seconds, lost without harm."""

    def put(self, run_id: str, use: Use) -> None:
        """Keep the newest reading for a while. Never raises, and never holds its caller up for long."""

    def get(self, run_id: str) -> Use | None:
        """Return the newest reading; None when there is none that is fresh, or it cannot be had now. Never raises."""


class Publisher(Protocol):
    """Hands a dispatched run to the workers."""

    def publish(self, run_id: str, priority: int, shown: str, traceparent: str | None = None) -> None:
        """Send the message, within a bounded time. `shown` is what an observer of the broker sees. Raises: LiveUnavailable.

        `traceparent` travels as a header.
        """


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """What SQL knows of a run's log: the archive reaches `seq`.

    `bases` are the (epoch, base_seq) of its epochs; `ended` when the end event is in the archive.
    """

    epoch: int
    seq: int
    bases: tuple[tuple[int, int], ...]
    ended: bool


class Archive(Protocol):
    """The durable history of every run's log. Raises StoreUnavailable from every method."""

    def read(self, run_id: str, after: int, limit: int) -> list[Entry]:
        """Return up to about `limit` entries with seq > `after`, in order and without gaps; [] when the archive ends there."""

    def archive_state(self, run_id: str) -> ArchiveState | None:
        """Return how far the archive reaches; None for an unknown run."""
