"""``harness plan``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table

from harness import store
from harness.cli.display import console
from harness.errors import UsageError
from harness.plan import Cell, make_plan
from harness.recipe import read_recipe, requests
from harness.record import RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recipe, and where its records are."""
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder of records")


def execute(arguments: argparse.Namespace) -> int:
    """Print every cell of the recipe and whether its record is there; no model is loaded."""
    wanted = requests(read_recipe(arguments.recipe), arguments.output)
    cells = [make_plan(request).variants[-1].cells[0] for request in wanted]
    if not cells:
        raise UsageError(f"{arguments.recipe} skips every cell; remove an override")
    found = {cell.run_id: store.find(arguments.output, cell.run_id) for cell in cells}
    table = Table("model", "method", "ratio", "seed", "task", "dtype", "run", "state")
    for cell in cells:
        table.add_row(*_row(cell), _state(found[cell.run_id]))
    output = console(160)
    output.print(table)
    done = sum(cell.done is not None for cell in cells)
    output.print(f"{len(cells)} cells, {done} done, {len(cells) - done} to run")
    return 0


def _row(cell: Cell) -> tuple[str, ...]:
    spec = cell.spec
    seed = str(spec.calibration.seed) if spec.calibration else ""
    ratio = f"{spec.ratio:g}" if spec.calibration else ""
    names = (spec.method.name, ratio, seed, spec.task.name, spec.dtype)
    return (spec.model, *names, cell.run_id)


def _state(record: RunRecord | None) -> str:
    if record is None:
        return "to run"
    return "done" if record.status == "complete" else f"{record.status}, to run again"
