"""What a file is known by: its size and the SHA-256 of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileFacts:
    """One file as it was written: its bytes, and the SHA-256 (hex) of what is in it."""

    size: int
    sha256: str


def content_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read anew."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def facts_of(path: Path) -> FileFacts:
    """What is known of the file ``path``, read anew."""
    return FileFacts(size=path.stat().st_size, sha256=content_sha256(path))


def difference(path: Path, facts: FileFacts, sha256: Callable[[Path], str] | None) -> str:
    """What the file ``path`` has instead of what ``facts`` say; empty if it is the same.

    Args:
        path: a file.
        facts: what it is to be.
        sha256: hashes a file; None compares the size only.
    """
    size = path.stat().st_size
    if size != facts.size:
        return f"{size} bytes instead of {facts.size}"
    if sha256 and (actual := sha256(path)) != facts.sha256:
        return f"SHA-256 {actual} instead of {facts.sha256}"
    return ""
