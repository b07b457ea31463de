"""A board for a terminal: each section's ranking, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.support.tables import Grid
from leaderboards.conditions import conditions, legend
from leaderboards.numbers import percent, rounded
from leaderboards.tables import Board, BoardCell, Column, Table, columns_of, left_out


def grids(board: Board) -> Iterator[Grid]:
    """One for each section, its conditions as the title."""
    for number, tables in enumerate(board.sections, start=1):
        columns = columns_of(tables)
        several = len(tables[0].data) > 1
        names = [
            f"{percent(column.ratio)} {column.task}" if several else percent(column.ratio)
            for column in columns
        ]
        rows = [row for table in tables for row in _rows(table, columns)]
        about = "; ".join(f"{term.lower()}: {text}" for term, text in conditions(tables))
        yield Grid(("method", *names), rows, f"{number}. {tables[0].tasks} ({about})", names)


def closing(board: Board) -> Iterator[str]:
    """The legend, and what does not rank."""
    if board.tables:
        *marks, test = legend("+", "=")
        yield f"{'; '.join(marks)}. {test}."
    if board.unranked:
        yield f"{left_out(board.unranked)}:"
        for result in board.unranked:
            what = " ".join(filter(None, (result.run_id, result.model, result.method, result.task)))
            yield f"  {what}: {result.reason}"


def _rows(table: Table, columns: Sequence[Column]) -> Iterator[list[str]]:
    dense = ", ".join(
        f"{task} {_value(cell)}" if len(table.data) > 1 else _value(cell)
        for task, cell in table.dense_values
    )
    yield [f"{table.name} (dense: {dense or 'not measured'})", *("" for _ in columns)]
    for row in table.rows:
        cells = table.across(row, columns)
        yield [f"  {row.title}", *(_value(cell) if cell else "" for cell in cells)]


def _value(cell: BoardCell) -> str:
    mark = "+" if cell.best else "=" if cell.tied else ""
    star = "*" if cell.better_than_dense else ""
    text = f"{mark}{star}{rounded(cell.value, cell.metric, cell.unit)}"
    error = cell.uncertainty
    return text if error is None else f"{text} ± {rounded(error, cell.metric, cell.unit)}"
