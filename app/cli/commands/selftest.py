"""`podwire selftest`: one real run through the service, from its submission to its end, with a question that is answered.

The chart's `helm test`. It acts as a user of its own, made on the service's database; everything else goes over HTTP.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

import click

from app.cli.client.follow import Follower, Item, Told, Waits
from app.cli.client.http import Api
from app.cli.client.stream import watch
from app.cli.client.target import Target
from app.cli.errors import Stop
from app.cli.grammar import command, option
from app.cli.local_settings import local_settings
from app.cli.terminal.output import say
from app.cli.terminal.view import end_sentence
from app.domain.errors import Conflict, PodwireError
from app.domain.person import Person
from app.domain.runs.events import Kind
from app.domain.runs.run import Status

if TYPE_CHECKING:
    from app.store.accounts.users import UserStore

USER = "selftest"
ANSWER = "green"
EXPECTED = f"begin\nanswer {ANSWER}\n".encode()
TOKEN_EXTRA_S = 60.0

_SHELL = "echo begin; echo \"answer $(ask --choice red --choice green 'Which colour?')\""
_SCRIPTS = {
    "python": "import podwire\nprint('begin')\nprint('answer', podwire.choice('Which colour?', ['red', 'green']))\n",
    "bash": _SHELL,
    "sh": _SHELL,
}
# Every pod brings it, so an image needs nothing of its own.
_COMMAND = ["/podwire/busybox", "sh", "-c", _SHELL]
# What to look at when the run stops moving, by where it stands.
_ADVICE: dict[str, str] = {
    Status.QUEUED: "The queue is paused or full: look at podwire queue.",
    Status.STARTING: "No worker takes it, or its place does not come up: look at the workers, and at podwire doctor --cluster.",
    Status.WAITING: "Its answer does not arrive: look at the workers' logs.",
    Status.RUNNING: "Its output does not arrive: look at Redis, and at the workers' logs.",
}


class TooLate(Exception):
    """The time is over."""


class Answerer:
    """Follows the run without a terminal: keeps its output, answers its question, remembers what it was told last."""

    def __init__(self, api: Api) -> None:
        """Nothing was told."""
        self._api = api
        self.output = b""
        self.notice = ""

    def show(self, item: Item) -> None:
        """Take one item."""
        if isinstance(item, Waits):
            self.notice = item.message
        if not isinstance(item, Told) or item.again:
            return
        self.output += item.data
        question = item.event.get("question")
        if item.event.get("kind") == Kind.QUESTION and isinstance(question, dict):
            self.say(f"it asks: {question.get('text')}; answering {ANSWER}")
            self._api.answer(str(question["id"]), ANSWER)
        elif item.event.get("kind") == Kind.NOTICE:
            self.notice = str(item.event.get("message"))

    def fds(self) -> Sequence[int]:
        """Nothing is typed."""
        return []

    def ready(self, fd: int) -> None:
        """Nothing is typed."""

    def say(self, message: str) -> None:
        """Show a sentence."""
        say(message)


@command("selftest")
@click.argument("url", metavar="URL", help="where the service is, as its users reach it")
@option("--within", type=float, default=180, metavar="SECONDS", help="how long that may take (default 180)")
def selftest(url: str, within: float) -> int:
    """Send a real run through the service and answer its question, on the server."""
    from app.store.accounts.users import UserStore
    from app.store.engine import make_engine

    # Not all services: this needs the database alone, and no rights on the cluster.
    users = UserStore(make_engine(local_settings().database_url, pool_size=1))
    token, info = users.create_token(_user(users).id, "selftest", within + TOKEN_EXTRA_S)
    try:
        _try(Api(Target(url.rstrip("/"), token)), within)
    finally:
        with suppress(PodwireError):
            users.revoke(info.id)
    say("the run came back as it must: the service works")
    return 0


def trial_body(limits: Mapping[str, object]) -> dict[str, object]:
    """Return the submission for a service with these limits (`GET /v1/limits`). Raises: Stop where no run could ask."""
    images, languages = limits.get("images"), limits.get("languages")
    offered = languages if isinstance(languages, list) else []
    common: dict[str, object] = {"cpu": 0.1, "memory": "128Mi", "timeout": 300, "labels": {"selftest": "true"}}
    if isinstance(images, dict):
        offered = [name for name in offered if name in images.get("by_language", {})]
    for language, script in _SCRIPTS.items():
        if language in offered:
            return {"script": script, "language": language, **common}
    if isinstance(images, dict) and images.get("default"):
        return {"command": _COMMAND, **common}
    raise Stop(
        "Runs have no image for python, bash or sh, and no default one: set runs.images or runs.defaultImage of the chart."
    )


def _user(users: UserStore) -> Person:
    """Return the user of these tests, made at the first one."""
    if (found := users.by_name(USER)) is None:
        with suppress(Conflict):
            return users.create_user(USER)
        found = users.by_name(USER)
    if found is None or found.disabled_at is not None:
        raise Stop(f"The user {USER} is disabled; enable it again to test.")
    return found.person


def _try(api: Api, within_s: float) -> None:
    run_id, follower = "", Answerer(api)
    try:
        with _deadline(within_s):
            run_id = str(api.submit(trial_body(api.get("/v1/limits")))["id"])
            say(f"{run_id} is submitted to {api.target.url}")
            end = watch(api.target, run_id, Follower(), follower.show, follower)
    except TooLate as late:
        raise Stop(_stuck(api, run_id, follower.notice, within_s)) from late
    if end.get("status") != Status.SUCCEEDED:
        raise Stop(f"{end_sentence(end)} Look at {run_id} on the page, and at podwire doctor --cluster in a worker's pod.")
    if follower.output != EXPECTED:
        raise Stop(f"The run wrote {EXPECTED!r}, but {follower.output!r} arrived: look at the logs of web and workers.")


def _stuck(api: Api, run_id: str, notice: str, within_s: float) -> str:
    """Return what to look at when the run has not ended in time; it is cancelled."""
    if not run_id:
        return f"Nothing was submitted within {within_s:g} s: look at the web pods' logs."
    status = str(api.run(run_id).get("status"))
    with suppress(PodwireError):
        api.cancel(run_id)
    advice = _ADVICE.get(status, "Look at the workers' logs.")
    last = f" The last that was said: {notice}" if notice else ""
    return f"{run_id} has not ended within {within_s:g} s and is {status}. {advice}{last}"


@contextmanager
def _deadline(within_s: float) -> Iterator[None]:
    """Raise TooLate in whatever the main thread waits for once the time is over."""
    former = signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, within_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _too_late(number: int, frame: FrameType | None) -> None:
    raise TooLate
