"""Breakdowns as markdown."""

from __future__ import annotations

from collections.abc import Iterator

from harness.support.markdown import escape, markdown_table
from leaderboards.breakdown import ABSENT, Breakdown, breakdowns
from leaderboards.markdown_cells import names, value
from leaderboards.numbers import percent
from leaderboards.tables import Table

CAPTION = "Marked as above, by column and ratio; n is what a column's values are taken over."


def slice_tables(table: Table) -> Iterator[str]:
    """A table for each task with slices."""
    for breakdown in breakdowns(table):
        yield ""
        yield f"### {escape(breakdown.task)} by slice: {names(table.model.references)}"
        yield ""
        yield " ".join([CAPTION, *breakdown.notes])
        yield ""
        headings = ["Method", "Compression", *map(escape, breakdown.headings)]
        rule = "| --- |" + " --: |" * (len(headings) - 1)
        yield from markdown_table(headings, rule, _rows(breakdown))


def _rows(breakdown: Breakdown) -> Iterator[list[str]]:
    for row, column, cell in breakdown.places:
        values = (value(part) if part else ABSENT for part in breakdown.values(cell))
        yield [escape(row.title), percent(column.ratio), *values]
