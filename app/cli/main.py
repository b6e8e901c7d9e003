"""The `podwire` command: which commands there are, and what becomes of their errors. Only the one that is called is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from app.cli.errors import Refused, Stop
from app.cli.grammar import LazyGroup
from app.cli.terminal.output import say
from app.domain.errors import PodwireError, SettingsError

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
NAME = "podwire"
# Set by the scripts of `podwire completion` when the shell asks.
COMPLETE = "_PODWIRE_COMPLETE"

# What each does and its options are in its module; the line here is the first of its help.
COMMANDS = {
    "up": ("up:up", "start everything on this machine, show a first run, serve until Ctrl-C"),
    "run": ("run:run", "run a script, or a command after --, and follow it to its end"),
    "list": ("list:list_runs", "list the newest runs"),
    "show": ("show:show", "show everything about one run"),
    "logs": ("logs:logs", "print a run's output"),
    "artefacts": ("artefacts:artefacts", "list the files that a run left to be kept, or fetch one"),
    "answer": ("answer:answer", "answer a question"),
    "cancel": ("cancel:cancel", "cancel runs"),
    "queue": ("queue:queue", "list the queued runs in the order in which they start, or steer the queue"),
    "priority": ("priority:priority", "give a queued run another priority, or the first place (admins)"),
    "audit": ("audit:audit", "list who steered what, newest first"),
    "limits": ("limits:limits", "show or change the limits and shares of the queue (admins)"),
    "login": ("login:login", "keep a service's address and a token (asked for, or read from stdin)"),
    "user": ("user:user", "manage users, on the server"),
    "token": ("token:token", "manage API tokens, on the server"),
    "doctor": ("doctor:doctor", "check the connection, the token and, on the server, its parts"),
    "selftest": ("selftest:selftest", "send a real run through the service and answer its question, on the server"),
    "flower": ("flower:flower", "watch the workers with Flower"),
    "web": ("web:web", "run the web server in the foreground"),
    "worker": ("worker:worker", "run a worker in the foreground"),
    "migrate": ("migrate:migrate", "bring the database to this version"),
    "completion": ("completion:completion", "print the script with which a shell completes this command's words"),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code; every foreseen error is one sentence on stderr."""
    given = list(sys.argv[1:] if words is None else words)
    try:
        code = _invoke(given)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except click.ClickException as error:
        return _usage(error)
    except PodwireError as error:
        say(_sentence(error))
        return EXIT_USAGE if isinstance(error, Stop | SettingsError) else EXIT_FAULT
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away: leave quietly, as every filter does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE


def _invoke(given: list[str]) -> int:
    """Call the command. Not by click's own `main`, which makes 1 of a closed pipe and of an interrupt."""
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(podwire, {}, NAME, COMPLETE, instruction)
    try:
        with podwire.make_context(NAME, given) as context:
            return int(podwire.invoke(context))
    except click.exceptions.Exit as done:
        return done.exit_code


def _usage(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None and sys.stderr is not None:
        print(context.get_usage(), file=sys.stderr)
    # Click's sentences about choices are lists over several lines.
    sentence = " ".join(error.format_message().split())
    if context is not None and isinstance(context.command, click.Group) and not sentence.endswith("?"):
        sentence += f" See {context.command_path} --help."
    say(sentence)
    return EXIT_USAGE if isinstance(error, click.UsageError) else EXIT_FAULT


def _sentence(error: PodwireError) -> str:
    waits = error.extensions.get("retry_after_s") if isinstance(error, Refused) else None
    return f"{error.detail} Try again in {waits} s." if waits else error.detail


@click.group(
    NAME,
    cls=LazyGroup,
    package="app.cli.commands",
    table=COMMANDS,
    subcommand_metavar="COMMAND ...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name=NAME, message="%(package)s %(version)s")
def podwire() -> None:
    """Run code in limited places and watch it live."""


if __name__ == "__main__":
    sys.exit(main())
