"""The cache folder: entries are built aside and appear whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import InfrastructureError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT}
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


def cache_root() -> Path:
    """``HARNESS_CACHE``, else ``$XDG_CACHE_HOME/harness``, else ``~/.cache/harness``."""
    if chosen := os.environ.get("HARNESS_CACHE"):
        return Path(chosen).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).absolute() / "harness"
    return Path.home() / ".cache" / "harness"


def cached(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Folder ``kind/key`` of the cache, made by ``build`` unless it is there.

    ``build`` fills an empty folder that takes its final name only once it is complete.
    Processes that want the same entry wait for the one that builds it.

    Raises:
        InfrastructureError: the disk is full or the cache cannot be written.
    """
    entry = cache_root() / kind / key
    with disk_trouble_explained():
        if not entry.is_dir():
            with _locked(entry.with_name(f".{key}.lock")):
                if not entry.is_dir():
                    _build(entry, build)
    return entry


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` so that readers see the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_trouble_explained() -> Iterator[None]:
    """Turn a full disk or an unwritable cache into an error that names the fix."""
    root = cache_root()
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full() from error
        if error.errno in _NO_LOCKS:
            raise InfrastructureError(
                f"the file system of the cache {root} has no file locks; "
                "set HARNESS_CACHE to a folder on a local disk"
            ) from error
        if error.errno in _UNWRITABLE and _concerns(error, root):
            raise InfrastructureError(
                f"the cache {root} cannot be written ({os.strerror(error.errno or 0)}); "
                "set HARNESS_CACHE to a folder you can write to"
            ) from error
        raise


def disk_full() -> InfrastructureError:
    """Error for a cache that has no room left."""
    return InfrastructureError(
        f"no space left for the cache {cache_root()}; free some, "
        "or set HARNESS_CACHE to a folder on a larger disk"
    )


def _concerns(error: OSError, root: Path) -> bool:
    names = [Path(os.fsdecode(n)) for n in (error.filename, error.filename2) if n is not None]
    return any(name == root or root in name.parents or name in root.parents for name in names)


def _build(entry: Path, build: Callable[[Path], None]) -> None:
    partial = entry.with_name(f".{entry.name}.partial")
    # The lock is held: whatever lies here was left by a process that died.
    _remove(partial)
    partial.mkdir()
    try:
        build(partial)
        partial.replace(entry)
    finally:
        _remove(partial)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
