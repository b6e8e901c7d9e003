"""Fixtures of the pages' unit tests: a browser without JavaScript, signed in as Ann."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.store.schema.migrate import migrate
from tests.unit.web.doubles import Site
from tests.unit.web.pages.browser import Browser


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables, to copy: making them takes longer than a test."""
    path = tmp_path_factory.mktemp("tables") / "podwire.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def folder(tables: Path, tmp_path: Path) -> Path:
    shutil.copy(tables, tmp_path)
    return tmp_path


@pytest.fixture
def site(folder: Path) -> Site:
    return Site(folder)


@pytest.fixture
def ann(site: Site) -> Browser:
    return Browser(site).sign_in("ann")


@pytest.fixture
def root(site: Site) -> Browser:
    return Browser(site).sign_in("root")
