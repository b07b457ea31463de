"""SHA-256 of files, remembered while a file stays as it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from harness.assets.cache import cache_root
from harness.records.document import digest
from harness.support.files import write_file
from harness.support.hashing import content_sha256

HASHES = "hashes"
"""Folder of the cache."""


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's content.

    The hash is remembered by path, size and times, so that large weights are read once.
    """
    path = path.resolve()
    stat = path.stat()
    state = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    memo = cache_root() / HASHES / f"{digest(str(path))[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        remembered = json.loads(memo.read_text(encoding="utf-8"))
        if isinstance(remembered, dict) and remembered.get("state") == state:
            return str(remembered["sha256"])
    sha256 = content_sha256(path)
    # Remembering only saves time: a cache that cannot be written must not stop a run.
    with contextlib.suppress(OSError):
        write_file(memo, json.dumps({"state": state, "sha256": sha256}))
    return sha256


def files_sha256(files: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files of one folder, in any order given."""
    return digest(sorted([file.name, file_sha256(file)] for file in files))


def texts_sha256(texts: Iterable[str]) -> str:
    """SHA-256 over texts, each preceded by its length, so that boundaries count."""
    total = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", errors="surrogatepass")
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()
