from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.support.terminal import escaped, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\u001b[31mred"),
        ("a\u202eb", r"a\u202eb"),
        ("\x07", r"\u0007"),
        ("a\rb", r"a\rb"),
        ("\x9b1m", r"\u009b1m"),
        ("\U000e0041", r"\udb40\udc41"),
        ("line\nline\ttab", "line\nline\ttab"),
        ("名前 é ±", "名前 é ±"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_written_out(text, shown):
    assert escaped(text) == shown


@given(st.text())
def test_nothing_that_controls_a_terminal_is_left(text):
    left = one_line(text)
    assert not [char for char in left if unicodedata.category(char) in ("Cc", "Zl", "Zp")]
    assert one_line(left) == left


@given(st.dictionaries(st.text(), st.text()))
def test_json_stays_the_json_that_it_was(content):
    assert json.loads(escaped(json.dumps(content, ensure_ascii=False))) == content
