"""Answers from a file: what is missing counts as wrong, what is unknown is an error."""

import json

import pytest

from eval.backends.given_backend import load_given_answers
from pipeline.errors import EvalError, PipelineError

KEYS = ["t/test/0", "t/test/1"]


def write(tmp_path, *rows):
    path = tmp_path / "answers.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def error_of(path):
    with pytest.raises(PipelineError) as caught:
        load_given_answers(path, KEYS)
    return caught.value


def test_answers_and_missing_answers_are_taken(tmp_path):
    backend = load_given_answers(write(tmp_path, {"key": KEYS[0], "text": "yes"}, ""), KEYS)
    assert backend.describe()["model"] == "answers.jsonl"
    assert backend.describe()["answers_sha256"]


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("{", "EVL041", "not JSON"),
        ("[1]", "EVL041", "no JSON object"),
        ('"x"', "EVL041", "no JSON object"),
        ({"text": "x"}, "EVL041", "no text under 'key'"),
        ({"key": KEYS[0]}, "EVL041", "no text under 'text'"),
        ({"key": KEYS[0], "text": 1}, "EVL041", "no text under 'text'"),
        ({"key": 1, "text": "x"}, "EVL041", "no text under 'key'"),
        ({"key": "t/test/7", "text": "x"}, "EVL043", "no row has the key"),
        ("[" * 100_000, "EVL041", "not JSON"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, row, code, words):
    error = error_of(write(tmp_path, {"key": KEYS[1], "text": "a"}, row))
    assert error.code == code
    assert words in str(error)
    assert str(error.where).endswith("answers.jsonl:2")


def test_a_file_of_another_kind_is_one_error(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Title\n\n" + "Some words.\n" * 40)
    error = error_of(path)
    assert (error.code, error.where) == ("EVL041", path)
    assert "none of the first 3 lines is an answer" in str(error)


def test_a_second_answer_to_one_key_is_an_error(tmp_path):
    row = {"key": KEYS[0], "text": "a"}
    assert error_of(write(tmp_path, row, row)).code == "EVL042"


def test_all_errors_are_told_at_once_but_not_thousands(tmp_path):
    answer = {"key": KEYS[0], "text": "a"}
    error = error_of(write(tmp_path, answer, *["{"] * 5000))
    assert len(error.errors) == 20


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    assert error_of(tmp_path / "absent.jsonl").code == "EVL040"
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert error_of(tmp_path / "binary").code == "EVL040"
    assert isinstance(error_of(tmp_path), EvalError)


def test_lone_surrogates_become_question_marks(tmp_path):
    backend = load_given_answers(write(tmp_path, '{"key": "t/test/0", "text": "a\\ud800b"}'), KEYS)
    assert backend._answers[KEYS[0]] == "a?b"
