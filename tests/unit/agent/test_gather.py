"""The walk through what a program left: nothing outside of the folder is ever read, also while the program plays tricks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.agent import gather as module
from app.agent.gather import FOLDER_FLAGS, MAX_DEPTH, MAX_PATH_BYTES, gather
from app.agent.records import wire_format


def steps(folder: Path, max_files: int = 100, max_bytes: int = 10_000):
    held = os.open(folder, FOLDER_FLAGS)
    try:
        yield from gather(held, max_files, max_bytes)
    finally:
        os.close(held)


def taken(folder: Path, **limits: int) -> tuple[dict[str, bytes], dict[str, int]]:
    files: dict[str, bytes] = {}
    at, end = "", {}
    for step in steps(folder, **limits):
        if isinstance(step, dict):
            end = step
        elif isinstance(step, bytes):
            files[at] += step
        else:
            at = step[0]
            files[at] = b""
    return files, end


def test_files_come_in_order_with_their_bytes(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, data in (("b", b"2"), ("a", b""), ("sub/c", b"3" * 9000)):
        (tmp_path / name).write_bytes(data)
    found, left = taken(tmp_path)
    assert list(found.items()) == [("a", b""), ("b", b"2"), ("sub/c", b"3" * 9000)] and left == {}


@pytest.mark.trap("W4")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_swapped_for_a_link_in_the_middle_is_not_followed(tmp_path, what, monkeypatch):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    folder = tmp_path / "left"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/key").write_bytes(b"mine")
    real = os.open

    def swapping(path, flags, *args, **named):
        # The program is quicker than the step that follows the look.
        if path == ("sub" if what == "folder" else "key") and not (folder / "old").exists():
            target = folder / "sub" if what == "folder" else folder / "sub/key"
            target.rename(folder / "old")
            target.symlink_to(secret if what == "folder" else secret / "key")
        return real(path, flags, *args, **named)

    monkeypatch.setattr(module.os, "open", swapping)
    found, left = taken(folder)
    assert b"secret" not in found.values() and left == {"unreadable": 1}


def test_a_file_swapped_for_a_fifo_holds_nobody_up(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")
    real = os.open

    def swapping(path, flags, *args, **named):
        if path == "a":
            (tmp_path / "a").unlink()
            os.mkfifo(tmp_path / "a")
        return real(path, flags, *args, **named)

    monkeypatch.setattr(module.os, "open", swapping)
    assert taken(tmp_path) == ({}, {"special": 1})


def test_a_file_that_grows_meanwhile_does_not_grow_here(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_bytes(b"x" * 10)
    real = os.read

    def growing(fd, size):
        with file.open("ab") as more:
            more.write(b"y" * 1000)
        return real(fd, size)

    monkeypatch.setattr(module.os, "read", growing)
    assert taken(tmp_path)[0] == {"a": b"x" * 10}


def test_depth_length_and_number_of_looks_are_bounded(tmp_path, monkeypatch):
    deep = tmp_path
    for _ in range(MAX_DEPTH + 3):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"x")
    assert taken(tmp_path) == ({}, {"names": 1})
    long = tmp_path / "long"
    while len(str(long.relative_to(tmp_path))) < MAX_PATH_BYTES:
        long = long / ("n" * 200)
    long.mkdir(parents=True)
    (long / "x").write_bytes(b"x")
    assert taken(tmp_path)[1]["names"] == 2
    monkeypatch.setattr(module, "MAX_LOOKS", 1)
    assert taken(tmp_path)[1]["more"] == 1


def test_as_a_program_it_writes_frames_and_waits_to_be_left(tmp_path):
    (tmp_path / "a\udcff").write_bytes(b"data")
    command = [sys.executable, "-I", "-S", module.__file__, str(tmp_path), "10", "1000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        frames: list[wire_format.Frame] = []
        decoder = wire_format.Decoder()
        while not frames or frames[-1][0] != wire_format.Kind.GATHERED:
            frames += decoder.feed(os.read(process.stdout.fileno(), 65536))
        assert process.poll() is None, "the other side reads the end first"
        process.stdin.close()
        assert process.wait(10) == 0
    assert [kind for kind, _, _ in frames] == [wire_format.Kind.ARTEFACT, wire_format.Kind.CONTENT, wire_format.Kind.GATHERED]
    assert os.fsencode(json.loads(frames[0][2])) == b"a\xff" and frames[1][2] == b"data" and json.loads(frames[2][2]) == {}
