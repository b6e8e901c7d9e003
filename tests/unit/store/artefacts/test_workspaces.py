"""The storage of artefacts: only one run's own folder is ever written or removed, and no link is followed."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.errors import ArtefactMissing, WorkspacesUnavailable
from app.domain.runs.artefacts import Artefact, ArtefactState, Holding, file_name
from app.store.artefacts.workspaces import MARK, Workspaces

RUN, OTHER = "r" + "a" * 19, "r" + "b" * 19
FILE = Artefact(1, "sub/a.txt", 4, 1.0)


@pytest.fixture
def storage(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path)


def keep(storage: Workspaces, run: str = RUN, attempt: int = 1, token: int = 1, data: bytes = b"data") -> Holding:
    with storage.draft(("agent", run), attempt, token) as draft:
        draft.begin(1, FILE.name)
        draft.write(data)
        draft.end()
    return Holding(run, attempt, ArtefactState.KEPT, 1.0, token=token, storage=storage.storage_id(), files=1)


def read(storage: Workspaces, holding: Holding, file: Artefact = FILE) -> bytes:
    fd = storage.open(("agent", holding.run_id), holding, file)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


@pytest.mark.trap("W3")
def test_a_second_draft_clears_its_own_folder_and_nothing_else(storage):
    others = [keep(storage, OTHER), keep(storage, attempt=2), keep(storage, token=2)]
    with storage.draft(("agent", RUN), 1, 1) as draft:
        draft.begin(7, "left over")
    mine = keep(storage, data=b"mine")
    assert read(storage, mine) == b"mine" and all(read(storage, other) == b"data" for other in others)
    with pytest.raises(ArtefactMissing):
        read(storage, mine, replace(FILE, number=7))


@pytest.mark.trap("W3")
def test_a_draft_that_fails_leaves_nothing_and_takes_nothing_along(storage, tmp_path):
    other = keep(storage, OTHER)
    with pytest.raises(ZeroDivisionError), storage.draft(("agent", RUN), 1, 1) as draft:
        draft.begin(1, "a")
        raise ZeroDivisionError
    assert not list(tmp_path.glob(f"agent/{RUN}/*")) and read(storage, other) == b"data"


@pytest.mark.trap("W5")
def test_removing_a_run_removes_that_run_only(storage, tmp_path):
    mine, other = keep(storage), keep(storage, OTHER)
    for _ in range(2):
        storage.remove(("agent", RUN))
    assert read(storage, other) == b"data"
    with pytest.raises(ArtefactMissing):
        read(storage, mine)
    storage.remove(("agent", OTHER))
    assert not (tmp_path / "agent").exists() and tmp_path.is_dir()


@pytest.mark.trap("W4")
@pytest.mark.parametrize(
    "place", [("..", RUN), ("", RUN), (".", RUN), ("a/b", RUN), ("agent", ".."), ("agent", ""), ("agent", "x")]
)
def test_nothing_but_a_run_s_folder_is_removed(tmp_path, place):
    root = tmp_path / "root"
    (root / "agent").mkdir(parents=True)
    (tmp_path / RUN).mkdir()
    with pytest.raises(WorkspacesUnavailable):
        Workspaces(root).remove(place)
    assert (tmp_path / RUN).is_dir() and (root / "agent").is_dir()


@pytest.mark.trap("W4")
def test_links_in_the_storage_are_not_followed(storage, tmp_path):
    holding = keep(storage)
    secret = tmp_path.parent / "secret"
    secret.mkdir()
    (secret / file_name(1, FILE.name)).write_bytes(b"secret")
    file = tmp_path / "agent" / RUN / "1-1" / file_name(1, FILE.name)
    file.unlink()
    file.symlink_to(secret / file.name)
    with pytest.raises(WorkspacesUnavailable):
        read(storage, holding)
    file.unlink()
    file.parent.rmdir()
    file.parent.symlink_to(secret)
    with pytest.raises(WorkspacesUnavailable):
        read(storage, holding)
    storage.remove(("agent", RUN))
    assert (secret / file.name).read_bytes() == b"secret"


def test_a_fifo_in_the_place_of_a_file_holds_nobody_up(storage, tmp_path):
    holding = keep(storage)
    file = tmp_path / "agent" / RUN / "1-1" / file_name(1, FILE.name)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ArtefactMissing):
        read(storage, holding)


def test_what_an_overtaken_supervisor_left_goes_and_the_rest_stays(storage):
    first, second, next_attempt, tenth = (keep(storage, attempt=a, token=t) for a, t in ((1, 1), (1, 2), (2, 3), (11, 1)))
    storage.settle(("agent", RUN), 1, 2)
    assert all(read(storage, one) == b"data" for one in (second, next_attempt, tenth))
    with pytest.raises(ArtefactMissing):
        read(storage, first)


def test_another_storage_is_told_from_this_one(storage, tmp_path):
    holding = keep(storage)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(WorkspacesUnavailable, match="another storage"):
        read(Workspaces(other), holding)


def test_a_storage_that_is_not_there_is_never_made(tmp_path):
    storage = Workspaces(tmp_path / "missing")
    for use in (
        storage.storage_id,
        lambda: keep(storage),
        lambda: storage.remove(("agent", RUN)),
        lambda: list(storage.run_folders()),
    ):
        with pytest.raises(WorkspacesUnavailable, match="not there on this replica"):
            use()
    assert not (tmp_path / "missing").exists()


def test_of_many_that_name_a_storage_at_once_one_wins(tmp_path):
    barrier, names = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait(10)
        names.append(Workspaces(tmp_path).storage_id())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 8 and len(set(names)) == 1 and [path.name for path in tmp_path.iterdir()] == [MARK]


def test_folders_of_runs_are_found(storage, tmp_path):
    keep(storage)
    keep(storage, OTHER)
    (tmp_path / "agent/lost+found").mkdir()
    assert {run for run, _ in storage.run_folders()} == {RUN, OTHER}
