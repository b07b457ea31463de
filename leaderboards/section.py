"""Tables of one kind as markdown, a block for each model, as in the paper's Tables 3 and 10."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.support.markdown import escape
from leaderboards.conditions import caveats, conditions, models
from leaderboards.layout import line, names, value
from leaderboards.numbers import percent
from leaderboards.slice_tables import slice_tables
from leaderboards.tables import Column, Table, columns_of


def section(number: int, tables: Sequence[Table]) -> Iterator[str]:
    """Everything about ``tables``, which differ in the model only.

    Methods down, ratio by task across; the slices of each model follow.
    """
    tasks = [data.task for data in tables[0].data]
    columns = columns_of(tables)
    yield f"## {number}. {names(tasks)}"
    yield ""
    yield " ".join(_caption(tables))
    yield ""
    yield from _header(columns, several=len(tasks) > 1)
    for table in tables:
        yield from _block(table, columns)
    for table in tables:
        yield from slice_tables(table)


def _caption(tables: Sequence[Table]) -> Iterator[str]:
    for term, text in conditions(tables):
        yield f"{term}: {escape(text)}."
    for model, notes in models(tables):
        yield f"Model: {escape(model)}."
        yield from (f"{escape(note)}." for note in notes)
    yield from map(escape, caveats(tables))


def _header(columns: Sequence[Column], *, several: bool) -> Iterator[str]:
    before = [None, *(column.ratio for column in columns)]
    ratios = [
        "" if column.ratio == last else percent(column.ratio)
        for column, last in zip(columns, before, strict=False)
    ]
    yield line(["Compression", *ratios])
    yield line(["---", *("--:" for _ in columns)])
    if several:
        yield line(["", *(escape(column.task) for column in columns)])


def _block(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    dense = ", ".join(_dense(table, data.task) for data in table.data)
    yield line([f"{names(table.model.references)} ({dense})", *("" for _ in columns)])
    for row in table.rows:
        cells = dict(zip(table.columns, row.cells, strict=True))
        found = (cells.get(column) for column in columns)
        yield line([escape(row.title), *(value(cell) if cell else "" for cell in found)])


def _dense(table: Table, task: str) -> str:
    cells = [cell for dense in table.dense if dense.task == task for cell in dense.cells]
    return f"{escape(task)}: {' or '.join(map(value, cells)) or 'not measured'}"
