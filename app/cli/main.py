"""The `podwire` command: its words and options. What each does is in the module of its name; only that one is loaded."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TypeAlias, cast

from app.cli.client.submission import amount, env_name, pair, split_command
from app.cli.errors import Refused, Stop
from app.domain.errors import PodwireError, SettingsError
from app.domain.runs.run import Priority, Status

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code; every foreseen error is one sentence on stderr."""
    given = list(sys.argv[1:] if words is None else words)
    head, tail = split_command(given) if given[:1] == ["run"] else (given, None)
    options = _parser().parse_args(head)
    options.tail = tail
    try:
        code = _command(options.does)(options)
        sys.stdout.flush()
        return code
    except PodwireError as error:
        print(f"podwire: {_sentence(error)}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, Stop | SettingsError) else EXIT_FAULT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away: leave quietly, as every filter does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    module, _, function = name.partition(":")
    return cast(Callable[[argparse.Namespace], int], getattr(importlib.import_module(f"app.cli.commands.{module}"), function))


def _sentence(error: PodwireError) -> str:
    waits = error.facts.get("retry_after_s") if isinstance(error, Refused) else None
    return f"{error.detail} Try again in {waits} s." if waits else error.detail


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="podwire", description="Run code in limited places and watch it live.")
    parser.add_argument("--version", action="version", version=f"podwire {version('podwire')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_up(commands)
    _add_run(commands)
    _add_looks(commands)
    _add_accounts(commands)
    _add_components(commands)
    return parser


def _add(commands: Commands, name: str, does: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(does=does)
    return parser


def _add_up(commands: Commands) -> None:
    up = _add(commands, "up", "up:up", "start everything on this machine, show a first run, serve until Ctrl-C")
    up.add_argument("--once", action="store_true", help="stop after the first run and exit with its exit code")
    up.add_argument("--port", type=int, help="port to serve on at 127.0.0.1 (default 8080; 0 = any free one)")
    up.add_argument("--state", metavar="DIR", help="folder of the database and all else (default: $PODWIRE_HOME, else ./var)")
    up.add_argument("--no-example", action="store_true", help="start without the first run")


def _add_run(commands: Commands) -> None:
    run = _add(commands, "run", "runs:run", "run a script, or a command after --, and follow it to its end")
    run.add_argument("--language", help="language of the script (default: by the file's name)")
    run.add_argument("--image", help="container image to run in")
    run.add_argument("--priority", choices=list(Priority), default=Priority.NORMAL.value)
    run.add_argument("--cpu", type=amount, help="cores, such as 0.5 or 500m")
    run.add_argument("--memory", type=amount, help="such as 512Mi")
    run.add_argument("--disk", type=amount, help="such as 1Gi")
    run.add_argument("--timeout", type=amount, help="longest time to run, such as 15m")
    run.add_argument("--queue-timeout", type=amount, help="longest time to wait in the queue, such as 1h")
    run.add_argument("--grace", type=amount, help="time between the request to stop and the kill, such as 10s")
    run.add_argument("--output-limit", type=amount, help="how much output is kept, such as 64Mi")
    run.add_argument("--env", type=pair, action="append", metavar="NAME=VALUE", help="environment variable; may be repeated")
    secret = "secret environment variable, whose value is never shown: "
    run.add_argument("--secret-env", type=env_name, action="append", metavar="NAME", help=secret + "from this command's own")
    run.add_argument("--secret-env-file", type=pair, action="append", metavar="NAME=PATH", help=secret + "from a file")
    run.add_argument("--label", type=pair, action="append", metavar="NAME=VALUE", help="label; may be repeated")
    run.add_argument("--file", action="append", metavar="PATH", help="text file to place beside the script; may be repeated")
    run.add_argument("--retry", action="append", metavar="REASON", help="try again after this reason, too; may be repeated")
    run.add_argument("--max-attempts", type=int, metavar="N", help="attempts in all; 1 = never try again")
    run.add_argument("--stdin", action="store_true", help="pass this command's stdin on to the program")
    run.add_argument("--detach", action="store_true", help="print the run's id and leave")
    run.add_argument("--json", action="store_true", help="print every event as a line of JSON")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="SCRIPT [ARG...] | -- COMMAND [ARG...]")


def _add_looks(commands: Commands) -> None:
    listed = _add(commands, "list", "queries:list_runs", "list the newest runs")
    listed.add_argument("--status", action="append", choices=list(Status), metavar="STATUS", help="may be repeated")
    listed.add_argument("--priority", choices=list(Priority))
    listed.add_argument("--limit", type=int, default=20)
    shown = _add(commands, "show", "queries:show", "show everything about one run")
    shown.add_argument("run", metavar="RUN")
    logs = _add(commands, "logs", "runs:logs", "print a run's output")
    logs.add_argument("run", metavar="RUN")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the run ends; stdout and stderr apart")
    logs.add_argument("--raw", action="store_true", help="with -f: all output to stdout and nothing but output")
    left = _add(commands, "artefacts", "artefacts:artefacts", "list the files that a run left to be kept, or fetch one")
    left.add_argument("run", metavar="RUN")
    left.add_argument("path", nargs="?", metavar="NAME", help="the file to fetch, to stdout")
    left.add_argument("-o", "--output", metavar="FILE", help="write it to this file")
    left.add_argument("--attempt", type=int, help="of which attempt (default: the last that left any)")
    answer = _add(commands, "answer", "queries:answer", "answer a question")
    answer.add_argument("question", metavar="QUESTION")
    answer.add_argument("value", nargs="?", help="without it the terminal asks; better so for secrets")
    cancel = _add(commands, "cancel", "queries:cancel", "cancel runs")
    cancel.add_argument("runs", nargs="+", metavar="RUN")
    queue = _add(commands, "queue", "queries:queue", "list the queued runs in the order in which they start, or steer the queue")
    does = "pause: start nothing; close: take nothing in; resume and open end that (admins)"
    queue.add_argument("action", nargs="?", choices=["pause", "resume", "close", "open"], help=does)
    placed = _add(commands, "priority", "queries:place", "give a queued run another priority, or the first place (admins)")
    placed.add_argument("run", metavar="RUN")
    placed.add_argument("priority", choices=[*Priority, "front"])
    record = _add(commands, "audit", "queries:audit", "list who steered what, newest first")
    record.add_argument("subject", nargs="?", help="a run's id, or the scope of a limit; without it all (admins)")
    limited = _add(commands, "limits", "limits:limits", "show or change the limits and shares of the queue (admins)")
    does = "set: set everything of a scope, what is left out gets its default; clear: give it its defaults back"
    limited.add_argument("action", nargs="?", choices=["show", "set", "clear"], default="show", help=does)
    scopes = "all, owner:*, owner:NAME, group:*, group:NAME or label:NAME=VALUE"
    limited.add_argument("scope", nargs="?", metavar="SCOPE", help=scopes)
    limited.add_argument("--pending", type=int, help="runs that are queued, active or waiting")
    limited.add_argument("--active", type=int, help="runs that are active at once")
    limited.add_argument("--queue-length", type=int, help="of all: runs in the queue")
    limited.add_argument("--weight", type=int, help="of an owner or a group: the share among the others")
    limited.add_argument("--group", help="of an owner: the group in which the owner's runs count")
    for parser in (listed, shown, logs, left, answer, queue, record, limited):
        parser.add_argument("--json", action="store_true", help="print JSON")


def _add_accounts(commands: Commands) -> None:
    login = _add(commands, "login", "accounts:login", "keep a service's address and a token (asked for, or read from stdin)")
    login.add_argument("url", nargs="?", metavar="URL")
    users = commands.add_parser("user", help="manage users, on the server").add_subparsers(metavar="ACTION", required=True)
    create = _add(users, "create", "accounts:user_create", "add a user and print a login link")
    create.add_argument("name")
    create.add_argument("--role", choices=["user", "admin"], default="user")
    _add(users, "list", "accounts:user_list", "list all users")
    _add(users, "link", "accounts:user_link", "print a fresh login link").add_argument("name")
    tokens = commands.add_parser("token", help="manage API tokens, on the server").add_subparsers(metavar="ACTION", required=True)
    made = _add(tokens, "create", "accounts:token_create", "make an API token and print it once")
    made.add_argument("name", help="what it is for")
    made.add_argument("--days", type=float, help="how long it is valid (default: without end)")
    listed = _add(tokens, "list", "accounts:token_list", "list a user's tokens")
    for parser in (made, listed):
        parser.add_argument("--user", default="admin", help="whose (default admin)")
    _add(tokens, "revoke", "accounts:token_revoke", "make tokens worthless").add_argument("tokens", nargs="+", metavar="ID")


def _add_components(commands: Commands) -> None:
    doctor = _add(commands, "doctor", "doctor:doctor", "check the connection, the token and, on the server, its parts")
    doctor.add_argument(
        "--cluster", action="store_true", help="only what runs on Kubernetes need: rights, room, images, probe runs"
    )
    does = "send a real run through the service and answer its question, on the server"
    tested = _add(commands, "selftest", "selftest:selftest", does)
    tested.add_argument("url", metavar="URL", help="where the service is, as its users reach it")
    tested.add_argument("--within", type=float, default=180, metavar="SECONDS", help="how long that may take (default 180)")
    flower = _add(commands, "flower", "flower:flower", "watch the workers with Flower")
    flower.add_argument("--address", default="127.0.0.1")
    flower.add_argument("--port", type=int, default=5555)
    _add(commands, "web", "components:web", "run the web server in the foreground")
    worker = _add(commands, "worker", "components:worker", "run a worker in the foreground")
    worker.add_argument("--check", action="store_true", help="say whether the worker here reads the queue, for probes")
    migrate = _add(commands, "migrate", "components:migrate", "bring the database to this version")
    migrate.add_argument("--wait", type=float, metavar="SECONDS", help="change nothing: wait so long for another to do it")


if __name__ == "__main__":
    sys.exit(main())
