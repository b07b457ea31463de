"""A board as CSV for spreadsheets and data frames: one row a value, with all its conditions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict

from harness.support.markdown import visible
from leaderboards.tables import Board, BoardCell, BoardRow, Column, Table, Unranked

COLUMNS = (
    "kind", "section", "model", "model_fingerprint", "family", "parameters", "method", "ratio",
    "task", "slice", "metric", "unit", "higher_is_better", "value", "stderr", "interval_low",
    "interval_high", "n", "seeds", "spread", "published", "best", "tied", "better_than_dense",
    "macs_per_token", "dtype", "scope", "calibration", "data", "data_fingerprint", "task_options",
    "run_id", "reason",
)  # fmt: skip
"""``kind`` is ``run``, ``mean`` (over ``seeds`` runs, whose own rows follow) or ``unranked``."""

FORMULA = ("=", "+", "-", "@")
"""A spreadsheet would compute text that begins so."""

Fields = dict[str, object]


def render(board: Board) -> str:
    """CSV text with a header; accuracies are shares of 1, ratios shares removed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for number, tables in enumerate(board.sections, start=1):
        for table in tables:
            for place in table.places:
                writer.writerows(map(_safe, _values(number, table, *place)))
    writer.writerows(_safe(_apart(result)) for result in board.unranked)
    return text.getvalue()


def _values(
    number: int, table: Table, row: BoardRow, column: Column, cell: BoardCell
) -> Iterator[Fields]:
    shared = {"section": number, **_conditions(table, column.task)}
    shared |= {"method": row.label, "ratio": column.ratio, "task": column.task}
    for part in (cell, *cell.slices):
        for value in (part, *part.members):
            yield shared | _measured(value)


def _conditions(table: Table, task: str) -> Fields:
    data = next(data for data in table.data if data.task == task)
    calibration = asdict(table.calibration) if table.calibration else None
    return {
        "model": " ".join(table.model.references),
        "model_fingerprint": table.model.fingerprint,
        "family": table.model.family,
        "parameters": table.model.parameters,
        "higher_is_better": table.higher_is_better,
        "dtype": table.dtype,
        "scope": table.scope,
        "calibration": json.dumps(calibration, ensure_ascii=False) if calibration else "",
        "data": " ".join(data.references),
        "data_fingerprint": data.fingerprint,
        "task_options": data.options,
    }


def _measured(cell: BoardCell) -> Fields:
    low, high = cell.interval or (None, None)
    return {
        "kind": "mean" if cell.members else "run",
        "slice": cell.slice,
        "metric": cell.metric,
        "unit": cell.unit,
        "value": cell.value,
        "stderr": cell.stderr,
        "interval_low": low,
        "interval_high": high,
        "n": cell.n,
        "seeds": cell.seeds,
        "spread": cell.spread,
        "published": cell.published,
        "best": cell.best,
        "tied": cell.tied,
        "better_than_dense": cell.better_than_dense,
        "macs_per_token": cell.macs,
        "run_id": " ".join(cell.run_ids),
    }


def _apart(result: Unranked) -> Fields:
    known = asdict(result)
    del known["cause"]
    if not result.model:
        known = {"run_id": result.run_id, "reason": result.reason}
    return {"kind": "unranked", **known}


def _safe(fields: Fields) -> Fields:
    return {name: _cell(value) for name, value in fields.items()}


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(FORMULA) else text
