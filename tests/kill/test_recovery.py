"""Every cell of the matrix of recovery once (see recovery.py); the table is printed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill.recovery import CELLS, Matrix
from tests.servers import Postgres


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """A service with a database server of its own, since that is restarted too."""
    postgres = Postgres(max_connections=300)
    made = None
    try:
        postgres.start()
        made = Matrix(postgres)
        made.podwire.start()
        yield made
        print(made.table())
    finally:
        if made is not None:
            made.podwire.stop()
        postgres.remove()


def cell(who: str, when: str) -> object:
    """Return the parameters; all that happen to one stay together."""
    return pytest.param(who, when, id=f"{who}-{when}", marks=pytest.mark.xdist_group(f"recovery of {who}"))


@pytest.mark.kill
@pytest.mark.parametrize(("who", "when"), [cell(who, when) for who, when in CELLS])
def test_two_runs_live_through_it(matrix: Matrix, tmp_path: Path, who: str, when: str) -> None:
    complaints = matrix.play(who, when, tmp_path)
    assert not complaints, "\n".join([*complaints[:20], matrix.podwire.tails()])
