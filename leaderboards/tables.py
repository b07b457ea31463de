"""What a board consists of; a table holds only numbers that may be compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One measured value.

    ``better_than_dense`` is False also where no dense reference was measured under the same
    conditions. ``published`` is the paper's value where the two are comparable.
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


@dataclass(frozen=True, order=True)
class Column:
    """Ratio is the share of parameters removed."""

    ratio: float
    task: str


@dataclass(frozen=True)
class Row:
    """A method; ``cells`` follow the table's columns.

    ``runs`` names the runs of the row where other rows carry the same label.
    """

    label: str
    runs: tuple[str, ...]
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Dense:
    """The uncompressed model on one task; more than one cell only where runs disagree."""

    task: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Subject:
    """The model of a table; ``references`` are the names under which it was loaded."""

    family: str
    parameters: int
    references: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...]


@dataclass(frozen=True, order=True)
class Calibration:
    """As in the run's specification, with the fingerprint of the text that was read."""

    text: str
    samples: int
    length: int
    sampling: str
    seed: int
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
    """Results that differ in method, ratio and task only."""

    model: Subject
    dtype: str
    metric: str
    higher_is_better: bool
    calibration: Calibration | None
    data: tuple[Data, ...]
    dense: tuple[Dense, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, order=True)
class Unranked:
    """A result or a file that takes no part in the comparison; empty where unknown."""

    model: str
    method: str
    ratio: float
    task: str
    run_id: str
    reason: str


@dataclass(frozen=True)
class Board:
    """Everything a leaderboard shows."""

    tables: tuple[Table, ...]
    unranked: tuple[Unranked, ...]
