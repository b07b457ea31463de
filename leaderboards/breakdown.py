"""A task's slices as markdown, in the shape of the paper's Table 4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leaderboards.escape import escape
from leaderboards.layout import line, names, title, value
from leaderboards.numbers import percent
from leaderboards.slices import SCIENCEQA_NOTE, WHOLE, columns, is_scienceqa
from leaderboards.tables import Cell, Column, Row, Table

ABSENT = "n/a"

Place = tuple[Row, Column, Cell]


def breakdowns(table: Table) -> Iterator[str]:
    """For each task with slices: method and ratio down, slices across, the whole last."""
    for task in (data.task for data in table.data):
        places = [place for place in table.places if place[1].task == task]
        slices = columns(part.slice or "" for _, _, cell in places for part in cell.slices)
        if slices:
            body = list(_body(places, slices))
            yield ""
            yield f"### {escape(task)} by slice: {names(table.model.references)}"
            yield ""
            yield _caption(slices, gaps=any(ABSENT in cells for cells in body))
            yield ""
            yield line(["Method", "Compression", *_header(places, slices)])
            yield line(["---", *("--:" for _ in range(len(slices) + 2))])
            yield from map(line, body)


def _caption(slices: Sequence[str], *, gaps: bool) -> str:
    sentences = [
        "Best of a column and ratio in **bold**; n is what a column's values are taken over.",
        *([SCIENCEQA_NOTE] if is_scienceqa(slices) else []),
        *([f"{ABSENT}: no breakdown available."] if gaps else []),
    ]
    return " ".join(sentences)


def _header(places: Sequence[Place], slices: Sequence[str]) -> Iterator[str]:
    cells = [cell for _, _, cell in places]
    for name in slices:
        yield _heading(name, [part for cell in cells if (part := cell.part(name))])
    yield _heading(WHOLE, cells)


def _heading(name: str, cells: Sequence[Cell]) -> str:
    counts = " or ".join(f"{n:,}" for n in sorted({cell.n for cell in cells}))
    return f"{escape(name)} (n {counts})" if counts else escape(name)


def _body(places: Sequence[Place], slices: Sequence[str]) -> Iterator[list[str]]:
    for row, column, cell in places:
        parts = (cell.part(name) for name in slices)
        measured = [value(part) if part else ABSENT for part in parts]
        yield [title(row), percent(column.ratio), *measured, value(cell)]
