"""Rows of JSON in the forms people keep them in."""

from __future__ import annotations

import pytest

from harness.assets.documents import read_documents
from harness.errors import UsageError
from harness.support.json_rows import json_rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n\n{"a": 2}\n', [(1, {"a": 1}), (3, {"a": 2})]),
        ('{"a": 1}\r\n{"a": 2}', [(1, {"a": 1}), (2, {"a": 2})]),
        ('[{"a": 1}, {"a": 2}]', [(1, {"a": 1}), (1, {"a": 2})]),
        ('\n[\n {"a": 1},\n {"a":\n  2}\n]\n', [(3, {"a": 1}), (4, {"a": 2})]),
        ('{\n "a": 1\n}\n{\n "a": 2\n}', [(1, {"a": 1}), (4, {"a": 2})]),
        ("[]", []),
        ("", []),
        ('{"a": "\\ud83d\\ude00"}', [(1, {"a": "\U0001f600"})]),
    ],
)
def test_lines_arrays_and_indented_objects_are_rows(text, expected):
    assert list(json_rows(text, "f")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": ', "line 2 of f is no JSON"),
        ('[{"a": 1}\n{"a": 2}]', "line 2 of f is no JSON: a comma is missing"),
        ('[{"a": 1},\n', "line 2 of f: the array does not end"),
        ('[1]\n[2]', "line 2 of f: something follows the array"),
        ('{"a": 1}\n{"a": "x\\ud800"}', r"line 2 of f holds '\\ud800', half a character"),
        ('{"\\udfff": 1}', r"line 1 of f holds '\\udfff'"),
        ("[" * 100_000, "line 1 of f is nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(UsageError, match=message):
        list(json_rows(text, "f"))


@pytest.mark.parametrize("name", ["rows.json", "ROWS.JSON", "rows.jsonl"])
def test_documents_are_read_from_every_form(tmp_path, name):
    path = tmp_path / name
    path.write_text('[\n {"text": "one"},\n {"text": "two"}\n]')
    assert read_documents(path) == ["one", "two"]


def test_an_ending_in_capitals_is_the_same_ending(tmp_path):
    path = tmp_path / "TEXT.TXT"
    path.write_text("one")
    assert read_documents(path) == ["one"]
