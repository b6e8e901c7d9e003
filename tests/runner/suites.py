"""The table of suites: where each one's tests are, in how many processes they run, and what they need. No I/O.

Processes are few: this is for two cores. What mostly waits gets more than what computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

ALONE = "parts or alone"


@dataclass(frozen=True)
class Suite:
    """Tests that run in one go. `marks` chooses among those of the paths, less those that are `left_out` to another
    suite; `needs` names programs (see needs.py).
    """

    name: str
    paths: tuple[str, ...]
    processes: int
    needs: tuple[str, ...] = ()
    marks: str = ""
    left_out: tuple[str, ...] = ()
    on_cluster: bool = False

    @property
    def part(self) -> str:
        """The folder of tests that it is made of."""
        return self.paths[0].split("/")[1]


# The chart's manifests, as a real API server sees them.
CHART_ON_CLUSTER = "tests/helm/test_server.py"
SUITES = {
    suite.name: suite
    for suite in (
        Suite("unit", ("tests/unit",), 2),
        Suite("contract", ("tests/contract",), 2, ("redis", "postgresql")),
        Suite("helm", ("tests/helm",), 2, ("helm", "prometheus"), left_out=(CHART_ON_CLUSTER,)),
        Suite("integration", ("tests/integration",), 3, ("redis", "postgresql", "nodejs", "nginx")),
        Suite("browser", ("tests/browser",), 2, ("redis", "postgresql", "chromium")),
        Suite("kill", ("tests/kill",), 2, ("redis", "postgresql")),
        Suite("cluster", ("tests/cluster", CHART_ON_CLUSTER), 3, ("redis", "postgresql"), f"not ({ALONE})", on_cluster=True),
        # What disturbs everybody on the cluster runs after the others, one test at a time.
        Suite("faults", ("tests/cluster",), 1, ("redis", "postgresql"), ALONE, on_cluster=True),
    )
}
LINT = "lint"
# What runs side by side, stage after stage; the images for the cluster are built during the first.
STAGES: tuple[tuple[str, ...], ...] = (
    (LINT, "unit", "contract", "helm"),
    ("cluster",),
    ("faults",),
    ("integration", "browser", "kill"),
)
# Parts of several suites; every other part is the suite of that name.
PARTS: dict[str, tuple[str, ...]] = {
    "all": tuple(name for stage in STAGES for name in stage),
    "quick": (LINT, "unit", "contract"),
    "cluster": ("cluster", "faults"),
}


# Options of pytest whose value could be taken for a path.
TAKES_VALUE = frozenset({"-c", "-k", "-m", "-o", "-p", "--confcutdir", "--deselect", "--ignore", "--ignore-glob", "--rootdir"})


class Unknown(Exception):
    """There is no such part and no such file."""


@dataclass(frozen=True)
class Order:
    """What is to be run: suites by stages (`LINT` among them or not), and further words for pytest."""

    part: str
    stages: tuple[tuple[Suite, ...], ...]
    lint: bool = False
    words: tuple[str, ...] = ()

    @property
    def suites(self) -> tuple[Suite, ...]:
        """All suites, in the order in which they begin."""
        return tuple(suite for stage in self.stages for suite in stage)

    def without(self, names: set[str]) -> Order:
        """Return the same without these suites."""
        left = (tuple(suite for suite in stage if suite.name not in names) for stage in self.stages)
        return replace(self, stages=tuple(stage for stage in left if stage))


def read_order(words: Sequence[str]) -> Order:
    """Read a command line: `[PART] [PYTEST ARGUMENT...]`, or `PATH... [PYTEST ARGUMENT...]`. Raises: Unknown."""
    part, *rest = words or ["all"]
    paths, others = _paths(words)
    if part in PARTS or part in SUITES:
        if paths:
            raise Unknown(f"{part} is a part and {paths[0]} a path; give one or the other")
        names = PARTS.get(part, (part,))
        # What is left out to another suite is only left out where that runs too.
        suites = {name: SUITES[name] if "cluster" in names else replace(SUITES[name], left_out=()) for name in SUITES}
        wanted = (tuple(suites[name] for name in stage if name in names and name in suites) for stage in STAGES)
        return Order(part, tuple(stage for stage in wanted if stage), LINT in names, tuple(rest))
    if not is_path(part):
        raise Unknown(f"unknown part {part}; one of: {' '.join(sorted({*PARTS, *SUITES}))}, or files below tests/")
    return Order("files", tuple((suite,) for suite in suites_of(paths)), words=others)


def _paths(words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the paths among the words, and the other words. What follows an option with a value is its value."""
    paths: list[str] = []
    others: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        if is_path(word) and before not in TAKES_VALUE:
            paths.append(word.removeprefix("./"))
        else:
            others.append(word)
    return paths, tuple(others)


def is_path(word: str) -> bool:
    """Say whether a word of the command line is a place of tests, with or without a test's name."""
    place = word.removeprefix("./")
    return place.startswith("tests/") and place.rstrip("/") != "tests"


def suites_of(paths: Sequence[str]) -> list[Suite]:
    """Return a suite for each part that the paths lie in: these paths, in one process. Raises: Unknown."""
    found: dict[str, Suite] = {}
    for path in paths:
        place = path.split("::")[0]
        part = "cluster" if place == CHART_ON_CLUSTER else place.split("/")[1]
        if part not in SUITES:
            raise Unknown(f"{path} is no place of tests; those are tests/{'|'.join(sorted({s.part for s in SUITES.values()}))}")
        earlier = found.get(part)
        found[part] = replace(SUITES[part], paths=(*(earlier.paths if earlier else ()), path), processes=1, marks="", left_out=())
    return list(found.values())


def command(suite: Suite, report: str, words: Sequence[str] = ()) -> list[str]:
    """Return pytest's command line, after the interpreter: the report goes to that file.

    The words may choose by marks too, among the tests of the suite: of several `-m`, pytest itself would heed the last.
    """
    line = ["-m", "pytest", *suite.paths, f"--junitxml={report}"]
    line += [f"--ignore={path}" for path in suite.left_out]
    marks = [suite.marks] if suite.marks else []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "-m" and left:
            marks.append(left.pop(0))
        else:
            rest.append(word)
    if marks:
        line += ["-m", " and ".join(f"({one})" for one in marks)]
    if suite.processes > 1:
        # Long groups come first by tests/conftest.py; pytest-xdist would put those of many tests there.
        line += ["-n", str(suite.processes), "--dist", "loadgroup", "--no-loadscope-reorder"]
    return [*line, *rest]
