"""A board as JSON, for other programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from leaderboards.published import source
from leaderboards.tables import Board

VERSION = 1


def render(board: Board) -> str:
    """JSON text in a fixed order; equal boards give equal bytes."""
    document = {"version": VERSION, "published_source": source(), **asdict(board)}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
