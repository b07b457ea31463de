"""Names that others chose, made harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> list[str]:
    """The lines of a table whose first ``texts`` columns are read from the left."""
    rule = [":--" if at < texts else "--:" for at in range(len(headings))]
    escaped = ([escape(cell) for cell in row] for row in rows)
    return [f"| {' | '.join(line)} |" for line in (headings, rule, *escaped)]
