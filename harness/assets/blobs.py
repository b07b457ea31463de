"""Files in the hub's own cache: large ones lie under the SHA-256 of their content."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from harness.assets.hashing import file_sha256

_SHA256 = re.compile(r"[0-9a-f]{64}")


def damaged_blobs(files: Iterable[Path]) -> list[Path]:
    """What lies behind those of ``files`` (links of a snapshot) whose content is not their hash.

    Small files lie under hashes of other kinds and are not looked at. The hash of a file that
    stayed as it was is not computed anew.
    """
    blobs = (file.resolve() for file in files)
    return [
        blob
        for blob in blobs
        if blob.parent.name == "blobs"
        and _SHA256.fullmatch(blob.name)
        and file_sha256(blob) != blob.name
    ]
