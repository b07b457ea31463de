"""What the cache holds: listed, checked, removed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.assets.cache import cache_root, disk_errors_explained
from harness.assets.entries import entry_locked
from harness.assets.hashing import HASHES
from harness.assets.manifests import fault, read_manifest
from harness.assets.pins import PINS, read_pin
from harness.errors import InfrastructureError, UsageError, unknown
from harness.support.files import PARTIAL, former_of, partial_of, remove
from harness.support.hashing import content_sha256

FOLDERS = ("models", "wheels", "archives")
KINDS = (*FOLDERS, PINS, HASHES)
UNFINISHED = "unfinished"
"""State of what a killed process left, or one at work is building."""


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache.

    Attributes:
        kind: one of ``KINDS``.
        key: its name among those of its kind.
        path: the folder or file.
        source: what it was made from; empty where that is not known.
        size: bytes on disk.
        made: when, in ISO 8601.
        state: ``whole``, ``unfinished``, or ``damaged: `` or ``outdated: `` and why.
    """

    kind: str
    key: str
    path: Path
    source: str
    size: int
    made: str
    state: str

    @property
    def name(self) -> str:
        """How it is called among all entries."""
        return f"{self.kind}/{self.key}"

    @property
    def remade(self) -> bool:
        """Whether its next use makes it again, since it is not known to be what it was."""
        return self.state not in ("whole", UNFINISHED)


def inventory() -> list[CacheEntry]:
    """All entries; names and sizes of files are checked, not their content.

    What was not put there by this program is not listed.

    Raises:
        UsageError: a folder of the cache leads out of it.
    """
    return [entry for kind in KINDS for entry in _of_kind(kind)]


def verified(entry: CacheEntry) -> CacheEntry:
    """``entry`` with the state that its content, read anew, has."""
    if entry.kind not in FOLDERS or entry.state != "whole":
        return entry
    return _folder(entry.kind, entry.path, content=True)


def find(entries: Sequence[CacheEntry], name: str) -> CacheEntry:
    """The entry whose key or ``KIND/KEY`` starts with ``name``, or whose source it is.

    Raises:
        UsageError: there is none, or there are several.
    """
    exact = [entry for entry in entries if name in {entry.key, entry.name, entry.source}]
    matches = exact or [entry for entry in entries if entry.key.startswith(name)]
    matches = matches or [entry for entry in entries if entry.name.startswith(name)]
    if not name or not matches:
        raise unknown("cache entry", name, [entry.key for entry in entries])
    if len(matches) > 1:
        names = ", ".join(entry.name for entry in matches)
        raise UsageError(f"'{name}' may be any of {names}; write more of it")
    return matches[0]


def delete(entry: CacheEntry) -> None:
    """Remove ``entry`` and nothing outside the cache.

    Raises:
        InfrastructureError: another process is building it, or the cache cannot be written.
    """
    with disk_errors_explained():
        if entry.kind not in FOLDERS:
            remove(entry.path)
            return
        final = entry.path.with_name(entry.key)
        with entry_locked(final, wait=False) as held:
            if not held:
                raise InfrastructureError(
                    f"{entry.name} is being made by another process; try again when it has ended"
                )
            for path in (final, partial_of(final), former_of(final)):
                remove(path)


def _of_kind(kind: str) -> Iterator[CacheEntry]:
    folder = cache_root() / kind
    if not folder.is_dir():
        return
    if not folder.resolve().is_relative_to(cache_root().resolve()):
        raise UsageError(
            f"{folder} leads out of the cache; remove the link, or set HARNESS_CACHE to where "
            "the whole cache may lie"
        )
    if kind == HASHES:
        yield from _hashes(folder)
        return
    for path in sorted(folder.iterdir()):
        if kind == PINS and path.suffix == ".json":
            yield _pin(path)
        elif kind in FOLDERS and path.name.endswith(PARTIAL) and path.name.startswith("."):
            key = path.name.removeprefix(".").removesuffix(PARTIAL)
            yield CacheEntry(kind, key, path, "", _size(path), _modified(path), UNFINISHED)
        elif kind in FOLDERS and not path.name.startswith("."):
            yield _folder(kind, path, content=False)


def _folder(kind: str, path: Path, *, content: bool) -> CacheEntry:
    problem = "damaged: it is no folder"
    if path.is_dir() and not path.is_symlink():
        problem = fault(path, content_sha256 if content else None)
    manifest = None if path.is_symlink() else read_manifest(path)
    source, made = (manifest.source, manifest.made) if manifest else ("", _modified(path))
    return _entry(kind, path, source, made, problem)


def _pin(path: Path) -> CacheEntry:
    pin = None if path.is_symlink() else read_pin(path)
    source, problem = (pin.reference, "") if pin else ("", "damaged: it is no pin")
    return _entry(PINS, path, source, _modified(path), problem)


def _entry(kind: str, path: Path, source: str, made: str, problem: str) -> CacheEntry:
    """An entry that is whole if nothing is ``wrong``."""
    key = path.stem if kind == PINS else path.name
    return CacheEntry(kind, key, path, source, _size(path), made, problem or "whole")


def _hashes(folder: Path) -> Iterator[CacheEntry]:
    """All remembered hashes as one: they only save time."""
    count = sum(path.suffix == ".json" for path in folder.iterdir())
    if count:
        source = f"remembered hashes of {count} files"
        yield CacheEntry(HASHES, HASHES, folder, source, _size(folder), _modified(folder), "whole")


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    total = 0
    for place, _, files in os.walk(path):
        for name in files:
            # A build at work may be removing what it no longer needs.
            with suppress(FileNotFoundError):
                total += Path(place, name).lstat().st_size
    return total


def _modified(path: Path) -> str:
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC).isoformat(timespec="seconds")
