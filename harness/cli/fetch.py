"""``harness fetch``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.assets.aliases import DEFAULT_MODEL
from harness.calibration.presets import DEFAULT_TASKS
from harness.cli.display import quiet_libraries
from harness.cli.options import in_units, split_task
from harness.errors import AssetError, UsageError
from harness.support.offline import is_offline
from harness.support.tables import Grid, print_grid

if TYPE_CHECKING:
    from harness.experiments.prefetch import PrefetchResult
    from harness.experiments.request import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, or what a run is given."""
    add = parser.add_argument
    add("recipe", type=Path, nargs="?", help="recipe whose assets to fetch")
    add("--model", help=f"as of run (default {DEFAULT_MODEL})", default=argparse.SUPPRESS)
    add(
        "--tasks",
        nargs="+",
        metavar="TASK",
        default=argparse.SUPPRESS,
        help=f"as of run (default {' '.join(DEFAULT_TASKS)})",
    )
    add(
        "--calibration",
        metavar="DATA",
        default=argparse.SUPPRESS,
        help="as of run (default that of the tasks)",
    )
    add("--offline", action="store_true", help=argparse.SUPPRESS)


def execute(arguments: argparse.Namespace) -> int:
    """Fetch what is not at hand, print what there is now.

    Raises:
        UsageError: the recipe or an option is wrong, or nothing may be fetched.
        AssetError: something could not be had; the rest is here.
    """
    if is_offline():
        raise UsageError("fetch cannot work offline; remove --offline, or unset HARNESS_OFFLINE")
    from harness.experiments.prefetch import prefetch, required_assets  # noqa: PLC0415

    wanted = required_assets(requested(arguments))
    quiet_libraries()
    results: list[PrefetchResult] = []
    for number, asset in enumerate(wanted, start=1):
        # A line and no bar: the libraries show bars of their own while they download.
        sys.stderr.write(f"[{number}/{len(wanted)}] {asset.kind} {asset.name}\n")
        results.append(prefetch(asset))
    _print(results)
    _require_all(results)
    if all(result.state == "there already" for result in results):
        sys.stderr.write("nothing to fetch: all of it is here already\n")
    return 0


def requested(arguments: argparse.Namespace) -> Sequence[Request]:
    """What would run: the cells of the recipe, or what ``harness run`` would ask for.

    Raises:
        UsageError: the recipe is wrong, skips every cell, or is given beside options.
    """
    from harness.sweep.recipe_file import read_recipe, requests  # noqa: PLC0415

    given = vars(arguments)
    if arguments.recipe is None:
        return [_request_of_run(given)]
    if more := [name for name in ("model", "tasks", "calibration") if name in given]:
        raise UsageError(f"the recipe names everything; remove it, or --{more[0]}")
    cells = requests(read_recipe(arguments.recipe), Path())
    if not cells:
        raise UsageError(f"{arguments.recipe} skips every cell; remove an override")
    return cells


def _request_of_run(given: dict[str, Any]) -> Request:
    """What ``harness run`` would ask for."""
    from harness.calibration.sources import chosen_calibration  # noqa: PLC0415
    from harness.experiments.request import Request  # noqa: PLC0415
    from harness.records.spec import TaskSpec  # noqa: PLC0415

    return Request(
        # Which method and ratio makes no difference.
        methods={"svd": {}},
        ratios=(0.0,),
        tasks=[
            TaskSpec(name=name, data=data)
            for name, data in map(split_task, given.get("tasks", DEFAULT_TASKS))
        ],
        model=given.get("model", DEFAULT_MODEL),
        calibration=chosen_calibration(given.get("calibration") or None),
    )


def _print(results: Sequence[PrefetchResult]) -> None:
    rows = []
    for result in results:
        size = "" if result.size is None else in_units(result.size)
        why = f": {' '.join(str(result.error).split())}" if result.error else ""
        rows.append((result.asset.kind, result.asset.name, size, result.state + why))
    print_grid(Grid(("what", "asset", "size", "state"), rows, numbers=("size",)))


def _require_all(results: Sequence[PrefetchResult]) -> None:
    failed = [result for result in results if result.error]
    if not failed:
        return
    first = failed[0]
    message = (
        f"{len(failed)} of {len(results)} could not be had; the first, {first.asset.kind} "
        f"{first.asset.name}: {first.error}"
    )
    if all(isinstance(result.error, UsageError) for result in failed):
        raise UsageError(message)
    raise AssetError(message)
