"""Pieces of a page that have a spelling of their own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from urllib.parse import quote


def link(run_ids: Iterable[str]) -> str:
    """Address within the page of the records of some runs."""
    return "#run=" + ",".join(quote(run_id, safe="") for run_id in run_ids)


def source_hash(content: str) -> str:
    """``content`` of a script or style as a Content-Security-Policy names it."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
