"""Entries of the cache: built aside, they appear whole or not at all, and are checked at use."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.assets.cache import cache_root, disk_errors_explained
from harness.assets.hashing import file_sha256
from harness.assets.manifests import fault, write_manifest
from harness.errors import AssetError
from harness.support.files import folder_aside
from harness.support.locks import flocked

_log = logging.getLogger(__name__)


def cached(kind: str, key: str, build: Callable[[Path], None], source: str) -> Path:
    """Folder ``kind/key`` of the cache, made by ``build`` unless it is there and whole.

    ``build`` fills an empty folder that takes its final name only once it is complete.
    Processes that want the same entry wait for the one that builds it. An entry whose files are
    not those it was built with, or not listed, is built again, with a warning; the hash of a file
    that stayed as it was is not computed anew.

    Args:
        kind: folder of the cache.
        key: name of the entry.
        build: makes it.
        source: what it is made from, for people.

    Raises:
        InfrastructureError: the disk is full or the cache cannot be written.
    """
    entry = cache_root() / kind / key
    with disk_errors_explained():
        if _fault(entry):
            with entry_locked(entry):
                # Whoever had the lock may have built it.
                if problem := _fault(entry):
                    if os.path.lexists(entry):
                        _rebuild(entry, build, source, problem)
                    else:
                        _build(entry, build, source)
    return entry


@contextlib.contextmanager
def entry_locked(entry: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of an entry, whether or not it is there; gives whether it is held.

    Without ``wait`` the block runs at once, even if another process has the lock.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    with flocked(entry.with_name(f".{entry.name}.lock"), wait=wait) as held:
        yield held


def _fault(entry: Path) -> str:
    if entry.is_symlink() or not entry.is_dir():
        return "damaged: it is no folder"
    return fault(entry, file_sha256)


def _rebuild(entry: Path, build: Callable[[Path], None], source: str, problem: str) -> None:
    try:
        _build(entry, build, source)
    except AssetError as error:
        raise AssetError(
            f"the cached copy of {source} is {problem}; it cannot be made again: {error}"
        ) from error
    _log.warning("the cached copy of %s was made again; it was %s", source, problem)


def _build(entry: Path, build: Callable[[Path], None], source: str) -> None:
    with folder_aside(entry) as partial:
        build(partial)
        write_manifest(partial, source)
