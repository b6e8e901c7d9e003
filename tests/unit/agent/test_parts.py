"""The spool, the input and the commands, each for itself."""

import os

import pytest

from app.agent.commands import Commands
from app.agent.program.stdin import MAX_WAITING_BYTES, Stdin
from app.agent.records import wire_format
from app.agent.records.spool import Spool, SpoolFailed
from app.agent.records.wire_format import Kind


@pytest.fixture
def spool(tmp_path):
    return Spool(os.open(tmp_path, os.O_RDONLY))


def test_the_spool_hands_out_whole_records_from_every_boundary(spool, tmp_path):
    frames = []
    for number in range(100):
        payload = bytes([number]) * (number * 100)
        frames.append(wire_format.encode(Kind.STDOUT, float(number), payload))
        spool.append(Kind.STDOUT, float(number), payload)
    whole = b"".join(frames)
    assert (tmp_path / "spool").read_bytes() == whole
    at = 0
    for frame in frames:
        data, position = b"", at
        while part := spool.read(position):
            wire_format.Decoder().feed(part)
            data, position = data + part, position + len(part)
        assert data == whole[at:]
        at += len(frame)


def test_a_position_inside_a_record_is_noticed(spool):
    spool.append(Kind.STDOUT, 0.0, b"\xff" * 50)
    with pytest.raises(ValueError):
        spool.read(20)
    with pytest.raises(ValueError):
        spool.read(1000)


def test_a_record_that_does_not_fit_leaves_no_trace(spool, tmp_path, monkeypatch):
    spool.append(Kind.STDOUT, 0.0, b"good")
    before, real = (tmp_path / "spool").read_bytes(), os.pwrite
    calls = []

    def short_then_full(fd, data, position):
        calls.append(position)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, data[:5], position)

    monkeypatch.setattr(os, "pwrite", short_then_full)
    with pytest.raises(SpoolFailed):
        spool.append(Kind.STDOUT, 1.0, b"too much")
    assert (tmp_path / "spool").read_bytes() == before
    assert spool.position == len(before)


def test_input_that_is_not_read_waits_within_a_bound():
    read, write = os.pipe()
    stdin = Stdin(write)
    assert stdin.take(b"x" * MAX_WAITING_BYTES, eof=False) is None
    assert stdin.push() is True
    assert stdin.take(b"y" * 500_000, eof=True) is not None
    got = b""
    while len(got) < MAX_WAITING_BYTES:
        got += os.read(read, 65536)
        stdin.push()
    assert stdin.take(b"z", eof=True) is None
    assert stdin.push() is False
    assert os.read(read, 10) == b"z"
    assert os.read(read, 10) == b""
    assert stdin.take(b"after the end", eof=False) is None
    os.close(read)


def test_input_for_a_program_that_closed_it_is_dropped():
    read, write = os.pipe()
    stdin = Stdin(write)
    os.close(read)
    assert stdin.take(b"x", eof=False) is None
    assert stdin.push() is False
    assert stdin.fd == -1


def test_a_command_is_carried_out_once_and_acknowledged_every_time():
    sent, stdin = [], Stdin(-1)
    commands = Commands(lambda body: None, stdin, sent.append, {})
    for _ in range(3):
        assert commands.obey(Kind.SIGNAL, {"id": "s", "signal": "TERM"}, ended=False) == {"id": "s", "ok": True}
    assert sent == [15]
    assert commands.obey(Kind.SIGNAL, {"id": "t", "signal": "HUP"}, ended=False)["ok"] is False
    assert commands.obey(99, {}, ended=False)["ok"] is False


def test_finishing_waits_for_the_end():
    commands = Commands(lambda body: None, Stdin(-1), lambda number: None, {})
    assert commands.obey(Kind.FINISH, {"id": "f"}, ended=False)["ok"] is False
    assert not commands.finished
    assert commands.obey(Kind.FINISH, {"id": "f"}, ended=True)["ok"] is True
    assert commands.finished
