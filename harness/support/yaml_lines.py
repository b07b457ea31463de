"""YAML that people write: plain data by the core schema, and every mistake with its place.

Scalars mean what the core schema of YAML 1.2 says: ``yes``, ``1:30`` and dates are text. Numbers
are decimal; with leading zeros, which older YAML reads as octal, they are text too.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import InputError, UsageError
from harness.support.regular_files import read_regular

MAX_BYTES = 1_000_000
Place = tuple[str | int, ...]
Mark = tuple[int, int]
"""Line and column, both from 1."""

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,999})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*|(?=\.[0-9]))(\.[0-9]*)?([eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class YamlFile:
    """The content of a file, and where each part of it starts."""

    path: Path
    value: Any
    marks: dict[Place, Mark] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """``FILE:LINE:COLUMN`` of ``place``, or of the nearest part around it."""
        return located(self.path, self.mark(place))

    def mark(self, place: Place) -> Mark:
        """Line and column of ``place``, or of the nearest part around it."""
        while place and place not in self.marks:
            place = place[:-1]
        return self.marks.get(place, (1, 1))


def located(path: Path, mark: Mark) -> str:
    """``FILE:LINE:COLUMN``."""
    return f"{path}:{mark[0]}:{mark[1]}"


def read_yaml(path: Path) -> YamlFile:
    """Read ``path`` as plain data.

    Raises:
        UsageError: no such file, too large, not YAML, or not plain; names place and fix.
        InfrastructureError: the file cannot be read.
    """
    text = _text(path)
    mistakes = [
        (_mark_at(text, match.start()), f"the control character {match[0]!r} is not allowed")
        for match in yaml.reader.Reader.NON_PRINTABLE.finditer(text)
    ]
    if mistakes:
        raise _refusal(path, mistakes)
    reader = _Reader()
    try:
        value = reader.read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.mistakes.append((_mark(mark) if mark else (1, 1), error.problem or "not YAML"))
        raise _refusal(path, reader.mistakes) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not YAML ({error}); correct it") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply; flatten it") from error
    if reader.mistakes:
        raise _refusal(path, reader.mistakes)
    return YamlFile(path, value, reader.marks)


def _text(path: Path) -> str:
    content = read_regular(path, MAX_BYTES)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise UsageError(
            f"{path}:{line}:{column}: not UTF-8 text ({error.reason}); save it as such"
        ) from error


def _refusal(path: Path, mistakes: list[tuple[Mark, str]]) -> InputError:
    return InputError(f"{located(path, mark)}: {text}; correct it" for mark, text in mistakes)


def _mark(mark: yaml.Mark) -> Mark:
    return mark.line + 1, mark.column + 1


def _mark_at(text: str, position: int) -> Mark:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


class _Composer(yaml.SafeLoader):
    """Notes what could hide or multiply content."""

    def __init__(self, text: str, mistakes: list[tuple[Mark, str]]) -> None:
        super().__init__(text)
        self.mistakes = mistakes

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases (a few lines of them can stand for gigabytes), anchors and tags."""
        event = self.peek_event()
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self.get_event()
            self.mistakes.append((mark, "an alias (*name) is not allowed here, write it out"))
            return yaml.ScalarNode("", "")
        if getattr(event, "anchor", None) is not None:
            self.mistakes.append((mark, "an anchor (&name) is not allowed here, remove it"))
        if getattr(event, "tag", None) is not None:
            self.mistakes.append((mark, "a tag (!name) is not allowed here, remove it"))
        return super().compose_node(parent, index)


class _Reader:
    """From text to plain values, with the mark of each and all mistakes on the way."""

    def __init__(self) -> None:
        self.marks: dict[Place, Mark] = {}
        self.mistakes: list[tuple[Mark, str]] = []

    def read(self, text: str) -> Any:
        """The value of the only document in ``text``."""
        composer = _Composer(text, self.mistakes)
        try:
            root = composer.get_single_node()
            return None if root is None else self._value(root, ())
        finally:
            composer.dispose()

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if node.start_mark:  # an alias has none
            self.marks.setdefault(place, _mark(node.start_mark))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*place, at)) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        return self._scalar(node) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            mark, name = _mark(key.start_mark), key.value
            if not isinstance(name, str) or name == "<<":
                self.mistakes.append((mark, "a key that is no name is not allowed here"))
                continue
            self._refuse_unprintable(key)
            if name in values:
                self.mistakes.append((mark, f"the key '{name}' stands here twice"))
            self.marks[*place, name] = mark
            values[name] = self._value(value, (*place, name))
        return values

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        self._refuse_unprintable(node)
        if node.style is not None:  # quoted, or a block
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _refuse_unprintable(self, node: yaml.Node) -> None:
        """What an escape has made."""
        for character in node.value:
            if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n":
                text = f"the control character {character!r} is not allowed"
                self.mistakes.append((_mark(node.start_mark), text))
                return
