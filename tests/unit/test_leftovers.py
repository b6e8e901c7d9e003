"""The clean-up of tests kills by folder, so it must never take a folder that could be anybody's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.integration.cluster import must_be_own


@pytest.mark.parametrize("folder", ["", ".", "/", "state", "/tmp", "/tmp/../home"])
def test_a_folder_that_may_be_anybody_s_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="not a folder of this test's own"):
        must_be_own(Path(folder))


def test_a_folder_of_a_test_s_own_is_taken() -> None:
    must_be_own(Path(tempfile.gettempdir()) / "pw-test-x")
