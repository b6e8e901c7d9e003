"""Command lines of scripts/test are understood, and every test belongs to exactly one suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.suites import ALONE, CHART_ON_CLUSTER, PARTS, STAGES, SUITES, Unknown, command, read_order

ROOT = Path(__file__).resolve().parents[3]


def test_without_words_all_is_run_stage_by_stage() -> None:
    order = read_order([])
    assert order.lint and order.words == ()
    assert [[suite.name for suite in stage] for stage in order.stages] == [
        [name for name in stage if name != "lint"] for stage in STAGES
    ]


def test_every_folder_with_tests_is_in_a_suite_and_every_suite_in_a_stage() -> None:
    folders = {path.parent.relative_to(ROOT).parts[1] for path in ROOT.glob("tests/*/**/test_*.py")}
    assert folders == {suite.part for suite in SUITES.values()}
    assert sorted(name for stage in STAGES for name in stage) == sorted([*SUITES, "lint"])
    assert {name for part in PARTS.values() for name in part} <= {*SUITES, "lint"}


def test_the_two_suites_of_the_cluster_have_every_test_of_it_once() -> None:
    assert (SUITES["cluster"].marks, SUITES["faults"].marks) == (f"not ({ALONE})", ALONE)
    assert [suite.name for suite in read_order(["cluster"]).suites] == ["cluster", "faults"]


def test_what_the_chart_has_on_a_cluster_is_tested_once_in_all_and_never_lost() -> None:
    everything, alone = (read_order(words) for words in ([], ["helm"]))
    lines = {suite.name: command(suite, "r.xml") for suite in everything.suites}
    assert f"--ignore={CHART_ON_CLUSTER}" in lines["helm"] and CHART_ON_CLUSTER in lines["cluster"]
    assert f"--ignore={CHART_ON_CLUSTER}" not in command(alone.suites[0], "r.xml")
    assert [suite.on_cluster for suite in read_order([CHART_ON_CLUSTER]).suites] == [True]


def test_quick_is_lint_and_what_needs_no_service() -> None:
    order = read_order(["quick"])
    assert (order.lint, [suite.name for suite in order.suites]) == (True, ["unit", "contract"])


def test_a_part_takes_words_for_pytest() -> None:
    order = read_order(["helm", "-k", "upgrade"])
    assert ([suite.name for suite in order.suites], order.words, order.lint) == (["helm"], ("-k", "upgrade"), False)


def test_paths_are_run_in_one_process_with_what_their_parts_need() -> None:
    order = read_order(["tests/cluster/test_faults.py", "tests/unit/web", "tests/cluster/test_runs.py::test_x", "-x"])
    cluster, unit = order.suites
    assert cluster.paths == ("tests/cluster/test_faults.py", "tests/cluster/test_runs.py::test_x")
    assert (cluster.on_cluster, cluster.processes, cluster.marks) == (True, 1, "")
    assert (unit.paths, unit.on_cluster, order.words) == (("tests/unit/web",), False, ("-x",))


@pytest.mark.parametrize("words", [["nothing"], ["tests"], ["tests/"], ["tests/bench/pods.py"], ["app/main.py"]])
def test_what_is_no_part_and_no_place_of_tests_is_refused(words: list[str]) -> None:
    with pytest.raises(Unknown):
        read_order(words)


def test_suites_can_be_left_out() -> None:
    left = read_order([]).without({"cluster", "faults", "helm"})
    assert [suite.name for suite in left.suites] == ["unit", "contract", "integration", "browser", "kill"]
    assert len(left.stages) == 2


def test_several_processes_keep_groups_together_and_their_order() -> None:
    line = " ".join(command(SUITES["cluster"], "r.xml", ["-x"]))
    assert line.startswith(f"-m pytest tests/cluster {CHART_ON_CLUSTER} --junitxml=r.xml -m (not (")
    assert "--dist loadgroup --no-loadscope-reorder" in line and line.endswith(" -x")
    assert " -n " not in " ".join(command(SUITES["faults"], "r.xml"))


def test_a_choice_by_marks_is_made_among_the_tests_of_the_suite() -> None:
    line = command(SUITES["faults"], "r.xml", ("-m", "slow or not x", "-q"))
    assert line.count("-m") == 2 and line[line.index("-m", 2) + 1] == f"({ALONE}) and (slow or not x)" and line[-1] == "-q"


def test_what_belongs_to_an_option_is_no_path() -> None:
    order = read_order(["./tests/unit/web", "--deselect", "tests/unit/web/test_x.py::test_y", "-q"])
    assert order.suites[0].paths == ("tests/unit/web",)
    assert order.words == ("--deselect", "tests/unit/web/test_x.py::test_y", "-q")
    assert read_order(["unit", "--ignore", "tests/unit/web"]).words == ("--ignore", "tests/unit/web")


def test_a_part_and_a_path_are_not_mixed() -> None:
    with pytest.raises(Unknown, match=r"tests/contract/x\.py"):
        read_order(["unit", "tests/contract/x.py"])
