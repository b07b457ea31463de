"""Every figure of a board, section by section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from leaderboards.figures.figure import Figure
from leaderboards.figures.flops import flops_figures
from leaderboards.figures.heatmap import heat_maps
from leaderboards.figures.ratio import ratio_figures
from leaderboards.tables import Board, Table


def section_figures(number: int, tables: Sequence[Table]) -> Iterator[Figure]:
    """Those of one section: by ratio, by work, by slice."""
    for table in tables:
        yield from ratio_figures(number, table)
    yield from flops_figures(number, tables)
    for table in tables:
        yield from heat_maps(number, table)


def figures(board: Board) -> Iterator[Figure]:
    """All of them, no two of one name."""
    seen: dict[str, int] = {}
    for number, tables in enumerate(board.sections, start=1):
        for figure in section_figures(number, tables):
            times = seen[figure.name] = seen.get(figure.name, 0) + 1
            yield replace(figure, name=f"{figure.name}-{times}") if times > 1 else figure
