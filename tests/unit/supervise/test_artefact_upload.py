"""Keeping what a program left: before the end is told, whoever supervises, and never at the price of the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.domain.errors import AttemptGone, LinkLost
from app.domain.ports import Attempt
from app.domain.runs.artefacts import ArtefactRules, ArtefactState, Found, Holding, LeftOut, folder_of
from app.domain.runs.retry import Retries, Retry
from app.store.artefacts.artefacts import ArtefactStore
from app.store.artefacts.workspaces import Workspaces
from app.supervise import artefact_upload
from app.supervise.artefact_storage import ArtefactStorage
from tests.unit.supervise.doubles import RUN_ID
from tests.unit.supervise.stage import STARTED, Killed, Play, Stage, exit_with

Steps = list[Found | bytes | LeftOut | BaseException]
ONE: Steps = [Found(b"a", 1.5), b"12", b"34", Found(b"sub/\xff", 2.5), LeftOut({"links": 1})]


@dataclass
class PlayCollector:
    """Gives what is written down for each attempt, one list for each time it is asked; the last one again and again."""

    plays: dict[int, list[Steps]] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def collect(self, attempt: Attempt, max_files: int, max_bytes: int) -> Iterator[Found | bytes | LeftOut]:
        self.asked.append(attempt.number)
        plays = self.plays[attempt.number]
        for step in plays.pop(0) if len(plays) > 1 else plays[0]:
            if isinstance(step, BaseException):
                raise step
            yield step


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact_upload, "RETRY_S", 0.0)


def stage_of(
    engine, root: Path, *plays: list[Steps], rules: ArtefactRules | None = None, parts: list[Play] | None = None, **spec
):
    stage = Stage(engine, *(parts or [Play([STARTED, exit_with(0)])]), **spec)
    collector = PlayCollector(dict(enumerate(plays, 1)))
    stage.artefact_storage = ArtefactStorage(collector, Workspaces(root), ArtefactStore(engine), rules or ArtefactRules())
    return stage, collector


def holdings(stage: Stage) -> list[Holding]:
    return stage.artefact_storage.store.of_run(RUN_ID)


def on_disk(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("*/*/*/*")}


def test_files_are_kept_before_the_end_is_told(engine, root):
    stage, _ = stage_of(engine, root, [ONE])
    removed_when_asked = []
    real = stage.artefact_storage.collector.collect
    stage.artefact_storage.collector.collect = lambda *words: (
        removed_when_asked.append(stage.launcher.plays[1].removed) or real(*words)
    )
    run = stage.play()
    (found,) = holdings(stage)
    assert run.status == "succeeded" and removed_when_asked == [0]
    assert (found.state, found.files, found.size_bytes, found.left_out) == (ArtefactState.KEPT, 2, 4, 1)
    assert found.message == "Not kept: 1 (symbolic links)."
    files = stage.artefact_storage.store.files(RUN_ID, 1, 0, 10)
    assert [(file.name, file.size_bytes, file.modified_at) for file in files] == [("a", 4, 1.5), ("sub/\\xff", 0, 2.5)]
    assert folder_of(run) == ("ann", RUN_ID)
    assert on_disk(root) == {f"ann/{RUN_ID}/1-1/000001-a": b"1234", f"ann/{RUN_ID}/1-1/000002-xff": b""}


def test_a_lost_link_is_tried_again_from_the_beginning(engine, root):
    stage, collector = stage_of(engine, root, [[Found(b"a", 1.0), b"half", LinkLost()], [Found(b"b", 1.0)], ONE])
    assert stage.play().status == "succeeded"
    assert collector.asked == [1, 1, 1] and holdings(stage)[0].files == 2 and len(on_disk(root)) == 2


def test_a_supervisor_that_dies_over_it_leaves_it_to_the_next(engine, root):
    stage, collector = stage_of(engine, root, [[Found(b"a", 1.0), b"half", Killed()], ONE])
    leftover = root / "ann" / RUN_ID / "1-99" / "000001-a"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"of a supervisor that was killed over it")
    stage.play("here")
    (found,) = holdings(stage)
    assert collector.asked == [1, 1] and (found.token, found.files) == (2, 2)
    assert set(on_disk(root)) == {f"ann/{RUN_ID}/1-2/000001-a", f"ann/{RUN_ID}/1-2/000002-xff"}


def test_what_was_kept_is_not_collected_again_after_a_takeover(engine, root):
    stage, collector = stage_of(engine, root, [ONE])
    real, calls = stage.artefact_storage.store.settle, []

    def dies_after(*words):
        real(*words)
        calls.append(words)
        raise Killed

    stage.artefact_storage.store.settle = dies_after
    stage.play("after settling")
    assert collector.asked == [1] and len(calls) == 1 and len(on_disk(root)) == 2
    assert (holdings(stage)[0].token, holdings(stage)[0].files) == (1, 2), "the folder that SQL names is the one that is there"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock that deadlines are judged by; `ahead` is by how much it has been put forward."""
    made = SimpleNamespace(ahead=0.0)
    made.monotonic = lambda: time.monotonic() + made.ahead
    monkeypatch.setattr(artefact_upload, "time", made)
    return made


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize(
    ("fault", "words"),
    [(AttemptGone("the run's pod is gone."), "is gone: the run's pod"), (LinkLost("no way."), "could not be kept: no way")],
)
def test_what_cannot_be_kept_is_told_and_the_run_ends(engine, root, clock, fault, words, tries):
    asked = []

    def failing(attempt, max_files, max_bytes):
        asked.append(attempt)
        yield Found(b"a", 1.0)
        yield b"x"
        # The deadline passes now, or between this try and the next one.
        clock.ahead = 1000.0 if len(asked) == tries else 0.0
        raise fault

    stage, collector = stage_of(engine, root, [ONE])
    collector.collect = failing
    assert stage.play().status == "succeeded"
    (found,) = holdings(stage)
    assert (found.state, found.files) == (ArtefactState.LOST, 0) and words in found.message
    assert on_disk(root) == {} and len(asked) == (tries if isinstance(fault, LinkLost) else 1)


def test_a_collection_that_takes_too_long_is_given_up(engine, root, clock):
    def endless(attempt, max_files, max_bytes):
        yield Found(b"a", 1.0)
        for _ in range(100_000):
            clock.ahead += 1.0
            yield b""

    stage, collector = stage_of(engine, root, [ONE])
    collector.collect = endless
    assert stage.play().status == "succeeded"
    assert holdings(stage)[0].message == "What the program left could not be kept: It took too long." and on_disk(root) == {}


def test_a_full_storage_holds_no_run_up(engine, root, monkeypatch):
    stage, collector = stage_of(engine, root, [ONE])

    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.store.artefacts.workspaces.Draft.write", full)
    assert stage.play().status == "succeeded"
    assert holdings(stage)[0].message == "What the program left could not be kept: The storage of artefacts is full."
    assert collector.asked == [1] and on_disk(root) == {}


@pytest.mark.parametrize("steps", [[Found(b"a", 1.0), b"x" * 11], [Found(b"%d" % number, 1.0) for number in range(4)]])
def test_the_limits_hold_whatever_the_other_side_sends(engine, root, steps):
    stage, _ = stage_of(engine, root, [[*steps, LeftOut()]], rules=ArtefactRules(3, 10))
    stage.play()
    assert holdings(stage)[0].state is ArtefactState.LOST and on_disk(root) == {}


@pytest.mark.trap("W1")
def test_each_attempt_has_a_folder_of_its_own(engine, root):
    parts = [Play([STARTED, exit_with(1)]), Play([STARTED, exit_with(0)])]
    plays = [[Found(b"a", 1.0), b"first", LeftOut()]], [[Found(b"a", 1.0), b"second", LeftOut()]]
    stage, collector = stage_of(engine, root, *plays, parts=parts, retry=Retry(2, ("NonZeroExit",)))
    stage.retries = Retries(3, 0.0)
    stage.play()
    stage.play()
    assert collector.asked == [1, 2] and [each.files for each in holdings(stage)] == [1, 1]
    assert sorted(on_disk(root).values()) == [b"first", b"second"]


def test_where_the_agent_saw_nothing_neither_link_nor_storage_is_needed(engine, root):
    stage, collector = stage_of(engine, root, [ONE], parts=[Play([STARTED, exit_with(0, artefacts=False)])])
    root.rmdir()
    assert stage.play().status == "succeeded" and collector.asked == []
    assert (holdings(stage)[0].state, holdings(stage)[0].files) == (ArtefactState.KEPT, 0)


def test_nothing_is_collected_of_an_attempt_whose_program_never_began(engine, root):
    stage, collector = stage_of(engine, root, [ONE], parts=[Play([exit_with(127)])])
    stage.play()
    assert collector.asked == [] and holdings(stage) == []
