"""What a board consists of; a table holds only numbers that may be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from harness.plugin import RunRecord
from harness.records.spec import DENSE

if TYPE_CHECKING:
    from harness.records.observations import Observations


@dataclass(frozen=True)
class BoardCell:
    """One measured value.

    ``best`` is the value that beats each other one of its column in a paired test, ``tied`` those
    of a column without such a value of which none beats the other. ``better_than_dense`` needs a
    test as well, and is False also where no dense reference was measured under the same
    conditions. ``evidence`` is what they are tested on, None where there is nothing.
    ``published`` is the paper's value, in the same unit, where the two are comparable.
    ``interval`` is the 95% confidence interval. ``slice`` names the part of the data it is about,
    None for the whole, whose parts are ``slices``.

    Where runs differ in their seed only, ``value`` is their mean, ``spread`` their standard
    deviation (n - 1), and ``members`` are the single values.
    """

    value: float
    stderr: float | None
    n: int
    unit: str
    metric: str
    run_id: str
    published: float | None
    better_than_dense: bool = False
    best: bool = False
    tied: bool = False
    interval: tuple[float, float] | None = None
    slice: str | None = None
    slices: tuple[BoardCell, ...] = ()
    spread: float | None = None
    members: tuple[BoardCell, ...] = ()
    macs: int | None = None
    evidence: Observations | None = field(default=None, repr=False, compare=False)

    @property
    def seeds(self) -> int:
        """How many runs are behind the value."""
        return len(self.run_ids)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs behind the value."""
        return tuple(cell.run_id for cell in self.members or (self,))

    @property
    def uncertainty(self) -> float | None:
        """What stands behind ±: the deviation over seeds, else the standard error."""
        return self.stderr if self.spread is None else self.spread

    def part(self, name: str) -> BoardCell | None:
        """The slice of that name, if it was measured."""
        return next((cell for cell in self.slices if cell.slice == name), None)


@dataclass(frozen=True, order=True)
class Column:
    """Ratio is the share of parameters removed."""

    ratio: float
    task: str


@dataclass(frozen=True)
class BoardRow:
    """A method; ``cells`` follow the table's columns.

    ``runs`` names the runs of the row where other rows carry the same label.
    """

    label: str
    runs: tuple[str, ...]
    cells: tuple[BoardCell | None, ...]

    @property
    def title(self) -> str:
        """The label, and the runs where others carry the same label."""
        if not self.runs:
            return self.label
        more = f" and {len(self.runs) - 1} more" if len(self.runs) > 1 else ""
        return f"{self.label} (run {self.runs[0]}{more})"


@dataclass(frozen=True)
class DenseReference:
    """The uncompressed model on one task; more than one cell only where runs disagree."""

    task: str
    cells: tuple[BoardCell, ...]


@dataclass(frozen=True)
class TableModel:
    """The model of a table; ``references`` are the names under which it was loaded."""

    family: str
    parameters: int
    references: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TableCalibration:
    """As in the run's specification but the seed, with the fingerprint of what was read.

    ``length`` is None for whole samples.
    """

    text: str
    samples: int
    length: int | None
    sampling: str
    self_samples: int
    fingerprint: str


@dataclass(frozen=True)
class Data:
    """What a task was measured on; ``options`` are the task's, as JSON."""

    task: str
    references: tuple[str, ...]
    fingerprint: str
    options: str


@dataclass(frozen=True)
class Table:
    """Results that differ in method, ratio and task only; accuracies in ratio and method only.

    ``scope`` is the part of the model that is compressed, ``seeds`` are those of the calibration,
    ``cautions`` say what changed all numbers of a task alike.
    """

    model: TableModel
    dtype: str
    metric: str
    unit: str
    higher_is_better: bool
    scope: str
    calibration: TableCalibration | None
    seeds: tuple[int, ...]
    data: tuple[Data, ...]
    dense: tuple[DenseReference, ...]
    columns: tuple[Column, ...]
    rows: tuple[BoardRow, ...]
    cautions: tuple[str, ...] = ()

    @property
    def conditions(self) -> tuple[object, ...]:
        """Equal for tables that differ in the model, hence in its results, only."""
        kind = (self.metric, self.unit, self.higher_is_better)
        return (self.data, kind, self.dtype, self.scope, self.calibration)

    @property
    def name(self) -> str:
        """The names of its model."""
        return ", ".join(self.model.references)

    @property
    def tasks(self) -> str:
        """The names of its tasks."""
        return ", ".join(data.task for data in self.data)

    @property
    def dense_values(self) -> list[tuple[str, BoardCell]]:
        """Those of the dense model, each with its task."""
        return [(dense.task, cell) for dense in self.dense for cell in dense.cells]

    def across(self, row: BoardRow, columns: Sequence[Column]) -> list[BoardCell | None]:
        """The cells of ``row`` under ``columns``, which may be those of other tables too."""
        cells = dict(zip(self.columns, row.cells, strict=True))
        return [cells.get(column) for column in columns]

    @property
    def places(self) -> Iterator[tuple[BoardRow, Column, BoardCell]]:
        """Each measured value with its row and column, those of the dense model first."""
        for dense in self.dense:
            for cell in dense.cells:
                runs = (cell.run_id,) if len(dense.cells) > 1 else ()
                yield BoardRow(DENSE, runs, (cell,)), Column(0.0, dense.task), cell
        for at, column in enumerate(self.columns):
            for row in self.rows:
                measured = row.cells[at]
                if measured:
                    yield row, column, measured


def columns_of(tables: Sequence[Table]) -> list[Column]:
    """The columns of ``tables``, which differ in the model only: by ratio, then by task."""
    tasks = [data.task for data in tables[0].data]
    return sorted(
        {column for table in tables for column in table.columns},
        key=lambda column: (column.ratio, tasks.index(column.task)),
    )


def ratio_spans(columns: Sequence[Column]) -> list[tuple[float, int]]:
    """Each ratio with the number of ``columns`` next to each other that have it."""
    runs = groupby(columns, lambda column: column.ratio)
    return [(ratio, len(list(run))) for ratio, run in runs]


@dataclass(frozen=True, order=True)
class Unranked:
    """A result or a file that takes no part in the comparison; empty where unknown.

    ``cause`` is the reason in a word or two, under which such results are counted.
    """

    model: str
    method: str
    ratio: float
    task: str
    run_id: str
    cause: str
    reason: str


def left_out(results: Sequence[Unranked]) -> str:
    """How many results do not rank and why, on one line: the commonest reasons first."""
    causes = Counter(result.cause for result in results)
    counted = sorted(causes.items(), key=lambda cause: (-cause[1], cause[0]))
    reasons = ", ".join(f"{count:,} {cause}" for cause, count in counted)
    return f"Not ranked: {len(results):,} ({reasons})"


@dataclass(frozen=True)
class Board:
    """Everything a leaderboard shows.

    ``records`` are those behind it, in the order of their run ids, without samples and layers.
    """

    tables: tuple[Table, ...]
    unranked: tuple[Unranked, ...]
    records: tuple[RunRecord, ...] = ()

    @property
    def sections(self) -> tuple[tuple[Table, ...], ...]:
        """Tables that differ in the model only, together."""
        groups: dict[tuple[object, ...], list[Table]] = {}
        for table in self.tables:
            groups.setdefault(table.conditions, []).append(table)
        return tuple(map(tuple, groups.values()))
