"""Which files a source file imports, wherever in it and whether or not it has run.

Of interest are those that no version vouches for; see ``has_version``.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

INSTALLED = frozenset({"site-packages", "dist-packages"})
OURS = ("harness", "compressors", "tasks", "leaderboards")
"""Every record names their version and commit."""


def has_version(file: Path) -> bool:
    """Whether ``file`` belongs to Python's library, to an installed package or to ours."""
    path = file.resolve()
    return not INSTALLED.isdisjoint(path.parts) or any(map(path.is_relative_to, _known_folders()))


@cache
def _known_folders() -> tuple[Path, ...]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    root = Path(__file__).resolve().parents[2]
    folders = (Path(sysconfig.get_path(key)).resolve() for key in keys)
    return (*folders, *(root / name for name in OURS))


def imported_files(source: Path) -> Iterator[Path]:
    """The files of Python that ``source`` imports, as far as they are found by their names."""
    if source.suffix != ".py":
        return
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(_homes(0, source), alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}" if node.module else alias.name
                yield from _files(_homes(node.level, source), name)


def _homes(level: int, source: Path) -> Iterator[Path]:
    """Folders in which the first part of a name is looked for."""
    if level:
        yield source.parents[level - 1]
    else:
        yield from (Path(entry or ".").absolute() for entry in sys.path)


def _files(homes: Iterator[Path], name: str) -> Iterator[Path]:
    """``a/__init__.py``, ``a/b.py`` and so on for ``a.b``, in the first folder that has ``a``."""
    first, *parts = name.split(".")
    for home in homes:
        place = home / first
        if place.is_dir() or place.with_suffix(".py").is_file():
            yield from _of_module(place)
            for part in parts:
                place /= part
                yield from _of_module(place)
            return


def _of_module(place: Path) -> Iterator[Path]:
    for file in (place / "__init__.py", place.parent / f"{place.name}.py"):
        if file.is_file():
            yield file
