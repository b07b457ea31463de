"""YAML that people write: plain data only, and every mistake with its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import InfrastructureError, UsageError

MAX_BYTES = 1_000_000
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlFile:
    """The content of a file, and the line (from 1) on which each part of it starts."""

    path: Path
    value: Any
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """``FILE:LINE`` of ``place``, or of the nearest part around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}:{self.lines.get(place, 1)}"


class _PlainLoader(yaml.SafeLoader):
    """Scalars, lists and mappings; refuses what could hide or multiply content."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases (a few lines of them can stand for gigabytes), anchors and tags."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event.start_mark, "an alias (*name)", "write the value out")
        if getattr(event, "anchor", None) is not None:
            raise _refused(event.start_mark, "an anchor (&name)", "remove it")
        if getattr(event, "tag", None) is not None:
            raise _refused(event.start_mark, "a tag (!name)", "remove it")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> YamlFile:
    """Read ``path`` as plain data.

    Raises:
        UsageError: no such file, too large, not YAML, or not plain; names the line and the fix.
        InfrastructureError: the file cannot be read.
    """
    text = _text(path)
    lines: dict[Place, int] = {}
    loader = None
    try:
        loader = _PlainLoader(text)
        root = loader.get_single_node()
        _record_lines(root, (), lines)
        value = loader.construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UsageError(f"{path}:{line}: {error.problem or 'not YAML'}; correct it") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not YAML ({error}); correct it") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply; flatten it") from error
    finally:
        if loader:
            loader.dispose()
    return YamlFile(path, value, lines)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"there is no file {path}; check the path") from error
    except OSError as error:
        raise InfrastructureError(
            f"cannot read {path} ({error.strerror or error}); check its permissions"
        ) from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES} bytes; split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason}); save it as such") from error


def _record_lines(node: yaml.Node | None, place: Place, lines: dict[Place, int]) -> None:
    """Note the line of every part of ``node`` and refuse repeated keys."""
    if node is None:
        return
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _record_lines(item, (*place, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = getattr(key, "value", None)
            if not isinstance(name, str) or name == "<<":
                raise _refused(key.start_mark, "a key that is no name", "use plain text keys")
            if (*place, name) in lines:
                raise _refused(key.start_mark, f"the key '{name}' twice", "remove one of them")
            lines[*place, name] = key.start_mark.line + 1
            _record_lines(value, (*place, name), lines)


def _refused(mark: Any, what: str, fix: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"{what} is not allowed here, {fix}", problem_mark=mark)
