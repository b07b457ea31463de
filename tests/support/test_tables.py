from __future__ import annotations

import sys

import pytest

from harness.support.console import console
from harness.support.tables import Grid, print_grid

HEADINGS = tuple(f"heading {number}" for number in range(9))
ROWS = [[f"a-name-that-must-stay-whole-{row}-{column}" for column in range(9)] for row in range(3)]


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Standard output as a terminal of the width that is given."""

    def of(width: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(width))

    return of


@pytest.mark.parametrize("width", [20, 80, 500])
def test_every_heading_and_every_name_is_there_whole(terminal, capsys, width):
    terminal(width)
    print_grid(Grid(HEADINGS, ROWS, "a title", HEADINGS[3:], [f"total {i}" for i in range(9)]))
    text = capsys.readouterr().out
    assert "a title" in text
    for name in [
        *HEADINGS[1:],
        *(name for row in ROWS for name in row),
        *(f"total {i}" for i in range(9)),
    ]:
        assert name in text
    assert ("┏" in text) == (width == 500)


def test_what_is_no_terminal_gets_columns_of_any_width(capsys):
    print_grid(Grid(HEADINGS, ROWS))
    lines = capsys.readouterr().out.splitlines()
    assert all(name in line for name, line in zip(ROWS[0], [lines[3]] * 9, strict=True))


def test_names_of_others_are_escaped_and_stay_on_their_line(capsys):
    print_grid(Grid(("na\x1bme",), [["one\ntwo\x1b[2J"]]))
    text = capsys.readouterr().out
    assert r"one\ntwo\u001b[2J" in text
    assert "\x1b" not in text.replace("na\x1bme", "")


def test_the_console_leaves_brackets_alone(capsys):
    console().print("[bold]x[/bold]")
    assert capsys.readouterr().out == "[bold]x[/bold]\n"
