"""Files that people name, and have to be files: a pipe is waited for, a device never ends."""

from __future__ import annotations

import stat
from pathlib import Path

from harness.errors import InfrastructureError, UsageError


def require_regular(path: Path) -> None:
    """Refuse what is there and is no regular file; whether it is there is for who opens it.

    Raises:
        UsageError: it is a pipe, a device, a socket or a folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # a name that no file can have
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise UsageError(f"{path} is {kind}; pass the path of an ordinary file")


def require_regular_files(folder: Path) -> None:
    """Refuse a folder in which something is neither a regular file nor a folder.

    Raises:
        UsageError: names it.
    """
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            require_regular(path)


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """The content of a file that a person has named.

    Args:
        path: of a regular file.
        limit: the most bytes it may have.

    Raises:
        UsageError: there is none, it is no regular file, or it is too large.
        InfrastructureError: it cannot be read.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            content = file.read(-1 if limit is None else limit + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError(f"there is no file {path}; check the path") from error
    except OSError as error:
        raise InfrastructureError(
            f"cannot read {path} ({error.strerror or error}); check its permissions"
        ) from error
    if limit is not None and len(content) > limit:
        raise UsageError(f"{path} is larger than {limit} bytes; split it")
    return content
