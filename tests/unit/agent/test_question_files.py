"""The folder of questions is the program's to fill: whatever lies in it, the agent goes on."""

import os

import pytest

from app.agent.questions.question_files import QuestionFiles


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "ask").mkdir()
    return tmp_path / "ask"


@pytest.fixture
def question_files(ask):
    return QuestionFiles(os.open(ask, os.O_RDONLY))


def test_requests_are_taken_once_and_oldest_first(ask, question_files):
    for age, name in enumerate(["new", "old"]):
        (ask / f"{name}.ask").write_text(f"text\n {name}\n")
        os.utime(ask / f"{name}.ask", (1000 - age, 1000 - age))
    assert [handed.name for handed in question_files.collect()] == ["old", "new"]
    assert question_files.collect() == []


def test_hostile_files_are_passed_over(ask, question_files, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("text\n stolen\n")
    os.mkfifo(ask / "pipe.ask")
    (ask / "folder.ask").mkdir()
    (ask / "link.ask").symlink_to(secret)
    (ask / "endless.ask").symlink_to("/dev/zero")
    (ask / ("x" * 200 + ".ask")).write_text("text\n Q\n")
    (ask / "half.draft").write_text("text\n")
    with open(os.fsencode(ask) + b"/\xff\xfe.ask", "wb") as file:
        file.write(b"text\n bytes\n")
    (ask / "good.ask").write_text("text\n Q\n")
    taken = {os.fsencode(handed.name): handed for handed in question_files.collect()}
    assert set(taken) == {b"good", b"\xff\xfe"}
    assert question_files.collect() == []


def test_a_reply_is_whole_at_once_and_private(ask, question_files):
    question_files.answer("q", b"answered value\nyes\n")
    assert (ask / "q.reply").read_bytes() == b"answered value\nyes\n"
    assert (ask / "q.reply").stat().st_mode & 0o777 == 0o600
    assert os.listdir(ask) == ["q.reply"]


def test_a_reply_follows_no_link(ask, question_files, tmp_path):
    (ask / ".q.draft").symlink_to(tmp_path / "elsewhere")
    (ask / "q.reply").symlink_to(tmp_path / "elsewhere")
    question_files.answer("q", b"answered none\n")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_put_in_its_place_is_not_followed(ask, question_files, tmp_path):
    os.rename(ask, tmp_path / "moved")
    ask.mkdir()
    (ask / "q.ask").write_text("text\n Q\n")
    assert question_files.collect() == []
