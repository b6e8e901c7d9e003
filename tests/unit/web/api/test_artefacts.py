"""Artefacts over HTTP: who sees them, as what they are sent, and that no name leads anywhere else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from app.domain.runs.artefacts import Artefact, ArtefactState, folder_of
from app.service import artefacts as use_cases
from app.store.engine import make_engine
from app.web.api.artefacts import disposition
from tests.unit.web.doubles import Site

NAMES = ["a.txt", "sub/ünï\n.html", '"quo;te\\', "..x/...", "%2e%2e", "a?b#c", "nul-is-not-there"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "storage").mkdir()
    return Site(tmp_path, workspaces_dir=str(tmp_path / "storage"), workspaces_keep_s=3600.0)


def change(site: Site, statement: str, **values: object) -> None:
    engine = make_engine(site.settings.database_url)
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def keep(site: Site, names: list[str], data: bytes = b"0123456789", attempt: int = 1, message: str = "") -> str:
    """Make a run of Ann's that has ended and left these files."""
    run_id = site.submit()["id"] if attempt == 1 else site.services.store.runs.list(None)[0].id
    change(site, "UPDATE runs SET status = 'running', token = 1, attempt = :n, started_at = 1 WHERE id = :r", r=run_id, n=attempt)
    run = site.services.store.runs.get(run_id)
    assert run and site.services.workspaces
    files = [Artefact(number, name, len(data), 1.5) for number, name in enumerate(names, 1)]
    with site.services.workspaces.draft(folder_of(run), attempt, 1) as draft:
        for file in files:
            draft.begin(file.number, file.name)
            draft.write(data)
        draft.end()
    holding, _ = site.services.store.artefacts.begin(run, 10.0)
    kept = replace(
        holding, state=ArtefactState.KEPT, storage=site.services.workspaces.storage_id(), files=len(files), message=message
    )
    site.services.store.artefacts.settle(run, replace(kept, size_bytes=len(data) * len(files)), files)
    end = "status = 'succeeded', reason = 'Completed', message = 'Done.', ended_at = created_at + 10"
    change(site, f"UPDATE runs SET {end} WHERE id = :r", r=run_id)
    return run_id


@pytest.mark.trap("W4")
def test_every_file_is_a_download_under_the_address_that_the_list_gives(site):
    run = keep(site, NAMES)
    page = site.client().get(f"/v1/runs/{run}/artefacts").get_json()
    assert [item["name"] for item in page["items"]] == NAMES and page["files"] == len(NAMES) and page["next"] is None
    for item in page["items"]:
        answer = site.client().get(item["url"])
        assert (answer.status_code, answer.data) == (200, b"0123456789"), item
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="')
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.mimetype == "application/octet-stream"
        assert "sandbox" in answer.headers["Content-Security-Policy"] and answer.headers["Cache-Control"] == "no-store"


@pytest.mark.trap("W4")
@pytest.mark.parametrize(
    "path", ["../a.txt", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "000001-a.txt", "a.txt/", "A.TXT", "x%00", "%ff"]
)
def test_a_name_that_is_not_listed_is_nothing(site, path):
    run = keep(site, ["a.txt"])
    assert site.client().get(f"/v1/runs/{run}/artefacts/{path}").status_code == 404


def test_ranges_and_heads(site):
    run = keep(site, ["a"])
    path = f"/v1/runs/{run}/artefacts/a"
    part = site.client().get(path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.data, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert site.client().get(path, headers={"Range": "bytes=10-"}).status_code == 416
    head = site.client().head(path)
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", "10")


def test_no_descriptor_is_left_open(site):
    run = keep(site, ["a"])
    before = len(os.listdir("/proc/self/fd"))
    for headers in ({}, {"Range": "bytes=2-4"}, {"Range": "bytes=99-"}):
        for _ in range(5):
            site.client().get(f"/v1/runs/{run}/artefacts/a", headers=headers).close()
            site.client().head(f"/v1/runs/{run}/artefacts/a", headers=headers).close()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_only_who_sees_the_run_sees_what_it_left(site):
    run = keep(site, ["a"])
    for path in (f"/v1/runs/{run}/artefacts", f"/v1/runs/{run}/artefacts/a"):
        codes = [site.client(name).get(path).status_code for name in ("ann", "root", "bob", None)]
        assert codes == [200, 200, 404, 401]
        assert site.client().post(path).status_code == 405


def test_pages_and_attempts(site):
    run = keep(site, [f"f{number}" for number in range(5)])
    keep(site, ["again"], attempt=2)
    first = site.client().get(f"/v1/runs/{run}/artefacts?attempt=1&limit=3").get_json()
    second = site.client().get(first["next"]).get_json()
    assert [item["name"] for item in first["items"] + second["items"]] == [f"f{number}" for number in range(5)]
    last = site.client().get(f"/v1/runs/{run}/artefacts").get_json()
    assert (last["attempt"], last["attempts"], [item["name"] for item in last["items"]]) == (2, [1, 2], ["again"])
    assert site.client().get(f"/v1/runs/{run}/artefacts/f0").status_code == 404
    assert site.client().get(f"/v1/runs/{run}/artefacts/f0?attempt=1").status_code == 200
    for query in ("attempt=3", "attempt=0", "limit=0", "limit=1001", "cursor=x", "other=1"):
        assert site.client().get(f"/v1/runs/{run}/artefacts?{query}").status_code in (400, 404, 422)


def test_a_run_that_has_left_nothing_yet(site):
    run = site.submit()["id"]
    page = site.client().get(f"/v1/runs/{run}/artefacts").get_json()
    assert (page["state"], page["items"], page["kept_until"]) == ("none", [], None)
    assert site.client().get(f"/v1/runs/{run}/artefacts/a").status_code == 404


@pytest.mark.trap("W5")
def test_what_was_removed_says_so_and_what_is_not_due_stays(site, tmp_path):
    run, other = keep(site, ["a"]), keep(site, ["a"])
    assert use_cases.remove_expired(site.services) == 0
    change(site, "UPDATE runs SET ended_at = ended_at - 4000 WHERE id = :r", r=run)
    change(site, "UPDATE artefacts SET began_at = began_at - 4000 WHERE run_id = :r", r=run)
    assert use_cases.remove_expired(site.services) == 1
    for path in (f"/v1/runs/{run}/artefacts", f"/v1/runs/{run}/artefacts/a", f"/v1/runs/{run}/artefacts?attempt=1"):
        problem = site.client().get(path)
        assert (problem.status_code, problem.get_json()["code"]) == (410, "artefacts_removed")
        assert problem.get_json()["detail"] == "The artefacts of this run were removed 1 h after its end."
    assert "removed 1 h after its end" in site.client().get(f"/runs/{run}").text
    assert site.client().get(f"/v1/runs/{other}/artefacts/a").status_code == 200
    assert [path.name for path in (tmp_path / "storage").glob("*/*")] == [other]


def test_a_removal_that_fails_is_left_to_the_next_who_may_try(site, tmp_path, monkeypatch):
    run = keep(site, ["a"])
    change(site, "UPDATE runs SET ended_at = ended_at - 4000 WHERE id = :r", r=run)
    change(site, "UPDATE artefacts SET began_at = began_at - 4000 WHERE run_id = :r", r=run)
    with monkeypatch.context() as broken:
        broken.setattr("shutil.rmtree", lambda *words, **named: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        assert use_cases.remove_expired(site.services) == 0
    assert site.client().get(f"/v1/runs/{run}/artefacts/a").status_code == 410, "what is being removed is not read"
    assert use_cases.remove_expired(site.services) == 0, "its claim holds for a while"
    change(site, "UPDATE artefacts SET until = until - 1000")
    assert use_cases.remove_expired(site.services) == 1 and not list((tmp_path / "storage").glob("*/*"))


def test_old_folders_of_nobody_are_told_of_and_left_alone(site, tmp_path, caplog):
    run = keep(site, ["a"])
    lost = tmp_path / "storage/agent" / ("r" + "b" * 19)
    young = tmp_path / "storage/agent" / ("r" + "c" * 19)
    for folder in (lost, young):
        folder.mkdir(parents=True)
    for folder in (lost, tmp_path / "storage" / "ann" / run):
        os.utime(folder, (1, 1))
    assert use_cases.find_unknown(site.services) == 1
    assert lost.name in caplog.text and lost.is_dir() and young.is_dir()


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("sub/a.txt", 'attachment; filename="a.txt"'),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ('q"\\ü', "attachment; filename=\"q___\"; filename*=UTF-8''q%22%5C%C3%BC"),
    ],
)
def test_a_hostile_name_stays_within_its_header(name, header):
    assert disposition(name) == header


def test_the_page_of_a_finished_run_links_to_them(site):
    run = keep(site, ["<script>.txt", "sub/x", "bi\u202edi"], message="Not kept: 1 (symbolic links).")
    page = site.client().get(f"/runs/{run}").text
    assert "&lt;script&gt;.txt" in page and "<script>.txt" not in page and "\u202e" not in page
    assert f"/v1/runs/{run}/artefacts/sub/x?attempt=1" in page and "Not kept: 1 (symbolic links)." in page
    assert "Artefacts" not in site.client().get(f"/runs/{site.submit()['id']}").text
