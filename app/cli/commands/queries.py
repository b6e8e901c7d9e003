"""The short commands on runs: list, show, queue, answer, cancel. Each is one request and what it prints."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

from app.cli.client.http import Api, run_path
from app.cli.client.target import find_target
from app.cli.errors import Stop
from app.cli.terminal.prompt import Prompt
from app.domain.humanize import duration, size
from app.domain.runs.evidence import sentence

Row = Mapping[str, object]
GATES = {"pause": ("paused", True), "resume": ("paused", False), "close": ("closed", True), "open": ("closed", False)}


def list_runs(options: argparse.Namespace) -> int:
    """Print the newest runs, one a line."""
    found = Api(find_target()).get("/v1/runs", status=options.status, priority=options.priority, limit=options.limit)
    runs = rows(found)
    if options.json:
        return _print_json(runs)
    print_table(("ID", "STATUS", "PRIORITY", "CREATED", "WHAT"), [_run_cells(row) for row in runs])
    return 0


def show(options: argparse.Namespace) -> int:
    """Print everything about one run."""
    run = Api(find_target()).run(options.run)
    if options.json:
        return _print_json(run)
    for name, value in in_words(run).items():
        if name == "attempts" and isinstance(value, list):
            # One alone is the run itself.
            for line in value if len(value) > 1 else []:
                print(f"{'attempt':20} {line}")
        elif value not in (None, "", [], {}):
            print(f"{name:20} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return 0


def in_words(run: Row) -> Row:
    """Return the run with what it waits for, uses and used as sentences."""
    use, evidence, outcome = (_row(run.get(name)) for name in ("use", "evidence", "outcome"))
    times = {name: datetime.fromisoformat(str(at)).timestamp() for name, at in _row(evidence.get("phases")).items() if at}
    measures = {name: _number(outcome.get(name)) for name in ("peak_memory_bytes", "cpu_seconds")}
    measures["memory_limit_bytes"] = _number(evidence.get("memory_limit_bytes"))
    if "attempts" in run:
        run = {**run, "attempts": [_attempt_line(each) for each in _list(run["attempts"])]}
    if isinstance(run.get("wait"), dict):
        run = {**run, "wait": _row(run["wait"]).get("message")}
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
    outcome = _row(attempt.get("outcome"))
    ended = f"{outcome.get('reason')}: {outcome.get('message')}" if outcome else "has not ended"
    return f"{attempt.get('number')}. {ended}"


def _list(value: object) -> Sequence[Row]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _row(value: object) -> Row:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def place(options: argparse.Namespace) -> int:
    """Give a queued run another place."""
    asked: dict[str, object] = {"front": True} if options.priority == "front" else {"priority": options.priority}
    run = Api(find_target()).send("PATCH", run_path(options.run), asked)
    print(f"{options.run} {run.get('priority')}, {_row(run.get('wait')).get('message') or run.get('status')}")
    return 0


def audit(options: argparse.Namespace) -> int:
    """Print who steered what."""
    found = rows(Api(find_target()).get("/v1/audit", subject=options.subject))
    if options.json:
        return _print_json(found)
    names = ("at", "by", "action", "subject", "before", "after")
    print_table(tuple(name.upper() for name in names), [tuple(row.get(name) for name in names) for row in found])
    return 0


def queue(options: argparse.Namespace) -> int:
    """Print the queued runs in the order in which they start; or let the queue start and take in runs, or not."""
    if options.action:
        name, on = GATES[options.action]
        state = Api(find_target()).send("PATCH", "/v1/admin/queue", {name: on})
        print(json.dumps(state) if options.json else f"paused: {_yes(state, 'paused')}, closed: {_yes(state, 'closed')}")
        return 0
    found = Api(find_target()).get("/v1/queue")
    if options.json:
        return _print_json(found)
    print_table(("PLACE", "ID", "PRIORITY", "CREATED", "WHAT"), [_queue_cells(item) for item in rows(found)])
    return 0


def answer(options: argparse.Namespace) -> int:
    """Answer a question; without a value the terminal asks for it."""
    api = Api(find_target())
    prompt = _find_question(api, options.question)
    line = options.value if options.value is not None else _typed(prompt)
    try:
        value = prompt.value(line)
    except ValueError as error:
        raise Stop(str(error)) from error
    settled = api.answer(options.question, value)
    print(json.dumps(settled, ensure_ascii=False) if options.json else "answered")
    return 0


def cancel(options: argparse.Namespace) -> int:
    """Ask for the end of the runs."""
    api = Api(find_target())
    for run_id in options.runs:
        run = api.cancel(run_id)
        print(f"{run_id} {run.get('status')}")
    return 0


def _yes(row: Row, name: str) -> str:
    return "yes" if row.get(name) else "no"


def rows(page: Mapping[str, object]) -> Sequence[Row]:
    """Return the list that a page holds."""
    listed = page.get("items")
    return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []


def _find_question(api: Api, question_id: str) -> Prompt:
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


def _run_cells(run: Row) -> Sequence[object]:
    return (run.get("id"), run.get("status"), run.get("priority"), run.get("created_at"), run.get("title"))


def _queue_cells(item: Row) -> Sequence[object]:
    run = item.get("run")
    row = _row(run)
    return (item.get("position"), row.get("id"), row.get("priority"), row.get("created_at"), row.get("title"))


def print_table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print lines of cells under their heads; None is an empty cell."""
    cells = [head, *[["" if cell is None else str(cell) for cell in line] for line in lines]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_json(value: object) -> int:
    print(json.dumps(value, ensure_ascii=False, indent=2))
    return 0
