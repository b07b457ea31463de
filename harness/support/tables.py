"""Tables that keep every column and every name, however narrow the terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table

from harness.support.console import console
from harness.support.terminal import one_line

_BORDER = 3
"""Characters between two columns."""


@dataclass(frozen=True)
class Grid:
    """A table that is not laid out yet.

    ``numbers`` are the headings of columns that stand at the right; ``total`` is a last row.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    numbers: Collection[str] = ()
    total: Sequence[str] | None = None


def print_grid(grid: Grid) -> None:
    """Write ``grid`` to standard output.

    In columns where they fit the terminal, and where it is no terminal; else each row becomes a
    block of lines, which a terminal may wrap without that a name is cut.
    """
    rows = [[one_line(cell) for cell in row] for row in grid.rows]
    total = [one_line(cell) for cell in grid.total or ()]
    output = console()
    if not sys.stdout.isatty() or _width(grid, [*rows, total]) <= output.width:
        output.print(_table(grid, rows, total))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _blocks(grid, rows, total)))


def _width(grid: Grid, rows: Sequence[Sequence[str]]) -> int:
    columns = zip(*(row for row in (grid.headings, *rows) if row), strict=True)
    return sum(max(map(cell_len, column)) + _BORDER for column in columns) + 1


def _table(grid: Grid, rows: Sequence[Sequence[str]], total: Sequence[str]) -> Table:
    table = Table(title=one_line(grid.title) or None, show_footer=bool(total), title_justify="left")
    for heading, footer in zip(grid.headings, total or [""] * len(grid.headings), strict=True):
        justify: JustifyMethod = "right" if heading in grid.numbers else "left"
        table.add_column(heading, footer=footer, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _blocks(grid: Grid, rows: Sequence[Sequence[str]], total: Sequence[str]) -> Iterator[str]:
    if grid.title:
        yield one_line(grid.title)
    for row in filter(None, [*rows, total]):
        named = [(name, cell) for name, cell in zip(grid.headings, row, strict=True) if cell]
        (_, first), *rest = named or [("", "")]
        yield first
        yield from (f"  {name}: {cell}" for name, cell in rest)
