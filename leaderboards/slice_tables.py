"""Breakdowns as markdown."""

from __future__ import annotations

from collections.abc import Iterator

from harness.support.markdown import escape
from leaderboards.breakdown import ABSENT, Breakdown, breakdowns
from leaderboards.layout import line, names, value
from leaderboards.numbers import percent
from leaderboards.tables import Table

CAPTION = "Best of a column and ratio in **bold**; n is what a column's values are taken over."


def slice_tables(table: Table) -> Iterator[str]:
    """A table for each task with slices."""
    for one in breakdowns(table):
        yield ""
        yield f"### {escape(one.task)} by slice: {names(table.model.references)}"
        yield ""
        yield " ".join([CAPTION, *one.notes])
        yield ""
        yield line(["Method", "Compression", *map(escape, one.headings)])
        yield line(["---", *("--:" for _ in range(len(one.slices) + 2))])
        yield from _body(one)


def _body(one: Breakdown) -> Iterator[str]:
    for row, column, cell in one.places:
        values = (value(part) if part else ABSENT for part in one.values(cell))
        yield line([escape(row.title), percent(column.ratio), *values])
