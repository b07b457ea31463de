"""Names that others chose, made harmless inside markdown."""

from __future__ import annotations

import re

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}
_STRUCTURE = re.compile(r"[\\`*\[\]#~$!]|(?<![^\W_])_|_(?![^\W_])")


def escape(name: str) -> str:
    """``name`` on one line, as text: no markup, no table borders, no invisible characters."""
    line = " ".join(name.split())
    visible = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    text = _STRUCTURE.sub(lambda match: "\\" + match[0], visible)
    return "".join(_ENTITIES.get(char, char) for char in text)
