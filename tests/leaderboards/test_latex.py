from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboards import latex
from leaderboards.board import board
from tests.helpers.board_records import paper_board, vision_board
from tests.leaderboards.awkward_names import AWKWARD, board_named

COMMANDS = re.compile(r"\\(?:text[a-z]+|[{}$&#%_])")


def test_the_table_reads_like_the_papers():
    text = latex.render(board(paper_board()))
    assert r"Compression & \multicolumn{1}{c}{10\%} & \multicolumn{2}{c}{20\%} \\" in text
    assert r"latentllm & \textbf{{*}14.5} (14.5) & \textbf{15.8} (15.8) & 24.4" in text
    assert r"asvd-rootcov {[}block-identity] & 15.1 &  &  \\" in text
    assert r"failed: out of memory \textbar{} a \textless{}b\textgreater{}" in text


def test_every_row_has_as_many_cells_as_its_table_has_columns():
    for ranked in (board(paper_board()), board(vision_board()), *map(board_named, AWKWARD)):
        text = latex.render(ranked)
        tables = re.findall(r"\\begin\{longtable\}\{(.*)\}\n((?:.*\n)*?)\\end", text)
        assert len(tables) == text.count(r"\caption")
        for columns, body in tables:
            width = len(re.findall(r"[lrp]", re.sub(r"\{[^{}]*\}", "", columns)))
            for line in re.sub(r"\\caption.*", "", body).splitlines():
                if line.endswith(r" \\"):
                    spans = map(int, re.findall(r"\\multicolumn\{(\d+)\}", line))
                    extra = sum(span - 1 for span in spans)
                    assert len(re.findall(r"(?<!\\)&", line)) + 1 + extra == width, line


@given(st.text(max_size=60))
def test_an_escaped_name_is_text_only(name):
    text = latex.escape(name)
    assert text.isprintable()
    assert all(char.isascii() or char.isalpha() for char in text)
    bare = COMMANDS.sub("", text)
    assert not set(bare) & set("\\$&#%_~^<>|\"'`")
    assert "--" not in bare
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


@given(st.text("abc XYZ012-_.,:;()[]*/@é", max_size=30))
def test_an_escaped_name_reads_as_itself(name):
    text = latex.escape(name).replace(r"\_", "_").replace("{}", "")
    assert text.replace("{[}", "[").replace("{*}", "*") == " ".join(name.split())


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_add_no_command(name):
    def commands(text):
        return set(re.findall(r"\\[a-zA-Z]+", text)) - {
            command for command in re.findall(r"\\[a-zA-Z]+", text) if command.startswith(r"\text")
        }

    assert commands(latex.render(board_named(name))) == commands(latex.render(board_named("plain")))
