"""What came of suites: counts out of their JUnit reports, the table of seconds, and the sum. No I/O beyond reading a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

# The status of a pytest that collected nothing, or left all of it out.
NO_TESTS = 5


@dataclass(frozen=True)
class Result:
    """How a suite ended. `lacking` are the skips for want of something on this machine, in pytest's words."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    lacking: tuple[str, ...] = ()


def read_report(name: str, path: Path, status: int, seconds: float, may_be_empty: bool = False) -> Result:
    """Return what pytest reported. Where it broke off, or found nothing to test though it may not, that is a failure more."""
    if may_be_empty and status == NO_TESTS:
        return Result(name, seconds=seconds)
    try:
        cases = ElementTree.parse(path).getroot().iter("testcase")
        passed, failed, skipped, lacking = count(cases)
    except (OSError, ElementTree.ParseError):
        passed, failed, skipped, lacking = 0, 0, 0, ()
    # A suite that says all is well, and reported nothing, is not believed.
    if not failed and (status != 0 or not passed + skipped):
        failed = 1
    return Result(name, passed, failed, skipped, seconds, lacking)


def count(cases: Iterable[ElementTree.Element]) -> tuple[int, int, int, tuple[str, ...]]:
    """Count the cases: passed, failed, skipped, and the skips for something that is missing. A test that fails and whose
    fixtures then fail as well has two cases, and is one failure; an error is a failure.
    """
    told: dict[tuple[str, str], str] = {}
    lacking = []
    for case in cases:
        name = (case.get("classname", ""), case.get("name", ""))
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            told[name] = "failed"
        elif skip is not None:
            told.setdefault(name, "skipped")
            if re.search("missing", skip.get("message", ""), re.IGNORECASE):
                lacking.append(f"{name[0]}::{name[1]}: {skip.get('message')}")
        else:
            told.setdefault(name, "passed")
    ways = list(told.values())
    return ways.count("passed"), ways.count("failed"), ways.count("skipped"), tuple(lacking)


def table(results: Sequence[Result], whole_s: float) -> str:
    """Return the seconds by part, and the counts."""
    lines = [f"{'part':<14}{'seconds':>8}{'passed':>8}{'failed':>8}{'skipped':>8}"]
    lines += [f"{one.name:<14}{one.seconds:>8.0f}{one.passed:>8}{one.failed:>8}{one.skipped:>8}" for one in results]
    return "\n".join([*lines, f"{'all together':<14}{whole_s:>8.0f}"])


def total(results: Sequence[Result], more_failed: int = 0) -> str:
    """Return the one line that sums everything up."""
    passed, skipped = sum(one.passed for one in results), sum(one.skipped for one in results)
    failed = sum(one.failed for one in results) + more_failed
    return f"{passed} passed, {failed} failed, {skipped} skipped"
