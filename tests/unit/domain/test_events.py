"""Events: their encoded form, positions, and the rule by which a watcher falls back to what is certainly true."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadRequest
from app.domain.runs.events import (
    Kind,
    Position,
    encode,
    epoch_after,
    join_payloads,
    output_bytes,
    output_fields,
    resume_point,
)


@given(st.binary(max_size=300), st.integers(0, 2**40))
def test_output_survives_its_encoding_whatever_the_bytes(data: bytes, offset: int) -> None:
    payload = encode(3, 7, 1.5, Kind.OUTPUT, output_fields("stderr", offset, data))
    event = json.loads(payload)
    assert output_bytes(event) == data
    assert (event["epoch"], event["seq"], event["offset"], event["stream"]) == (3, 7, offset, "stderr")
    assert b"\n" not in payload


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(0, 2**40))
def test_output_is_encoded_as_the_json_package_would(text: str, offset: int) -> None:
    payload = encode(3, 7, 1.5, Kind.OUTPUT, output_fields("stdout", offset, text.encode()))
    head = {"epoch": 3, "seq": 7, "kind": "output", "time": 1.5, "stream": "stdout", "offset": offset, "text": text}
    assert payload == json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_frame_holds_the_payloads_verbatim() -> None:
    payloads = [encode(1, n, 0.0, Kind.NOTICE, {"code": "x"}) for n in (1, 2)]
    assert [event["seq"] for event in json.loads(join_payloads(payloads))["events"]] == [1, 2]


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-1", "1-1-1", "٣-1", "1" * 50 + "-1", "1 -2"])
def test_a_malformed_position_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(BadRequest, match="position"):
        Position.parse(text)


def test_a_position_reads_back() -> None:
    assert Position.parse(str(Position(2, 41))) == Position(2, 41)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.data())
def test_the_fallback_is_what_every_later_epoch_kept(bases: list[int], data: st.DataObject) -> None:
    # A model: each epoch keeps its base's events and writes others after them; a cursor holds the events of its own epoch.
    versions: list[list[tuple[int, int]]] = [[(1, seq) for seq in range(1, 41)]]
    for epoch, base in enumerate(bases, start=2):
        versions.append(versions[-1][:base] + [(epoch, seq) for seq in range(base + 1, 41)])
    epoch = data.draw(st.integers(1, len(versions)))
    seq = data.draw(st.integers(0, 40))
    known, truth = versions[epoch - 1][:seq], versions[-1]
    fallback = resume_point(Position(epoch, seq), [(1, 0), *enumerate(bases, start=2)])
    kept = seq if fallback is None else fallback
    assert known[:kept] == truth[:kept]
    assert kept <= seq
    assert kept == 40 or epoch_after(kept, [(1, 0), *enumerate(bases, start=2)]) == truth[kept][0]
