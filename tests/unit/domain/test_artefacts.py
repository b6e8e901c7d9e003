"""Names that are safe everywhere, whatever people and programs choose."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.runs.artefacts import ArtefactRules, LeftOut, Names, explain, file_name, segment

SEGMENT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
FILE = re.compile(r"[0-9]{6,}-[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
HOSTILE = ["..", ".", "", "/", "a/b", "../../etc", "A" * 4000, "\0", "con", "ü", "-", "a.", "\ud800", "\u202ename", "x" * 255]


@pytest.mark.trap("W4")
@given(st.text(max_size=300))
@example("..")
def test_a_folder_s_name_is_a_dns_label(text):
    assert SEGMENT.fullmatch(segment(text))


@pytest.mark.trap("W4")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_encoded(text):
    assert SEGMENT.fullmatch(segment(text)) and FILE.fullmatch(file_name(1, text)) and len(file_name(1, text)) < 80


@pytest.mark.trap("W4")
@given(st.lists(st.text(alphabet=string.ascii_letters + "-/._ü", max_size=60), unique=True, max_size=20))
@example(["Agent", "agent", "AGENT", "agent/", "agent.", "a/gent", segment("Agent"), segment(segment("Agent"))])
@example(["x" * 40, "x" * 41, "x" * 42])
def test_different_texts_have_different_folders_without_regard_to_case(texts):
    assert len({segment(text).lower() for text in texts}) == len(texts)


def test_a_plain_name_stays_as_it_is():
    assert [segment(text) for text in ("agent", "agent-7", "0")] == ["agent", "agent-7", "0"]


def test_files_have_a_number_and_a_hint():
    assert file_name(1, "sub/Report 2026.CSV") == "000001-report-2026.csv"
    assert file_name(1234567, "..") == "1234567-file"


@given(st.lists(st.binary(min_size=1, max_size=12), unique=True, max_size=30))
@example([b"a\xff", b"a\\xff", b"a\\xff~"])
def test_no_two_paths_have_one_name_and_every_name_can_be_stored(paths):
    names = Names()
    given_names = [names.text(path) for path in paths]
    assert len(set(given_names)) == len(paths)
    for name in given_names:
        name.encode()


def test_what_was_left_out_is_explained():
    rules = ArtefactRules(max_files=3, max_bytes=10)
    assert explain(LeftOut(), rules) == ""
    left = LeftOut({"links": 2, "files": 1}, more=True)
    words = "Not kept: 1 (more than the limit of 3 files), 2 (symbolic links), and more that were not counted."
    assert explain(left, rules) == words
