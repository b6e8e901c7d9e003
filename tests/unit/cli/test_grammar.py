"""How words are read: as argparse read them, so that scripts which use short forms, dashes and numbers go on working."""

from __future__ import annotations

from typing import Any

import click
import pytest

from app.cli.commands.run import run
from app.cli.grammar import Command, Group, command, option


@command("try")
@click.argument("first", required=False)
@click.argument("more", nargs=-1)
@option("--limit", type=float)
@option("--name", multiple=True)
@option("--named-file")
@option("-o", "--output")
@option("-f", "--follow", is_flag=True)
@option("-q", "--quiet", is_flag=True)
def trial(**given: object) -> int:
    """Try."""
    return 0


def read(*words: str, of: Command = trial) -> dict[str, Any]:
    """Return what was given, without what was not."""
    context = of.make_context("try", list(words), help_option_names=["-h", "--help"])
    return {name: value for name, value in context.params.items() if value not in (None, (), False)}


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--lim", "3"], {"limit": 3}),
        (["--l=3"], {"limit": 3}),
        (["--name", "a", "--name=b"], {"name": ("a", "b")}),
        (["--named", "x"], {"named_file": "x"}),
        (["--fol", "a"], {"follow": True, "first": "a"}),
        (["a", "--q", "b"], {"first": "a", "more": ("b",), "quiet": True}),
    ],
)
def test_a_long_option_may_be_shortened_while_it_is_unique(words: list[str], given: dict[str, object]) -> None:
    assert read(*words) == given


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--limit", "-5"], {"limit": -5}),
        (["--limit", "-.5"], {"limit": -0.5}),
        (["-1.5", "-2"], {"first": "-1.5", "more": ("-2",)}),
        (["--output=-x"], {"output": "-x"}),
        (["-o-x"], {"output": "-x"}),
        (["-o=x"], {"output": "x"}),
        (["-o", "-"], {"output": "-"}),
        (["--output="], {"output": ""}),
        (["--name", "- a dash and spaces"], {"name": ("- a dash and spaces",)}),
        (["-fqo", "x"], {"follow": True, "quiet": True, "output": "x"}),
        (["-fq", "-"], {"follow": True, "quiet": True, "first": "-"}),
        (["--quiet", "--", "--follow", "-x"], {"quiet": True, "first": "--follow", "more": ("-x",)}),
        (["a", "--", "b", "--", "c"], {"first": "a", "more": ("b", "--", "c")}),
    ],
)
def test_dashes_and_numbers(words: list[str], given: dict[str, object]) -> None:
    assert read(*words) == given


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--na"], "ambiguous: --name, --named-file"),
        (["--output", "--quiet"], "requires an argument"),
        (["--output", "--"], "requires an argument"),
        (["--output"], "requires an argument"),
        (["--output", "-z"], "requires an argument"),
        (["--nonsense=secret"], "No such option '--nonsense'"),
        (["-z"], "No such option '-z'"),
        (["--quiet=yes"], "does not take a value"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        read(*words)
    assert said in caught.value.format_message() and "secret" not in caught.value.format_message()


@pytest.mark.parametrize("words", [["--limit", "3", "-h", "--nonsense"], ["--nonsense", "x", "--help"], ["-z", "-h"]])
def test_help_goes_before_unknown_options(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(click.exceptions.Exit) as left:
        read(*words)
    assert left.value.exit_code == 0
    assert "--limit LIMIT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--cpu", "1", "script.py", "--flag", "-x"], ("script.py", "--flag", "-x")),
        (["script.py", "--cpu", "9", "--help"], ("script.py", "--cpu", "9", "--help")),
        (["script.py", "--", "-x"], ("script.py", "--", "-x")),
        (["--", "ls", "-la", "--color"], ("--", "ls", "-la", "--color")),
        (["--pri", "high", "--", "a", "--", "b"], ("--", "a", "--", "b")),
        (["-", "--", "--detach"], ("-", "--", "--detach")),
        (["--"], ("--",)),
        (["-5", "--detach"], ("-5", "--detach")),
    ],
)
def test_everything_from_the_script_on_is_the_program_s(words: list[str], left: tuple[str, ...]) -> None:
    given = read(*words, of=run)
    assert given["words"] == left
    assert "detach" not in given


def test_a_group_reads_its_own_options_only() -> None:
    group = Group("group", commands={"try": trial}, params=[click.Option(["--loud"], is_flag=True)], callback=lambda loud: None)
    context = group.make_context("group", ["--lo", "try", "--lim", "3"])
    assert context.params == {"loud": True}
    assert group.invoke(context) == 0
