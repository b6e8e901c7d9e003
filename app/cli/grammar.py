"""How words become options: click's commands with the habits of argparse, which scripts and people came to rely on.

A long option may be shortened as far as it stays unique; the value of an option begins with a dash only where it is a number or
stands behind `=`; a negative number is a word like any other. All this is done by one rewriting of the words before click reads
them. No command is named here.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import click

Anything = TypeVar("Anything", bound=Callable[..., Any])
_NEGATIVE = re.compile(r"-\d+$|-\d*\.\d+$")


class Command(click.Command):
    """A command that reads its words as argparse did."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words. Raises: UsageError."""
        return super().parse_args(ctx, args if ctx.resilient_parsing else canonical(ctx, args))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Offer the options, as long as they may still follow."""
        arguments = [param for param in self.params if isinstance(param, click.Argument)]
        if not ctx.allow_interspersed_args and any(ctx.params.get(param.name or "") for param in arguments):
            return files(ctx, arguments[-1], incomplete)
        return super().shell_complete(ctx, incomplete)


class Group(click.Group):
    """A command of commands. Without one it says that one is missing, on stderr."""

    command_class = Command

    def __init__(self, *args: Any, **attrs: Any) -> None:
        """Take what click's group takes."""
        super().__init__(*args, **attrs)
        self.no_args_is_help = False

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names. Raises: UsageError, with those that are near."""
        if args and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx))
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the commands' names and what each does, as a clause."""
        return [(name, _clause(each.get_short_help_str(200))) for name, each in self.commands.items()]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words as far as the command. Raises: UsageError."""
        return super().parse_args(ctx, args if ctx.resilient_parsing else canonical(ctx, args))


class LazyGroup(Group):
    """A group of which only the command that is called is loaded. `table`: name -> ("module:attribute", one line of help)."""

    def __init__(self, *args: Any, package: str, table: Mapping[str, tuple[str, str]], **attrs: Any) -> None:
        """Load nothing yet; modules are named within `package`."""
        super().__init__(*args, **attrs)
        self.package, self.table = package, table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command."""
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(f"{self.package}.{module}"), attribute))

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the names and lines of the table."""
        return [(name, text) for name, (_, text) in self.table.items()]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Offer the names of the table."""
        from click.shell_completion import CompletionItem

        offered = [CompletionItem(name, help=text) for name, (_, text) in self.table.items() if name.startswith(incomplete)]
        return [*offered, *click.Command.shell_complete(self, ctx, incomplete)]


def command(name: str, **attrs: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a command of a function; the function's docstring is its help."""
    return click.command(name, cls=Command, **attrs)


def option(*names: str, **attrs: Any) -> Callable[[Anything], Anything]:
    """Return a decorator that adds an option. What its value is called in the help follows from its name."""
    kind = attrs.get("type")
    if not attrs.get("is_flag") and not isinstance(kind, click.Choice):
        longest = max((name for name in names if name.startswith("-")), key=len)
        attrs.setdefault("metavar", longest.lstrip("-").upper().replace("-", "_"))
    return click.option(*names, **attrs)


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def json_option(text: str = "print JSON") -> Callable[[Anything], Anything]:
    """Return a decorator that adds `--json`; the function gets it as `as_json`."""
    return option("--json", "as_json", is_flag=True, help=text)


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete names of files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def canonical(ctx: click.Context, words: Sequence[str]) -> list[str]:
    """Return the words as click is to read them: options with their full names, `--`, and everything else.

    Where options may not follow other words (`run`, groups), all from the first other word on is left alone, a `--` included.
    Raises: UsageError.
    """
    named = {name: param for param in ctx.command.get_params(ctx) if isinstance(param, click.Option) for name in param.opts}
    mixed = ctx.allow_interspersed_args
    # Only who takes all the rest has to know whether it began with a `--`.
    drops_dashes = mixed or isinstance(ctx.command, click.Group)
    options: list[str] = []
    others: list[str] = []
    left = list(words)
    unknown: click.NoSuchOption | None = None
    while left:
        word = left.pop(0)
        if word == "--":
            others += left if drops_dashes else [word, *left]
            break
        if not _is_option(word, named):
            others.append(word)
            if mixed:
                continue
            others += left
            break
        try:
            found = _take(ctx, named, word, left)
        except click.NoSuchOption as error:
            unknown = unknown or error
            continue
        if named[found[0].partition("=")[0]].is_eager:
            # Help goes before options that are unknown and words that are missing.
            return found
        options += found
    if unknown is not None:
        raise unknown
    return [*options, "--", *others]


def _take(ctx: click.Context, named: Mapping[str, click.Option], word: str, left: list[str]) -> list[str]:
    """Return the option in full and its value, which may be the next of the words that are left."""
    name, value, rest = _parts(ctx, named, word)
    if named[name].is_flag:
        if rest:
            # -fx is -f -x.
            left.insert(0, f"-{rest}")
        return [name] if value is None or rest else [f"{name}={value}"]
    if value is None:
        if not left or left[0] == "--" or _is_option(left[0], named):
            raise click.BadOptionUsage(name, f"Option {name!r} requires an argument.", ctx)
        value = left.pop(0)
    return [name, value]


def _parts(ctx: click.Context, named: Mapping[str, click.Option], word: str) -> tuple[str, str | None, str]:
    """Return (the option's full name, the value that is attached to it or None, what follows a single letter)."""
    name, equals, value = word.partition("=")
    candidates = _matches(name, named)
    if len(candidates) > 1:
        raise click.UsageError(f"Option {name!r} is ambiguous: {', '.join(candidates)}.", ctx)
    if candidates:
        return candidates[0], value if equals else None, ""
    if not word.startswith("--") and word[:2] in named:
        return word[:2], word[2:], word[2:]
    raise click.NoSuchOption(name, possibilities=named, ctx=ctx)


def _matches(name: str, named: Mapping[str, click.Option]) -> list[str]:
    """Return the options that a name may mean: itself, or all that begin with it."""
    if name in named:
        return [name]
    return sorted(full for full in named if full.startswith(name)) if name.startswith("--") and name != "--" else []


def _is_option(word: str, named: Mapping[str, click.Option]) -> bool:
    if not word.startswith("-") or word == "-":
        return False
    if word[:2] in named or _matches(word.partition("=")[0], named):
        return True
    return not (_NEGATIVE.match(word) or " " in word)
