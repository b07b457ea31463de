"""Pieces of markdown that every part of a board is made of."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboards.escape import escape
from leaderboards.numbers import rounded
from leaderboards.tables import Cell, Row

SHORT = 12
"""Digits of a fingerprint that are shown."""


def line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def names(several: Iterable[str]) -> str:
    """Names that others chose, with commas."""
    return ", ".join(map(escape, several))


def short(fingerprint: str) -> str:
    """The beginning of a fingerprint."""
    return escape(fingerprint[:SHORT])


def title(row: Row) -> str:
    """The label of a row, and its runs where others carry the same label."""
    if not row.runs:
        return escape(row.label)
    more = f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else ""
    return f"{escape(row.label)} (run {escape(row.runs[0])}{more})"


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
