"""``harness run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.calibration.presets import DEFAULT_TASKS, PRESETS
from harness.cli.compressing import (
    add_calibration_options,
    add_model_options,
    add_options_of_plugins,
)
from harness.cli.defaults import DEFAULT_METHOD, DEFAULT_RATIO
from harness.cli.options import InRange, add_offline
from harness.compression.compressor import compressors
from harness.errors import IncompleteError
from harness.records.limits import Limit
from harness.records.spec import DENSE, Ratio

if TYPE_CHECKING:
    from harness.experiments.plan import Plan
    from harness.records.record import RunRecord


RESULTS = Path("results")
NAMED = 8
"""So many run ids are named at the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that no plugin brings."""
    add = parser.add_argument
    add_model_options(parser)
    add(
        "--method",
        nargs="+",
        default=argparse.SUPPRESS,
        help=f"any of {', '.join(compressors.names())}, or {DENSE} to measure the model as it is, "
        f"which all are compared with (default {DEFAULT_METHOD}; {DENSE} for a model that is "
        "compressed already)",
    )
    add(
        "--ratio",
        nargs="+",
        action=InRange,
        hint=Ratio,
        default=argparse.SUPPRESS,
        standard=str(DEFAULT_RATIO),
        help="share of parameters to remove",
    )
    add(
        "--tasks",
        nargs="+",
        metavar="TASK",
        default=argparse.SUPPRESS,
        help="NAME, NAME=FILE for own data, any lm-eval task, lmms-eval:NAME, or a task .yaml "
        f"(default {' '.join(DEFAULT_TASKS)})",
    )
    add_calibration_options(parser)
    add("--preset", choices=sorted(PRESETS), help="a whole protocol; explicit options still win")
    add(
        "--limit",
        action=InRange,
        hint=Limit,
        help="evaluate only the first LIMIT units; such runs never rank",
    )
    add(
        "--adapter",
        type=Path,
        metavar="DIR",
        help="measure the model as it is with this LoRA adapter of peft; such runs never rank",
    )
    add("--output", type=Path, default=RESULTS, help="folder of records")
    add("--save", type=Path, metavar="DIR", help="folder for the compressed model, or for several")
    add(
        "--force",
        action="store_true",
        help="repeat cells that have a record, replace models that are saved",
    )
    add("--json", action="store_true", help="print the records as JSON lines")
    add_offline(parser)


def add_plugin_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Those of methods and tasks (see ``compressing.add_options_of_plugins``)."""
    add_options_of_plugins(parser, argv, ("method", "task"))


def execute(arguments: argparse.Namespace) -> int:
    """Run all cells, print what came out.

    Raises:
        IncompleteError: some cells failed.
    """
    from harness.cli.display import cautions, quiet_libraries, result_grid  # noqa: PLC0415
    from harness.cli.limited import detection_limits  # noqa: PLC0415
    from harness.cli.progress import ShownProgress  # noqa: PLC0415
    from harness.cli.request import request  # noqa: PLC0415
    from harness.experiments.plan import make_plan  # noqa: PLC0415
    from harness.experiments.runner import run_plan  # noqa: PLC0415
    from harness.support.tables import print_grid  # noqa: PLC0415

    quiet_libraries()
    plan = make_plan(request(arguments))
    _announce(plan)
    progress = ShownProgress()
    records = run_plan(plan, progress.track, announce=progress.announce)
    if arguments.json:
        for record in records:
            sys.stdout.write(record.model_dump_json() + "\n")
    else:
        print_grid(result_grid(records))
    for line in cautions(records):
        sys.stderr.write(f"{line}\n")
    for sentence in detection_limits(records):
        sys.stderr.write(f"limited run: {sentence}\n")
    _require_complete(records)
    for variant in plan.variants:
        if variant.save:
            sys.stderr.write(f"saved to {variant.save}\n")
    sys.stderr.write(_what_next(plan, records))
    return 0


def _what_next(plan: Plan, records: Sequence[RunRecord]) -> str:
    """Where the records are, what they are called, and what shows them."""
    folder = plan.request.output
    ids = [record.run_id for record in records]
    named = " ".join(ids[:NAMED]) + f" and {len(ids) - NAMED} more" * (len(ids) > NAMED)
    at = "" if folder == RESULTS else f" --results {folder}"
    return (
        f"records in {folder}: {named}\n"
        f"'harness show {ids[-1]}{at}' shows one, 'harness leaderboard{at}' ranks them all\n"
    )


def _require_complete(records: Sequence[RunRecord]) -> None:
    if failed := [record for record in records if record.status == "failed"]:
        raise IncompleteError(
            f"{len(failed)} of {len(records)} cells failed; the first: {failed[0].error}"
        )
    for record in records:
        if record.result and record.result.skipped:
            whole, skipped = record.result.metrics[0], record.result.skipped
            raise IncompleteError(
                f"{record.spec.task.name} is incomplete and does not rank: {len(skipped)} of "
                f"{whole.n + len(skipped)} {whole.unit} skipped, the first: {skipped[0].reason}"
            )


def _announce(plan: Plan) -> None:
    finished = sum(cell.done is not None for variant in plan.variants for cell in variant.cells)
    total = sum(len(variant.cells) for variant in plan.variants)
    if finished:
        message = f"{finished} of {total} cells are already in {plan.request.output}"
        left = [variant for variant in plan.variants if variant.to_do]
        fix = "nothing to do; --force repeats them"
        if left:
            fix = "running the rest" if finished < total else "compressing again to save"
        sys.stderr.write(f"{message}: {fix}\n")
