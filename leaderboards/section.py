"""Tables of one kind as markdown, a block for each model, as in the paper's Tables 3 and 10."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.support.markdown import escape, markdown_table
from leaderboards.conditions import caveats, conditions, models
from leaderboards.markdown_cells import names, value
from leaderboards.numbers import percent
from leaderboards.slice_tables import slice_tables
from leaderboards.tables import Column, Table, columns_of, ratio_spans


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
    rule = "| --- |" + " --: |" * len(columns)
    yield from markdown_table(_headings(columns), rule, _rows(tables, columns))
    for table in tables:
        yield from slice_tables(table)


def _caption(tables: Sequence[Table]) -> Iterator[str]:
    for term, text in conditions(tables):
        yield f"{term}: {escape(text)}."
    for model, notes in models(tables):
        yield f"Model: {escape(model)}."
        yield from (f"{escape(note)}." for note in notes)
    yield from map(escape, caveats(tables))


def _headings(columns: Sequence[Column]) -> Iterator[str]:
    yield "Compression"
    for ratio, count in ratio_spans(columns):
        yield percent(ratio)
        yield from [""] * (count - 1)


def _rows(tables: Sequence[Table], columns: Sequence[Column]) -> Iterator[list[str]]:
    if len(tables[0].data) > 1:
        yield ["", *(escape(column.task) for column in columns)]
    for table in tables:
        dense = ", ".join(_dense(table, data.task) for data in table.data)
        yield [f"{names(table.model.references)} ({dense})", *("" for _ in columns)]
        for row in table.rows:
            cells = table.across(row, columns)
            yield [escape(row.title), *(value(cell) if cell else "" for cell in cells)]


def _dense(table: Table, task: str) -> str:
    cells = [cell for dense in table.dense if dense.task == task for cell in dense.cells]
    return f"{escape(task)}: {' or '.join(map(value, cells)) or 'not measured'}"
