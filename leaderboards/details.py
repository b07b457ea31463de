"""What stands below the tables of a board: every value in full, and what is not ranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.support.markdown import escape, markdown_table
from leaderboards.markdown_cells import names
from leaderboards.numbers import exact, percent
from leaderboards.slices import WHOLE
from leaderboards.tables import BoardCell, BoardRow, Column, Table, Unranked

DETAILS = (
    "Table", "Model", "Method", "Ratio", "Task", "Slice", "Value", "Standard error",
    "95% interval", "n", "Run",
)  # fmt: skip
DETAILS_RULE = "| --: | --- | --- | --: | --- | --- | --: | --: | --: | --: | --- |"
UNRANKED = ("Record", "Model", "Method", "Ratio", "Task", "Reason")
UNRANKED_RULE = "| --- | --- | --- | --- | --- | --- |"


def details(sections: Sequence[Sequence[Table]]) -> Iterator[str]:
    """Every value with its uncertainty and its run."""
    return markdown_table(DETAILS, DETAILS_RULE, _details(sections))


def unranked(results: Iterable[Unranked]) -> Iterator[str]:
    """What takes no part, and why."""
    return markdown_table(UNRANKED, UNRANKED_RULE, map(_unranked, results))


def _details(sections: Sequence[Sequence[Table]]) -> Iterator[list[str]]:
    for number, tables in enumerate(sections, start=1):
        for table in tables:
            subject = [str(number), names(table.model.references)]
            for row, column, cell in table.places:
                for part in (cell, *cell.slices):
                    for value in (part, *part.members):
                        yield [*subject, *_value(row, column, value)]


def _value(row: BoardRow, column: Column, cell: BoardCell) -> list[str]:
    ends = cell.interval or ()
    return [
        escape(row.label),
        percent(column.ratio),
        escape(column.task),
        escape(cell.slice or (WHOLE if cell.slices else "")),
        exact(cell.value, cell.unit),
        "n/a" if cell.stderr is None else exact(cell.stderr, cell.unit),
        " to ".join(exact(end, cell.unit) for end in ends) or "n/a",
        f"{cell.n} {escape(cell.unit)}",
        f"mean of {cell.seeds} seeds" if cell.members else escape(cell.run_id),
    ]


def _unranked(result: Unranked) -> list[str]:
    subject = map(escape, (result.run_id, result.model, result.method))
    ratio = percent(result.ratio) if result.model else ""
    return [*subject, ratio, escape(result.task), escape(result.reason)]
