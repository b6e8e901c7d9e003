"""Servers of tests that run side by side are never given the same port."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.servers import SHARE, free_port

ROOT = Path(__file__).resolve().parents[2]
TAKES = "from tests.servers import free_port; print(*(free_port() for _ in range(50)))"


def test_two_processes_have_no_port_in_common() -> None:
    ours = {free_port() for _ in range(50)}
    told = subprocess.run([sys.executable, "-c", TAKES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    theirs = set(map(int, told.split()))
    assert len(ours) == len(theirs) == 50 and not ours & theirs


def test_a_port_that_somebody_has_is_passed_over() -> None:
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        assert taken not in {free_port() for _ in range(SHARE)}
