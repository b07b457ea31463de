"""Best of a column, tied with it, better than dense: as far as a paired test supports it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scipy import stats

from harness.records.observations import Unpaired
from harness.records.paired_tests import paired_differences
from leaderboards.conditions import LEVEL
from leaderboards.slices import position
from leaderboards.tables import BoardCell, BoardRow, Column

Cells = list[BoardCell | None]


def marked(
    rows: Sequence[BoardRow],
    columns: Sequence[Column],
    dense: Mapping[str, Sequence[BoardCell]],
    *,
    higher: bool,
) -> tuple[BoardRow, ...]:
    """``rows`` with their marks; ``dense`` holds the cells of the dense model by task."""
    by_column = [
        _marked_column([row.cells[i] for row in rows], dense.get(column.task, ()), higher)
        for i, column in enumerate(columns)
    ]
    by_row = zip(*by_column, strict=True)
    return tuple(replace(row, cells=cells) for row, cells in zip(rows, by_row, strict=True))


def is_better(a: BoardCell, b: BoardCell, *, higher: bool) -> bool | None:
    """Whether ``a`` beats ``b`` in a paired test; None where they cannot be paired.

    Values over several seeds are paired by each sample's mean over the seeds. If both are, the
    seeds must support the difference too (Welch's t test).
    """
    if a.evidence is None or b.evidence is None:
        return None
    differences = paired_differences(b.evidence, a.evidence)
    if isinstance(differences, Unpaired):
        return None
    sign = 1 if higher else -1
    ahead = min(sign * (a.value - b.value), sign * differences.mean) > 0
    return ahead and differences.p_value < LEVEL and _seeds_differ(a, b)


def _seeds_differ(a: BoardCell, b: BoardCell) -> bool:
    if not (a.spread and b.spread):  # a single run, or seeds that change nothing
        return True
    first, second = ([cell.value for cell in members] for members in (a.members, b.members))
    return bool(stats.ttest_ind(first, second, equal_var=False).pvalue < LEVEL)


def _marked_column(cells: Cells, dense: Sequence[BoardCell], higher: bool) -> Cells:
    best, tied = _leaders([cell for cell in cells if cell], higher)
    slices = _marked_slices(cells, dense, higher)
    return [
        cell
        and replace(
            cell,
            best=cell is best,
            tied=any(cell is leader for leader in tied),
            better_than_dense=bool(dense) and _beats_all(cell, dense, higher),
            slices=slices[i],
        )
        for i, cell in enumerate(cells)
    ]


def _leaders(cells: Sequence[BoardCell], higher: bool) -> tuple[BoardCell | None, list[BoardCell]]:
    """The cell that beats all others, or those of which none beats the other; perhaps neither."""
    if len(cells) < 2:
        return None, []
    first = (max if higher else min)(cells, key=lambda cell: cell.value)
    others = [cell for cell in cells if cell is not first]
    verdicts = [is_better(first, cell, higher=higher) for cell in others]
    if all(verdicts):
        return first, []
    if None in verdicts:
        return None, []
    return None, [first, *(c for c, better in zip(others, verdicts, strict=True) if not better)]


def _beats_all(cell: BoardCell, others: Iterable[BoardCell], higher: bool) -> bool:
    return all(is_better(cell, other, higher=higher) for other in others)


def _marked_slices(
    cells: Cells, dense: Sequence[BoardCell], higher: bool
) -> list[tuple[BoardCell, ...]]:
    """The slices of each of ``cells``, each marked among its own kind."""
    names = {part.slice or "" for cell in cells if cell for part in cell.slices}
    by_slice = [
        _marked_column(
            [cell and cell.part(name) for cell in cells],
            [part for cell in dense if (part := cell.part(name))],
            higher,
        )
        for name in sorted(names, key=position)
    ]
    return [tuple(filter(None, parts)) for parts in zip(*by_slice, strict=True)] or [()] * len(
        cells
    )
