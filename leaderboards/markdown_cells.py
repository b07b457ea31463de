"""What stands in a cell of a markdown table."""

from __future__ import annotations

from collections.abc import Iterable

from harness.support.markdown import escape
from leaderboards.numbers import rounded
from leaderboards.tables import BoardCell


def names(references: Iterable[str]) -> str:
    """Names that others chose, with commas."""
    return ", ".join(map(escape, references))


def value(cell: BoardCell) -> str:
    """A measured value with its marks, and the paper's beside it."""
    text = rounded(cell.value, cell.metric, cell.unit)
    text = (r"\*" if cell.better_than_dense else "") + text
    if cell.spread is not None:
        text += f" ± {rounded(cell.spread, cell.metric, cell.unit)} ({cell.seeds} seeds)"
    measured = f"**{text}**" if cell.best else f"*{text}*" if cell.tied else text
    if cell.published is None:
        return measured
    return f"{measured} (paper {rounded(cell.published, cell.metric, cell.unit)})"
