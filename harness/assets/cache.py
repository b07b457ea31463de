"""The cache folder: where it is, and what a full disk means."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InfrastructureError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT}


def cache_root() -> Path:
    """``HARNESS_CACHE``, else ``$XDG_CACHE_HOME/harness``, else ``~/.cache/harness``."""
    if chosen := os.environ.get("HARNESS_CACHE"):
        return Path(chosen).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).absolute() / "harness"
    return Path.home() / ".cache" / "harness"


@contextlib.contextmanager
def disk_errors_explained() -> Iterator[None]:
    """Turn a full disk or an unwritable cache into an error that names the fix."""
    root = cache_root()
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full() from error
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
