"""A board as JSON, for other programs."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass

from leaderboards.published import UNCERTAIN, source
from leaderboards.tables import Board

VERSION = 1


def render(board: Board) -> str:
    """JSON text in a fixed order; equal boards give equal bytes."""
    origin = {"published_source": source(), "published_caveat": UNCERTAIN}
    content = {
        "tables": [_shown(table) for table in board.tables],
        "unranked": [asdict(result) for result in board.unranked],
    }
    document = {"version": VERSION, **origin, **content}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _shown(value: object) -> object:
    """``asdict`` without the samples behind each value."""
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    if not is_dataclass(value):
        return value
    names = (field.name for field in fields(value) if field.name != "evidence")
    return {name: _shown(getattr(value, name)) for name in names}
