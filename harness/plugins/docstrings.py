"""What docstrings say of a dataclass's fields."""

from __future__ import annotations

import inspect
import re
from itertools import takewhile

_SECTION = "Attributes:"
_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*)(?: \([^)]*\))?:(?: (?P<text>.*))?")


def attributes(docstring: str | None) -> dict[str, str]:
    """The ``Attributes:`` section of a Google-style docstring as one line for each name.

    Without double backticks and the last full stop, which a terminal does not need.
    """
    texts: dict[str, str] = {}
    names: list[str] = []
    lines = _section(docstring or "")
    margin = min((_indent(line) for line in lines), default=0)
    for line in lines:
        entry = _ENTRY.fullmatch(line.strip()) if _indent(line) == margin else None
        if entry:
            names = entry["names"].split(", ")
            texts |= dict.fromkeys(names, entry["text"] or "")
        else:
            texts |= {name: f"{texts[name]} {line.strip()}".strip() for name in names}
    return {name: text.replace("``", "").removesuffix(".") for name, text in texts.items()}


def explanation(owner: type, name: str) -> str:
    """What the nearest class says of ``name``, from ``owner`` up; empty where none does."""
    for declaring in owner.__mro__:
        text = attributes(vars(declaring).get("__doc__")).get(name)
        if text:
            return text
    return ""


def _section(docstring: str) -> list[str]:
    """The lines below ``Attributes:`` that are indented, without those that are blank."""
    lines = [line for line in inspect.cleandoc(docstring).splitlines() if line.strip()]
    if _SECTION not in lines:
        return []
    return list(takewhile(_indent, lines[lines.index(_SECTION) + 1 :]))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
