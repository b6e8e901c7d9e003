"""The documents say what is so: settings, files, commands, statuses and reasons that they name exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.cli.main import main
from app.domain.runs.run import Status
from config.settings import NOT_SETTINGS, PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
TEXT = {path.name: path.read_text() for path in DOCUMENTS}


@pytest.mark.trap("G1")
def test_every_setting_that_is_named_exists() -> None:
    known = {PREFIX + field.name.upper() for field in fields(Settings)} | NOT_SETTINGS
    for name, text in TEXT.items():
        named = set(re.findall(r"\bPODWIRE_[A-Z_]+[A-Z]\b", text))
        assert {setting for setting in named if not setting.startswith("PODWIRE_TEST_")} <= known, name


@pytest.mark.trap("G1")
def test_every_setting_of_the_cluster_is_explained() -> None:
    named: set[str] = set()
    for row in re.findall(r"^\| (`PODWIRE_.*?) \|", TEXT["kubernetes.md"], flags=re.MULTILINE):
        # A row may shorten the names after its first: `PODWIRE_KUBE_A`, `_B`.
        named |= {PREFIX + "KUBE" + n if n.startswith("_") else n for n in re.findall(r"`(\w+)`", row)}
    assert {PREFIX + each.name.upper() for each in fields(Settings) if each.name.startswith("kube_")} - named == set()


@pytest.mark.trap("G1")
def test_every_file_that_is_named_exists() -> None:
    for name, text in TEXT.items():
        for path in re.findall(r"`((?:app|tasks|config|tests|scripts|docs)/[\w./-]*\w)`", text):
            assert (ROOT / path).exists(), f"{name}: {path}"
        for path in re.findall(r"\]\(([\w./-]+)\)", text):
            assert (ROOT / path).exists() or (ROOT / "docs" / path).exists(), f"{name}: {path}"


def test_the_map_of_folders_has_every_folder() -> None:
    rows = {
        path.rstrip("/"): row for path, row in re.findall(r"^\| `(app/[\w/.]+)` \|(.*)$", TEXT["ARCHITECTURE.md"], re.MULTILINE)
    }
    for package in (ROOT / "app").rglob("__init__.py"):
        top, *inner = package.parent.relative_to(ROOT / "app").parts or ("",)
        if top and "migrations" not in inner:
            assert f"app/{top}" in rows, top
            assert all(f"`{name}/`" in rows[f"app/{top}"] for name in inner), package


@pytest.mark.trap("G1")
def test_the_drawing_of_the_life_of_a_run_has_every_status() -> None:
    assert all(re.search(rf"\b{status}\b", TEXT["ARCHITECTURE.md"]) for status in Status)


@pytest.mark.trap("G1")
def test_every_command_that_the_readme_shows_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    offered = capsys.readouterr().out
    for command in set(re.findall(r"^(?:.*; +)?podwire (\w+)", TEXT["README.md"], flags=re.MULTILINE)):
        assert re.search(rf"\b{command}\b", offered), command


@pytest.mark.trap("G3")
def test_the_question_of_every_review_is_written_down() -> None:
    assert "three web replicas and two workers" in TEXT["CONTRIBUTING.md"]
    assert "What may stay local" in TEXT["CONTRIBUTING.md"]


@pytest.mark.trap("G4")
def test_no_document_asks_for_affinity() -> None:
    for name, text in TEXT.items():
        for before, after in re.findall(r"(\w+ +)?(?:session )?affinity(.{0,40})", text, flags=re.IGNORECASE | re.DOTALL):
            assert before.strip() in ("without", "no", "No", ""), f"{name}: {before}affinity{after}"
