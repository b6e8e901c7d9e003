"""Fixtures of the web's unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.web.doubles import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An application with people and no runs."""
    yield Site(tmp_path)
