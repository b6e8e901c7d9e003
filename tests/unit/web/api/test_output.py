"""Recorded output over HTTP, whole and in ranges."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.queue.admission import Limits
from app.domain.runs.events import Entry, Kind, encode, output_fields
from app.domain.runs.run import Progress
from app.store.log.chunks import Chunk
from tests.unit.web.doubles import Site


def _write(site: Site, run_id: str, data: bytes) -> None:
    run = site.services.store.leases.claim(run_id, "process", 20)
    if run is None:
        raise AssertionError("not claimed")
    half = len(data) // 2
    parts = [(1, 0, data[:half]), (2, half, data[half:])]
    entries = [Entry(seq, encode(1, seq, 1.0, Kind.OUTPUT, output_fields("stdout", at, part))) for seq, at, part in parts]
    chunk = Chunk.pack(entries, 1, 0, len(data), 0)
    site.services.store.log.archive(run_id, run.token, chunk, Progress(1, 2, len(data), 0))


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        (None, 200, slice(None)),
        ("bytes=0-", 206, slice(None)),
        ("bytes=3-6", 206, slice(3, 7)),
        ("bytes=-4", 206, slice(-4, None)),
        ("bytes=-400", 206, slice(None)),
        ("bytes=5-900", 206, slice(5, None)),
        ("bytes=10-", 416, None),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
        ("bytes=x", 200, slice(None)),
    ],
)
def test_output_is_served_in_ranges(tmp_path: Any, asked: str | None, status: int, expected: slice | None) -> None:
    site = Site(tmp_path, Limits(10, 10, 10, 10))
    run, data = site.submit()["id"], b"0123\r\n\xff\x00ab"
    assert site.client().get(f"/v1/runs/{run}/output").data == b""
    _write(site, run, data)
    answer = site.client().get(f"/v1/runs/{run}/output", headers={"Range": asked} if asked else {})
    assert answer.status_code == status
    if expected is None:
        assert answer.headers["Content-Range"] == "bytes */10"
        return
    assert answer.data == data[expected] and int(answer.headers["Content-Length"]) == len(answer.data)
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in answer.headers["Content-Security-Policy"]
    if status == 206:
        start, stop, _ = expected.indices(len(data))
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/10"
    saved = site.client().get(f"/v1/runs/{run}/output?download=1")
    assert saved.mimetype == "application/octet-stream" and saved.headers["Content-Disposition"].startswith("attachment")
    head = site.client().head(f"/v1/runs/{run}/output")
    assert (head.headers["Content-Length"], head.data) == ("10", b"")
