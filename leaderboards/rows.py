"""The rows of one table, in their order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from leaderboards.entry import BoardEntry, Values
from leaderboards.marks import marked
from leaderboards.methods import method_order
from leaderboards.seeds import mean_cell
from leaderboards.tables import BoardCell, BoardRow, Column, DenseReference

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """``items`` by ``key``, in their own order."""
    groups: defaultdict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def ranked_rows(
    entries: Iterable[BoardEntry],
    columns: Sequence[Column],
    dense: Sequence[DenseReference],
    *,
    higher: bool,
) -> tuple[BoardRow, ...]:
    """Rows in the fixed order of methods, their values marked (see ``marks``)."""
    by_label = grouped(entries, lambda entry: entry.label)
    rows = [
        row
        for label in sorted(by_label, key=method_order)
        for row in _rows(label, by_label[label], columns)
    ]
    dense_by_task = {reference.task: reference.cells for reference in dense}
    return marked(rows, columns, dense_by_task, higher=higher)


def dense_cells(entries: Iterable[BoardEntry]) -> tuple[BoardCell, ...]:
    """One cell per distinct value, smallest first."""
    by_value = grouped(entries, lambda entry: entry.values)
    return tuple(_newest(by_value[value]).cell for value in sorted(by_value))


def _rows(label: str, entries: list[BoardEntry], columns: Sequence[Column]) -> list[BoardRow]:
    groups = _agreeing_groups(entries)
    return [_row(label, groups[key], columns, named=len(groups) > 1) for key in sorted(groups)]


def _agreeing_groups(entries: list[BoardEntry]) -> dict[str, list[BoardEntry]]:
    """The coarsest split in which no column of a group holds two different values of a seed."""
    whole = {"": entries}
    variants = grouped(entries, lambda entry: entry.variant) if _disagree(entries) else whole
    if any(map(_disagree, variants.values())):
        return grouped(entries, lambda entry: entry.variant + entry.identity)
    return variants


def _disagree(entries: Iterable[BoardEntry]) -> bool:
    values: dict[tuple[Column, tuple[int, int]], Values] = {}
    return any(
        values.setdefault((entry.column, entry.seeds), entry.values) != entry.values
        for entry in entries
    )


def _row(
    label: str, entries: list[BoardEntry], columns: Sequence[Column], *, named: bool
) -> BoardRow:
    by_column = grouped(entries, lambda entry: entry.column)
    cells = tuple(
        _over_seeds(by_column[column]) if column in by_column else None for column in columns
    )
    runs = tuple(cell.run_id for cell in cells if cell) if named else ()
    return BoardRow(label, runs, cells)


def _over_seeds(entries: list[BoardEntry]) -> BoardCell:
    by_seeds = grouped(entries, lambda entry: entry.seeds)
    return mean_cell([_newest(by_seeds[seeds]).cell for seeds in sorted(by_seeds)])


def _newest(entries: list[BoardEntry]) -> BoardEntry:
    if len(entries) == 1:
        return entries[0]
    return max(entries, key=lambda e: (e.record.created, e.identity))
