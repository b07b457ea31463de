"""Markdown: names that others chose, made harmless, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}
_STRUCTURE = re.compile(r"[\\`*\[\]#~$!]|(?<![^\W_])_|_(?![^\W_])")


def visible(name: str) -> str:
    """``name`` on one line, without characters that cannot be seen or that turn the text round."""
    line = " ".join(name.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def escape(name: str) -> str:
    """``visible`` as text inside markdown: no markup, no table borders."""
    text = _STRUCTURE.sub(lambda match: "\\" + match[0], visible(name))
    return "".join(_ENTITIES.get(char, char) for char in text)


def markdown_table(
    headings: Iterable[str], rule: str, rows: Iterable[Iterable[str]]
) -> Iterator[str]:
    """The lines of a table, whose cells are markdown: a name in them must be escaped.

    Args:
        headings: of the columns.
        rule: the line below the headings, which aligns the columns, such as ``|---|--:|``.
        rows: cells of each row, one a column.
    """
    yield _line(headings)
    yield rule
    yield from map(_line, rows)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
