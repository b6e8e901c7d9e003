"""`podwire answer`: answer a question of a run, from the words or from the terminal."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

import click

from app.cli.client.http import Api, rows, run_path
from app.cli.client.target import find_target
from app.cli.errors import Stop
from app.cli.grammar import command, json_option
from app.cli.terminal.output import print_json

if TYPE_CHECKING:
    from app.cli.terminal.prompt import Prompt


@command("answer")
@click.argument("question", metavar="QUESTION")
@click.argument("value", required=False, help="without it the terminal asks; better so for secrets")
@json_option()
def answer(question: str, value: str | None, as_json: bool) -> int:
    """Answer a question."""
    api = Api(find_target())
    prompt = _find_question(api, question)
    line = value if value is not None else _typed(prompt)
    try:
        meant = prompt.value(line)
    except ValueError as error:
        raise Stop(str(error)) from error
    settled = api.answer(question, meant)
    if as_json:
        print_json(settled, indent=None)
    else:
        print("answered")
    return 0


def _find_question(api: Api, question_id: str) -> Prompt:
    from app.cli.terminal.prompt import Prompt

    for row in rows(api.get(f"{run_path(question_id.split('-')[0])}/questions")):
        if row.get("id") == question_id:
            return Prompt.of(row)
    raise Stop("There is no such question, or it is not yours to answer.")


def _typed(prompt: Prompt) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    if prompt.hidden:
        return getpass.getpass(prompt.lines())
    print(prompt.lines(), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()
