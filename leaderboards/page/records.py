"""The records behind a board as data for the page's script."""

from __future__ import annotations

import json
from typing import Any

from leaderboards.tables import Board

SHARED = ("model", "calibration", "data", "environment")
"""Parts that many records have in common."""


def documents(board: Board) -> dict[str, list[Any]]:
    """Each record without samples and layers; a shared part is its place in ``shared``."""
    places: dict[str, int] = {}
    shared: list[Any] = []
    records = []
    for record in board.records:
        document = record.model_dump(mode="json")
        for name in SHARED:
            key = json.dumps(document[name])
            if key not in places:
                places[key] = len(shared)
                shared.append(document[name])
            document[name] = places[key]
        if document["compression"]:
            del document["compression"]["layers"]
        if document["result"]:
            del document["result"]["samples"]
        records.append(document)
    return {"shared": shared, "records": records}
