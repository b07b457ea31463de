"""What templates ask for beyond what a board tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leaderboards.figures.figure import Figure, colour_scale, labels
from leaderboards.numbers import rounded
from leaderboards.tables import BoardCell, Table


def asides(cell: BoardCell) -> list[str]:
    """What stands beside a value: its uncertainty and the paper's value."""
    error = cell.uncertainty
    notes = []
    if error is not None:
        over = f" over {cell.seeds} seeds" if cell.spread is not None else ""
        notes.append(f"± {rounded(error, cell.metric, cell.unit)}{over}")
    if cell.published is not None:
        notes.append(f"paper {rounded(cell.published, cell.metric, cell.unit)}")
    return notes


def method_colours(tables: Sequence[Table]) -> dict[str, str]:
    """Each label's colour in the charts."""
    scale = colour_scale(labels(tables))
    return dict(zip(scale["domain"], scale["range"], strict=True))


def explanations(figures: Iterable[Figure]) -> list[str]:
    """The notes of all ``figures``, each once."""
    return list(dict.fromkeys(note for figure in figures for note in figure.notes))
