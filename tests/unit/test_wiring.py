"""What wiring must guarantee of every process."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from app.wiring import build_services
from config.settings import Settings


@pytest.mark.trap("R3")
def test_two_processes_with_one_pid_are_told_apart(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/x.sqlite",
        redis_url="redis://127.0.0.1:1/0",
        secret_key="x" * 40,
        state_dir=str(tmp_path),
    )
    ids = {uuid.UUID(build_services(settings).process_id) for _ in range(3)}
    assert len(ids) == 3
