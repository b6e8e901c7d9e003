"""`podwire show`: everything about one run, what it waits for, uses and used as sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import click

from app.cli.client.http import Api, as_row
from app.cli.client.target import find_target
from app.cli.grammar import command, json_option
from app.cli.terminal.output import print_json, put
from app.domain.humanize import duration, size
from app.domain.runs.evidence import sentence

Row = Mapping[str, object]


@command("show")
@click.argument("run", metavar="RUN")
@json_option()
def show(run: str, as_json: bool) -> int:
    """Show everything about one run."""
    found = Api(find_target()).run(run)
    if as_json:
        print_json(found)
        return 0
    for name, value in in_words(found).items():
        if name == "attempts" and isinstance(value, list):
            # One alone is the run itself.
            for line in value if len(value) > 1 else []:
                put(f"{'attempt':20} {line}")
        elif value not in (None, "", [], {}):
            put(f"{name:20} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return 0


def in_words(run: Row) -> Row:
    """Return the run with what it waits for, uses and used as sentences."""
    use, evidence, outcome = (as_row(run.get(name)) for name in ("use", "evidence", "outcome"))
    times = {name: datetime.fromisoformat(str(at)).timestamp() for name, at in as_row(evidence.get("phases")).items() if at}
    measures = {name: _number(outcome.get(name)) for name in ("peak_memory_bytes", "cpu_seconds")}
    measures["memory_limit_bytes"] = _number(evidence.get("memory_limit_bytes"))
    if "attempts" in run:
        run = {**run, "attempts": [_attempt_line(each) for each in _list(run["attempts"])]}
    if isinstance(run.get("wait"), dict):
        run = {**run, "wait": as_row(run["wait"]).get("message")}
    return {**run, "use": use_sentence(use), "evidence": sentence(measures, evidence, times)}


def use_sentence(use: Row) -> str:
    """Return what a run uses at the moment; empty when nothing is known."""
    memory, peak, limit, seconds = (
        _number(use.get(name)) for name in ("memory_bytes", "peak_memory_bytes", "memory_limit_bytes", "cpu_seconds")
    )
    if memory is None or peak is None or limit is None or seconds is None:
        return ""
    cores = _number(use.get("cpu_cores"))
    rate = f"{cores:.2f} cores, " if cores is not None else ""
    return f"{size(memory)} of {size(limit)} memory, at most {size(peak)}; CPU {rate}{duration(seconds)} so far"


def _attempt_line(attempt: Row) -> str:
    outcome = as_row(attempt.get("outcome"))
    ended = f"{outcome.get('reason')}: {outcome.get('message')}" if outcome else "has not ended"
    return f"{attempt.get('number')}. {ended}"


def _list(value: object) -> Sequence[Row]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None
