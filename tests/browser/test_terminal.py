"""The terminal that turns output into lines: what programs do with returns, colours and cursor moves, however it is cut."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.browser.conftest import Seat

SHOW = """async ([pieces, maxLines]) => {
  const { Terminal } = await import("/assets/terminal.js");
  const terminal = new Terminal(maxLines);
  for (const [stream, text] of pieces) terminal.write(stream, text);
  return [terminal.first, terminal.lines.map((line) => line.spans.map((span) => [span.style.name, span.text]))];
}"""

CASES: list[tuple[str, list[list[tuple[str, str]]]]] = [
    ("a\nb", [[("", "a")], [("", "b")]]),
    ("10 %\r20 %\n", [[("", "20 %")], []]),
    ("abcdef\rXY\n", [[("", "XY"), ("", "cdef")], []]),
    ("abcdef\r\x1b[KX", [[("", "X")]]),
    ("one\r\ntwo\r\n", [[("", "one")], [("", "two")], []]),
    ("ab\bC", [[("", "a"), ("", "C")]]),
    ("\x1b[1;31mred\x1b[0m plain", [[("b f1", "red"), ("", " plain")]]),
    ("\x1b[31ma\x1b[39mb\x1b[7mc\x1b[27md", [[("f1", "a"), ("", "b"), ("r", "c"), ("", "d")]]),
    ("\x1b[38;5;9mx\x1b[48;5;4my", [[("f9", "x"), ("f9 g4", "y")]]),
    ("1\n2\n\x1b[2Aone\n\x1b[1Btwo", [[("", "one")], [("", "2")], [("", "two")]]),
    ("\x1b]0;a title\x07x\x1b]8;;http://e\x1b\\y", [[("", "xy")]]),
    ("\x1b[?25lhidden\x1b[?25h\x1b(B!", [[("", "hidden!")]]),
    ("a\tb\x00\x07c", [[("", "a\tbc")]]),
    ("x\x1b[3Cy", [[("", "x   "), ("", "y")]]),
]


@pytest.fixture
def show(seat: Seat) -> Any:
    return lambda pieces, max_lines=1000: seat.page.evaluate(SHOW, [pieces, max_lines])


def _flat(lines: list[list[Any]]) -> list[list[tuple[str, str]]]:
    """Join neighbours of one style: where the pieces were cut makes no difference to what is seen."""
    flat = []
    for line in lines:
        joined: list[tuple[str, str]] = []
        for name, text in line:
            if joined and joined[-1][0] == name:
                joined[-1] = (name, joined[-1][1] + text)
            else:
                joined.append((name, text))
        flat.append(joined)
    return flat


def test_output_looks_as_in_a_terminal_however_it_is_cut(show: Any) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    cuts = random.Random(seed)
    for text, expected in CASES:
        whole = _flat(show([("stdout", text)])[1])
        assert whole == _flat(expected), text
        for _ in range(5):
            pieces, rest = [], text
            while rest:
                length = cuts.randint(1, len(rest))
                pieces.append(("stdout", rest[:length]))
                rest = rest[length:]
            assert _flat(show(pieces)[1]) == whole, pieces


def test_the_streams_do_not_colour_each_other(show: Any) -> None:
    _, lines = show([("stdout", "\x1b[32mgo\n"), ("stderr", "bad\n"), ("stdout", "on")])
    assert _flat(lines) == [[("f2", "go")], [("err", "bad")], [("f2", "on")]]


def test_endless_lines_and_logs_stay_bounded(show: Any) -> None:
    first, lines = show([("stdout", "x" * 20_000 + "\n" + "y\n" * 500)], 100)
    assert len(lines) <= 150 and first == 3 + 500 + 1 - len(lines)
    _, lines = show([("stdout", "\x1b[99999999C" + "x" * 9000 + "\x1b[99999999A")])
    assert max(sum(len(text) for _, text in line) for line in lines) <= 8192
