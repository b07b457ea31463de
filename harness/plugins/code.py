"""What decides what a plugin computes: the version of its package, and its source if local."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

from harness.support.hashing import content_sha256
from harness.support.imported_files import has_version, imported_files

OURS = "harness"
SHOWN = 16
"""Digits of the hash."""


def plugin_code(entry: EntryPoint) -> str:
    """``PACKAGE VERSION``, with a hash where its files are no installed ones; empty for ours.

    Files are read once a process, as Python does.
    """
    return _plugin_code(entry, str(entry.dist.locate_file("")) if entry.dist else "")


@cache
def _plugin_code(entry: EntryPoint, _where: str) -> str:
    if entry.dist and entry.dist.name == OURS:
        return ""
    name = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
    files = _local_files(entry.module)
    if not files:
        return name
    hashes = sorted(f"{path.name} {content_sha256(path)}" for path in files)
    return f"{name}, source {hashlib.sha256(chr(10).join(hashes).encode()).hexdigest()[:SHOWN]}"


def _local_files(module: str) -> set[Path]:
    """The package of ``module``, or its file, and all these import that is local too."""
    spec = find_spec(module.partition(".")[0])
    if spec is None:
        return set()
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = {path for folder in folders for path in folder.rglob("*.py")}
    files |= {Path(spec.origin)} if spec.origin and Path(spec.origin).is_file() else set()
    reached: set[Path] = set()
    waiting = {path for path in files if not has_version(path)}
    while waiting:
        reached |= waiting
        imported = {file for path in waiting for file in imported_files(path)}
        waiting = {path for path in imported if not has_version(path)} - reached
    return reached
