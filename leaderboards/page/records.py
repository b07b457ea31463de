"""The records behind a board as data for the page's script."""

from __future__ import annotations

import json
from typing import Any

from leaderboards.tables import Board

BULK = {"compression": {"layers"}, "result": {"samples"}}

SHARED = ("model", "calibration", "data", "environment", "peak_memory")
SHARED_OF_SPEC = ("method", "calibration", "task")
"""Parts that many records have in common."""


def documents(board: Board) -> dict[str, list[Any]]:
    """Each record without samples and layers; a shared part is its place in ``shared``."""
    places: dict[str, int] = {}
    shared: list[Any] = []

    def place(part: Any) -> int:
        key = json.dumps(part)
        if key not in places:
            places[key] = len(shared)
            shared.append(part)
        return places[key]

    records = []
    for record in board.records:
        document = record.model_dump(mode="json", exclude=BULK)
        document |= {name: place(document[name]) for name in SHARED}
        document["spec"] |= {name: place(document["spec"][name]) for name in SHARED_OF_SPEC}
        records.append(document)
    return {"shared": shared, "records": records}
