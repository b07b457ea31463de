"""Pieces of markdown that every part of a board is made of."""

from __future__ import annotations

from collections.abc import Iterable

from harness.support.markdown import escape
from leaderboards.numbers import rounded
from leaderboards.tables import Cell


def line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def names(several: Iterable[str]) -> str:
    """Names that others chose, with commas."""
    return ", ".join(map(escape, several))


def value(cell: Cell) -> str:
    """A measured value with its marks, and the paper's beside it."""
    text = rounded(cell.value, cell.metric, cell.unit)
    text = (r"\*" if cell.better_than_dense else "") + text
    if cell.spread is not None:
        text += f" ± {rounded(cell.spread, cell.metric, cell.unit)} ({cell.seeds} seeds)"
    measured = f"**{text}**" if cell.best else text
    if cell.published is None:
        return measured
    return f"{measured} (paper {rounded(cell.published, cell.metric, cell.unit)})"
