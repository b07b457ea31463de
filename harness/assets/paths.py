"""Telling local paths from names."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError


def existing_path(reference: str, suffixes: tuple[str, ...]) -> Path | None:
    """The path that ``reference`` is, or None if it is a name.

    Whatever exists is a path. So is what starts like one, has several slashes, or ends in
    one of ``suffixes``, in capitals or not; then it has to exist.

    Raises:
        UsageError: it can only be a path, and there is none.
    """
    path = Path(reference).expanduser()
    if path.exists():
        return path
    if (
        reference.startswith((".", "/", "~"))
        or reference.lower().endswith(("/", *suffixes))
        or reference.partition("@")[0].count("/") > 1
    ):
        raise UsageError(f"no such file or folder: {reference}")
    return None
