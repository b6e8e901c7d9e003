"""What `podwire show` says of a run in words."""

from __future__ import annotations

from app.cli.commands.show import in_words

PHASES = {
    "queued": "2026-11-21T13:00:00.000Z",
    "claimed": "2026-11-21T13:00:00.400Z",
    "started": "2026-11-21T13:00:01.000Z",
    "first_byte": None,
    "ended": "2026-11-21T13:00:13.500Z",
}


def test_use_and_evidence_are_sentences() -> None:
    mib = 1024 * 1024
    use = {"memory_bytes": 5 * mib, "peak_memory_bytes": 6 * mib, "memory_limit_bytes": 64 * mib}
    run = {
        "id": "r",
        "use": {**use, "cpu_seconds": 1.5, "cpu_cores": 0.5},
        "outcome": {"peak_memory_bytes": 6 * mib, "cpu_seconds": 1.5},
        "evidence": {"node": "node1", "image": None, "memory_limit_bytes": 64 * mib, "phases": PHASES},
    }
    shown = in_words(run)
    assert shown["id"] == "r"
    assert shown["use"] == "5 MiB of 64 MiB memory, at most 6 MiB; CPU 0.50 cores, 1.5 s so far"
    assert shown["evidence"] == "Peak memory 6 MiB of 64 MiB (9 %), 1.5 s CPU, on node1; waited 0.4 s, started in 0.6 s, ran 12 s"


def test_a_wait_is_its_sentence() -> None:
    assert in_words({"id": "r", "wait": {"position": None, "message": "The cluster is full."}})["wait"] == "The cluster is full."
    assert in_words({"id": "r", "wait": None})["wait"] is None


def test_attempts_are_lines() -> None:
    lost = {"number": 1, "outcome": {"reason": "NodeLost", "message": "The node is gone."}}
    shown = in_words({"id": "r", "attempts": [lost, {"number": 2, "outcome": None}]})
    assert shown["attempts"] == ["1. NodeLost: The node is gone.", "2. has not ended"]


def test_a_server_that_tells_neither_is_shown_without() -> None:
    assert in_words({"id": "r", "outcome": None}) == {"id": "r", "outcome": None, "use": "", "evidence": ""}
