"""What commands print: tables, JSON and lines. A pipe gets plain text that never changes its form; a terminal gets it with care.

Rich is loaded for a terminal only, and gets every text as a text, so that nothing in it is taken for markup.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.cli.terminal.harmless import for_stream, harmless

# A column whose cells are all this short (ids, times) is never folded.
WHOLE = 26
# What a column that is folded needs at least; with less, a line of the terminal's own wrapping is easier to read.
FOLDED = 30


def is_rich() -> bool:
    """True when stdout is a terminal that can do more than plain text."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def print_table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print lines of cells under their heads; None is an empty cell."""
    cells = [["" if cell is None else str(cell) for cell in line] for line in lines]
    if is_rich() and _print_rich(head, cells):
        return
    if sys.stdout.isatty():
        cells = [[harmless(cell, keep="") for cell in line] for line in cells]
    for text in plain_lines([list(head), *cells]):
        print(text)


def plain_lines(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in columns as wide as their widest cell."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def print_json(value: object, indent: int | None = 2) -> None:
    """Print the value as JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    print(harmless(text, keep="\n") if sys.stdout.isatty() else text)


def put(line: str) -> None:
    """Print a line of which a part may have been chosen by anybody."""
    print(for_stream(line, sys.stdout), flush=True)


def say(sentence: str) -> None:
    """Say a sentence on stderr, beside what the command prints; nowhere if that is closed."""
    if sys.stderr is None:
        return
    print(for_stream(f"podwire: {sentence}", sys.stderr), file=sys.stderr, flush=True)


@contextmanager
def progress(path: str | None) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many bytes more went into the file; a terminal shows it, and nothing is left of it after.

    Without a file the bytes themselves go to stdout, and nothing may stand between them.
    """
    if path is None or not (is_rich() and sys.stderr.isatty()):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TransferSpeedColumn

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Progress(SpinnerColumn(), DownloadColumn(), TransferSpeedColumn(), console=console, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda count: shown.advance(task, count)


def _print_rich(head: Sequence[str], lines: Sequence[Sequence[str]]) -> bool:
    """Print the table if the terminal is wide enough for it, and say whether."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, highlight=False, emoji=False)
    texts = [[Text(harmless(cell, keep="")) for cell in line] for line in lines]
    widths = [max([len(name), *(line[column].cell_len for line in texts)]) for column, name in enumerate(head)]
    needed = sum(width if width <= WHOLE else FOLDED for width in widths) + 2 * (len(head) - 1)
    if needed > console.width:
        return False
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, width in zip(head, widths, strict=True):
        table.add_column(Text(name), overflow="fold", no_wrap=width <= WHOLE)
    for line in texts:
        table.add_row(*line)
    console.print(table)
    return True
