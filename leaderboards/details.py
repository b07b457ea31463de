"""What stands below the tables of a board: every value in full, and what is not ranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.support.markdown import escape
from leaderboards.layout import line, names
from leaderboards.numbers import exact, percent
from leaderboards.slices import WHOLE
from leaderboards.tables import Cell, Column, Row, Table, Unranked

COLUMNS = {
    "Table": "--:",
    "Model": "---",
    "Method": "---",
    "Ratio": "--:",
    "Task": "---",
    "Slice": "---",
    "Value": "--:",
    "Standard error": "--:",
    "95% interval": "--:",
    "n": "--:",
    "Run": "---",
}


def details(sections: Sequence[Sequence[Table]]) -> Iterator[str]:
    """Every value with its uncertainty and its run."""
    yield line(COLUMNS)
    yield line(COLUMNS.values())
    for number, tables in enumerate(sections, start=1):
        for table in tables:
            model = names(table.model.references)
            for row, column, cell in table.places:
                for part in (cell, *cell.slices):
                    for one in (part, *part.members):
                        yield _detail(number, model, row, column, one)


def unranked(several: Iterable[Unranked]) -> Iterator[str]:
    """What takes no part, and why."""
    yield line(["Record", "Model", "Method", "Ratio", "Task", "Reason"])
    yield line(["---"] * 6)
    for one in several:
        ratio = percent(one.ratio) if one.model else ""
        known = map(escape, (one.run_id, one.model, one.method))
        yield line([*known, ratio, escape(one.task), escape(one.reason)])


def _detail(number: int, model: str, row: Row, column: Column, cell: Cell) -> str:
    error = "n/a" if cell.stderr is None else exact(cell.stderr, cell.unit)
    runs = f"mean of {cell.seeds} seeds" if cell.members else escape(cell.run_id)
    ends = cell.interval or ()
    return line(
        [
            str(number),
            model,
            escape(row.label),
            percent(column.ratio),
            escape(column.task),
            escape(cell.slice or (WHOLE if cell.slices else "")),
            exact(cell.value, cell.unit),
            error,
            " to ".join(exact(end, cell.unit) for end in ends) or "n/a",
            f"{cell.n} {escape(cell.unit)}",
            runs,
        ]
    )
