"""Evidence: facts are kept as they were told, phases stand in their order, and the sentence says only what is known."""

from __future__ import annotations

from app.domain.runs.evidence import Evidence, decode, encode, phases, sentence, short_image

DIGEST = "docker.io/library/python@sha256:" + "ab" * 32
FULL = Evidence(1, "node1", DIGEST, 10.1, 10.4, 10.0, 10.0, 11.0, 11.2, 11.3, 23.25)


def test_what_is_stored_is_read_back_by_its_attempt_only() -> None:
    text = encode(FULL)
    assert decode(text, 1) == FULL
    assert decode(text, 2) == Evidence(2), "another attempt ran elsewhere"
    assert encode(Evidence(3)) is None and decode(None, 3) == Evidence(3)


def test_the_first_word_counts_and_nonsense_is_no_fact() -> None:
    known = Evidence().with_added(node="node1", created=5, nothing="x", image="", started=None, pulled="soon", scheduled=True)
    assert known == Evidence(node="node1", created=5.0)
    assert known.with_added(node="node2", started=7.5) == Evidence(node="node1", created=5.0, started=7.5)


def test_whole_seconds_of_a_cluster_do_not_run_before_what_led_to_them() -> None:
    known = phases(FULL, 10.05, 24.5)
    assert list(known) == [
        "queued", "dispatched", "claimed", "created", "scheduled", "pulled", "started", "first_byte", "exited", "ended",
    ]  # fmt: skip
    assert (known["created"], known["scheduled"], known["pulled"]) == (10.4, 10.4, 11.0)
    assert list(known.values()) == sorted(known.values())
    other_clock = phases(Evidence(claimed=10.4, created=8.0), 10.0, None)
    assert other_clock == {"queued": 10.0, "claimed": 10.4, "created": 8.0}, "a clock that is wrong by seconds is shown as it is"


def test_a_sentence_of_everything_and_of_little() -> None:
    measures = {"peak_memory_bytes": 412 * 1024**2, "memory_limit_bytes": 512 * 1024**2, "cpu_seconds": 3.2}
    assert sentence(measures, FULL.to_json(), phases(FULL, 10.0, 24.5)) == (
        "Peak memory 412 MiB of 512 MiB (80 %), 3.2 s CPU, on node1, image python@sha256:abababababab; "
        "waited 0.4 s, started in 0.8 s, ran 12 s"
    )
    assert sentence({"memory_limit_bytes": 1.0}, {}, {"queued": 1.0, "ended": 5.0}) == ""
    assert sentence({"peak_memory_bytes": 1024}, {}, {"claimed": 5.0, "started": 4.0}) == "Peak memory 1 KiB; started in 0 s"


def test_an_image_is_named_in_a_line() -> None:
    assert short_image(DIGEST) == "python@sha256:abababababab"
    assert short_image("registry:5000/team/tool:1.2") == "tool:1.2"
    assert short_image("sha256:" + "c" * 64) == "sha256:cccccccccccc"
