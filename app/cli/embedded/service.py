"""The whole service on this machine, from an empty folder to a first run in the terminal.

The order of starting and stopping is here; processes are kept by child_processes.py, the folder by state.py.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import redis

from app.cli.client.follow import Follower
from app.cli.client.http import Api
from app.cli.client.stream import watch
from app.cli.client.target import CLIENT_FILE, Target, read_target, save_target
from app.cli.component_words import web_words, worker_words
from app.cli.embedded.child_processes import Processes, Program
from app.cli.embedded.example import example_run
from app.cli.embedded.redis_server import configure, find_program
from app.cli.embedded.state import State, choose_port, embedded_settings, prepare, save_settings
from app.cli.errors import Stop, Unreachable
from app.cli.local_accounts import base_url, sign_in_url
from app.cli.terminal.console import Console
from app.cli.terminal.output import say
from app.cli.terminal.view import EXIT_CANCELLED, BytesView, end_sentence, exit_code
from app.domain.errors import PodwireError
from app.domain.person import Person
from app.domain.runs.run import Status
from app.service import accounts
from app.service.services import Services
from app.store.schema.migrate import migrate
from app.wiring import build_services
from config.settings import PREFIX, Settings

EXAMPLE_TOKEN_S = 3600.0


@dataclass(frozen=True, slots=True)
class Started:
    """The running service, as this command sees it."""

    settings: Settings
    services: Services
    admin: Person
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How it is to be started. `once` = stop after the first run, with its exit code."""

    once: bool
    port: int | None
    no_example: bool


def serve(options: StartOptions, folder: Path) -> int:
    """Start, show the first run, serve until told to stop. Returns the first run's exit code with `once`, else 0."""
    # Everything that is made from here on belongs to this user alone.
    os.umask(0o077)
    state = prepare(folder)
    state.lock()
    try:
        return _locked(options, state)
    finally:
        state.unlock()


def _locked(options: StartOptions, state: State) -> int:
    port = choose_port(options.port)
    redis_words, redis_url = _redis(state)
    settings = embedded_settings(state, port, redis_url, os.environ)
    processes = Processes(_child_environment(settings), state.path("log"))
    with _signals() as signals:
        try:
            started = _start(state, settings, redis_words, processes)
            return _serve(options, started, processes)
        except KeyboardInterrupt:
            if processes.broken.is_set():
                raise Stop(processes.fault) from None
            return EXIT_CANCELLED if options.once else 0
        finally:
            signals.hold_back()
            say("stopping ...")
            processes.stop(hurry=lambda: signals.count > 1)


def _redis(state: State) -> tuple[list[str] | None, str]:
    """Return (the command of our own server or None, the URL of Redis)."""
    given = os.environ.get(f"{PREFIX}REDIS_URL")
    return (None, given) if given else configure(state, find_program())


def _start(state: State, settings: Settings, redis_words: list[str] | None, processes: Processes) -> Started:
    if redis_words is not None:
        processes.start(Program("Redis server", redis_words, stop_s=10, is_ready=lambda: _redis_answers(settings)))
    migrate(settings.database_url)
    target = Target(f"http://{settings.bind}", "")
    # Stopping goes backwards: first nothing more comes in, then the worker leaves its runs, then Redis keeps what it has.
    processes.start(Program("worker", worker_words(), stop_s=15))
    processes.start(Program("web server", web_words(), stop_s=settings.drain_s + 20, is_ready=lambda: _web_answers(target)))
    # When it gives up, it wakes the main thread out of whatever that waits for.
    give_up = partial(os.kill, os.getpid(), signal.SIGTERM)
    threading.Thread(target=processes.watch, args=(give_up,), name="processes", daemon=True).start()
    save_settings(state, settings)
    state.note_holder(f"process {os.getpid()}, {base_url(settings)}/")
    services = build_services(settings)
    link, admin = _admin(services)
    print(f"Podwire serves at {base_url(settings)}/ (data in {state.folder})")
    print(f"Sign in once with {sign_in_url(settings, link)}", flush=True)
    return Started(settings, services, admin, _own_target(state, services, admin, target.url))


def _serve(options: StartOptions, started: Started, processes: Processes) -> int:
    first = not started.services.store.runs.list(None, limit=1)
    if options.once or (first and not options.no_example):
        code = _example(started, unattended=options.once or not sys.stdin.isatty())
        if options.once:
            return code
    say("serving; Ctrl-C stops everything")
    while not processes.broken.wait(3600):
        continue
    raise KeyboardInterrupt


def _example(started: Started, unattended: bool) -> int:
    """Follow the first run as a client with a token of its own, and return its exit code."""
    token, info = accounts.issue_token(started.services, accounts.SYSTEM, started.admin.id, "first run", EXAMPLE_TOKEN_S)
    target = Target(started.target.url, token)
    try:
        run_id = str(Api(target).submit(example_run(unattended))["id"])
        say(f"the first run, {run_id}:")
        console = Console(Api(target), run_id, asks=not unattended, cancels=False)
        with console.interruptible():
            try:
                end = watch(target, run_id, Follower(), BytesView(console).show, console)
            except KeyboardInterrupt:
                with suppress(PodwireError):
                    Api(target).cancel(run_id)
                raise
    finally:
        with suppress(PodwireError):
            started.services.store.users.revoke(info.id)
    say(f"the first run ended: {end_sentence(end)}" if end.get("status") != Status.SUCCEEDED else "the first run succeeded")
    return exit_code(end)


def _admin(services: Services) -> tuple[str, Person]:
    """Return a fresh login link's secret and the admin it is for; the first start makes one."""
    link = accounts.first_login_link(services)
    admins = [user.person for user in accounts.list_users(services, accounts.SYSTEM) if not user.disabled_at]
    admin = next(person for person in admins if person.is_admin)
    return link or accounts.login_link(services, accounts.SYSTEM, admin.id), admin


def _own_target(state: State, services: Services, admin: Person, url: str) -> Target:
    """Return the target for this machine's `podwire` command, kept from start to start."""
    path = state.path(CLIENT_FILE)
    try:
        kept = read_target(path)
    except Stop:
        kept = None
    token = kept.token if kept and services.store.users.person_of_token(kept.token) else None
    if token is None:
        token, _ = accounts.issue_token(services, accounts.SYSTEM, admin.id, "podwire command on this machine")
    target = Target(url, token)
    save_target(path, target)
    return target


def _child_environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, **settings.environment(), "PYTHONUNBUFFERED": "1"}


def _redis_answers(settings: Settings) -> bool:
    try:
        with redis.Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _web_answers(target: Target) -> bool:
    try:
        return Api(target).text("/readyz")[0] == 200
    except Unreachable:
        return False


@dataclass(slots=True)
class _Signals:
    """Ctrl-C, SIGTERM and SIGHUP: each ends what goes on; while everything is being stopped they are only counted."""

    count: int = 0
    held_back: bool = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Count the signal, and end what goes on."""
        self.count += 1
        if not self.held_back:
            raise KeyboardInterrupt

    def hold_back(self) -> None:
        """From now on only count."""
        self.held_back = True


@contextmanager
def _signals() -> Iterator[_Signals]:
    signals = _Signals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = [signal.signal(number, signals.receive) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in zip(numbers, former, strict=True):
            signal.signal(number, handler)
