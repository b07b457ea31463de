"""What a gate judges: records that are there, or those of a recipe that it runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.display import quiet_libraries
from harness.cli.progress import ShownProgress
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.records.record import RunRecord


def candidate_records(arguments: argparse.Namespace) -> list[RunRecord]:
    """Read the records of ``--results``, or run the recipe.

    Raises:
        UsageError: both or neither are given, or there are no sound records.
    """
    if (arguments.recipe is None) == (arguments.results is None):
        raise UsageError("pass either a recipe to run or --results with records to read")
    if arguments.results is not None:
        if arguments.output is not None:
            raise UsageError("--output is for the records of a recipe; remove it")
        return _read(arguments.results)
    return _run(arguments)


def _read(folder: Path) -> list[RunRecord]:
    from harness.records import store  # noqa: PLC0415

    records, problems = store.load_all(folder)
    if problems:
        raise UsageError(f"{problems[0].path}: {problems[0].message}")
    if not records:
        raise UsageError(f"there are no records in {folder}; pass the folder that holds them")
    return records


def _run(arguments: argparse.Namespace) -> list[RunRecord]:
    from harness.gate.running import run_recipe  # noqa: PLC0415
    from harness.sweep.recipe_file import read_recipe  # noqa: PLC0415

    quiet_libraries()
    recipe = read_recipe(arguments.recipe)
    calibrates = arguments.action == "calibrate"
    if calibrates:
        (first, *more) = recipe.seeds
        if more:
            raise UsageError("a gate's recipe has one seed; --seeds draws more from there")
        seeds = tuple(range(first, first + arguments.seeds))
        recipe = recipe.model_copy(update={"seeds": seeds})
    with _records_folder(arguments.output) as folder:
        # A kept record may be of older code: only calibration, which is long, goes on from it.
        records = run_recipe(recipe, folder, ShownProgress().track, force=not calibrates)
        return [_printed(record) for record in records]


def _printed(record: RunRecord) -> RunRecord:
    """``record``, once its value is on standard error."""
    calibration, result = record.spec.calibration, record.result
    value = f"{result.metrics[0].value:.6g}" if result else record.error
    seed = f" seed {calibration.seed}" if calibration else ""
    sys.stderr.write(f"{record.title}{seed}: {value}\n")
    return record


@contextmanager
def _records_folder(output: Path | None) -> Iterator[Path]:
    if output is not None:
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="harness-gate-") as folder:
        yield Path(folder)
