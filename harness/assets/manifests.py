"""What an entry of the cache must hold: every file with its size and SHA-256."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from harness.records.document import Document
from harness.support.hashing import FileFacts, difference, facts_of

NAME = ".manifest.json"


class CacheManifest(Document):
    """An entry: what it was made from, when, and its files by their path inside it."""

    source: str
    made: str
    files: dict[str, FileFacts]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(facts.size for facts in self.files.values())


def write_manifest(folder: Path, source: str) -> None:
    """Write down what ``folder``, made from ``source``, holds now."""
    files = {name: facts_of(folder / name) for name in sorted(_names(folder))}
    made = datetime.now(UTC).isoformat(timespec="seconds")
    text = CacheManifest(source=source, made=made, files=files).model_dump_json()
    (folder / NAME).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> CacheManifest | None:
    """The manifest of ``folder``; None if it has none that can be read."""
    try:
        return CacheManifest.model_validate_json((folder / NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def fault(folder: Path, sha256: Callable[[Path], str] | None) -> str:
    """What is wrong with an entry, empty if nothing is: ``damaged`` or ``outdated``, and why.

    Args:
        folder: the entry.
        sha256: hashes a file; None compares names and sizes only.
    """
    if not (folder / NAME).exists():
        return "outdated: an earlier version left no list of its files"
    why = _damage(folder, sha256)
    return f"damaged: {why}" if why else ""


def _damage(folder: Path, sha256: Callable[[Path], str] | None) -> str:
    manifest = read_manifest(folder)
    if manifest is None:
        return "the list of its files cannot be read"
    names = _names(folder)
    if missing := sorted(manifest.files.keys() - names):
        return f"{missing[0]} is missing"
    if more := sorted(names - manifest.files.keys()):
        return f"{more[0]} does not belong to it"
    differences = (
        _difference(folder, name, facts, sha256) for name, facts in manifest.files.items()
    )
    return next(filter(None, differences), "")


def _difference(
    folder: Path, name: str, facts: FileFacts, sha256: Callable[[Path], str] | None
) -> str:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        return f"{name} is no file"
    instead = difference(path, facts, sha256)
    return f"{name} has {instead}" if instead else ""


def _names(folder: Path) -> set[str]:
    """Paths of all files inside, links not followed, but for the manifest."""
    names: set[str] = set()
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        names |= {Path(place, name).relative_to(folder).as_posix() for name in (*files, *links)}
    return names - {NAME}
