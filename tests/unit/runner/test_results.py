"""Counts and sums out of JUnit reports: errors are failures, a test counts once, and what broke off is no success."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.results import NO_TESTS, Result, read_report, table, total

REPORT = """<?xml version="1.0"?><testsuites><testsuite name="pytest">
<testcase classname="a" name="well"/>
<testcase classname="a" name="wrong"><failure message="no"/></testcase>
<testcase classname="a" name="wrong"><error message="and its fixture"/></testcase>
<testcase classname="a" name="untidy"><error message="a fixture"/></testcase>
<testcase classname="b" name="not here"><skipped message="Chromium IS MISSING ON THIS MACHINE"/></testcase>
<testcase classname="b" name="not for this"><skipped message="SQLite has no such thing"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    return path


def test_a_report_is_counted(report: Path) -> None:
    result = read_report("unit", report, 1, 2.5)
    assert (result.passed, result.failed, result.skipped, result.seconds) == (1, 2, 2, 2.5)
    assert result.lacking == ("b::not here: Chromium IS MISSING ON THIS MACHINE",)


def test_a_suite_that_broke_off_is_a_failure(tmp_path: Path) -> None:
    assert read_report("unit", tmp_path / "none.xml", 3, 1.0).failed == 1
    (tmp_path / "half.xml").write_text(REPORT[:100])
    assert read_report("unit", tmp_path / "half.xml", 2, 1.0).failed == 1
    (tmp_path / "green.xml").write_text("<testsuites><testsuite><testcase classname='a' name='b'/></testsuite></testsuites>")
    assert read_report("unit", tmp_path / "green.xml", 1, 1.0).failed == 1
    assert read_report("unit", tmp_path / "green.xml", 0, 1.0).failed == 0
    assert read_report("unit", tmp_path / "none.xml", 0, 1.0).failed == 1


def test_the_sum_is_one_line() -> None:
    results = [Result("unit", 10, 1, 0), Result("kill", 5, 0, 2)]
    assert total(results) == "15 passed, 1 failed, 2 skipped"
    assert total(results, 2) == "15 passed, 3 failed, 2 skipped"


def test_the_table_has_the_seconds_of_every_part() -> None:
    lines = table([Result("unit", 10, 0, 1, 61.4), Result("lint", seconds=20.0)], 70.0).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["unit", "61", "10", "0", "1"],
        ["lint", "20", "0", "0", "0"],
        ["all", "together", "70"],
    ]


def test_a_suite_without_a_chosen_test_is_no_failure_unless_nothing_was_chosen(tmp_path: Path) -> None:
    assert read_report("unit", tmp_path / "none.xml", NO_TESTS, 1.0, may_be_empty=True).failed == 0
    assert read_report("unit", tmp_path / "none.xml", NO_TESTS, 1.0).failed == 1
    assert read_report("unit", tmp_path / "none.xml", 2, 1.0, may_be_empty=True).failed == 1
