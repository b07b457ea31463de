"""What a board holds, in a form that is easy to compare."""

from __future__ import annotations

from leaderboards.board import board
from leaderboards.tables import BoardCell, Table


def only_table(records) -> Table:
    (table,) = board(records).tables
    return table


def cells(table: Table) -> dict[tuple[str, float, str], BoardCell]:
    return {
        (row.label, column.ratio, column.task): cell
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if cell
    }
