"""A task's values by slice, in the shape of the paper's Table 4, for every format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leaderboards.slices import SCIENCEQA_NOTE, WHOLE, columns, is_scienceqa
from leaderboards.tables import BoardCell, BoardRow, Column, Table

ABSENT = "n/a"

Place = tuple[BoardRow, Column, BoardCell]


@dataclass(frozen=True)
class Breakdown:
    """Method and ratio down, ``slices`` across, the whole last."""

    task: str
    slices: tuple[str, ...]
    places: tuple[Place, ...]

    @property
    def headings(self) -> list[str]:
        """Each slice and the whole, with what their values are taken over."""
        cells = [cell for _, _, cell in self.places]
        parts = [
            _heading(name, [part for cell in cells if (part := cell.part(name))])
            for name in self.slices
        ]
        return [*parts, _heading(WHOLE, cells)]

    def values(self, cell: BoardCell) -> list[BoardCell | None]:
        """Those of one row, None where a slice was not measured."""
        return [*(cell.part(name) for name in self.slices), cell]

    @property
    def notes(self) -> list[str]:
        """What a reader must know about the slices."""
        gaps = any(None in self.values(cell) for _, _, cell in self.places)
        return [
            *([SCIENCEQA_NOTE] if is_scienceqa(self.slices) else []),
            *([f"{ABSENT}: no breakdown available."] if gaps else []),
        ]


def breakdowns(table: Table) -> Iterator[Breakdown]:
    """One for each task that has slices."""
    for task in (data.task for data in table.data):
        places = tuple(place for place in table.places if place[1].task == task)
        slices = columns(part.slice or "" for _, _, cell in places for part in cell.slices)
        if slices:
            yield Breakdown(task, slices, places)


def _heading(name: str, cells: Sequence[BoardCell]) -> str:
    counts = " or ".join(f"{n:,}" for n in sorted({cell.n for cell in cells}))
    return f"{name} (n {counts})" if counts else name
