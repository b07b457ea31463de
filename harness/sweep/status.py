"""What a folder already holds of a recipe's cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import AssetError
from harness.experiments.cell_spec import spec_of
from harness.experiments.cells import Cell
from harness.experiments.request import Request
from harness.experiments.resolve import Resolver
from harness.records import store
from harness.records.record import RunRecord
from harness.records.spec import DENSE, RunSpec
from harness.sweep.cell import plan_of


@dataclass(frozen=True)
class CellStatus:
    """One cell of a sweep as it stands.

    Attributes:
        request: of this cell only.
        spec: of its record.
        cell: None where its model or data cannot be had; ``missing`` then says what.
        record: the one that is there.
        folder: of the model.
    """

    request: Request
    spec: RunSpec
    cell: Cell | None = None
    record: RunRecord | None = None
    missing: str = ""
    folder: Path | None = None

    @property
    def method(self) -> str:
        """Its method, with the options that the recipe sets; of a saved model what made it."""
        for name, options in self.request.methods.items():
            given = ", ".join(f"{key}={value}" for key, value in options.items())
            return f"{name}[{given}]" if given else name
        return self.cell.spec.method.name if self.cell else DENSE

    @property
    def ratio(self) -> float:
        """The share to be removed; 0 for the dense reference."""
        return next(iter(self.request.ratios), 0.0)

    @property
    def title(self) -> str:
        """The cell in a few words."""
        seed = getattr(self.request.calibration, "seed", 0)
        share = f" {self.ratio:g} seed {seed}" if self.request.methods else ""
        return f"{self.request.model} {self.method}{share} on {self.request.tasks[0].name}"

    @property
    def status(self) -> str:
        """``complete``, ``incomplete``, ``failed``, ``pending``, or ``missing``."""
        if self.record:
            return self.record.status
        return "pending" if self.cell else "missing"


def cell_statuses(requests: Iterable[Request]) -> list[CellStatus]:
    """Every cell with its record; fetches what is not in the caches and can be had.

    Cells share models and data, so each is looked up and hashed once.

    Raises:
        UsageError: an option or a name is wrong, or a record is damaged.
    """
    resolver = Resolver()
    return [_cell_status(request, resolver) for request in requests]


def _cell_status(request: Request, resolver: Resolver) -> CellStatus:
    folder = None
    try:
        folder = resolver.model(request.model).folder
        _, cell = plan_of(request, resolver)
    except AssetError as error:
        missing = " ".join(str(error).split())
        return CellStatus(request, spec_of(request), missing=missing, folder=folder)
    record = cell.done or store.find(request.output, cell.run_id)
    return CellStatus(request, cell.spec, cell, record, folder=folder)
