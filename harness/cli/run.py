"""``harness run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.assets.models import resolve_model
from harness.calibration import TEXT_CALIBRATION
from harness.cli.compressing import (
    DEFAULT_METHOD,
    DEFAULT_RATIO,
    add_calibration_options,
    add_model_options,
    chosen_calibration,
    option_classes,
    require_counts,
    usable_device,
)
from harness.cli.display import console, quiet_libraries, result_table, tracker
from harness.cli.limited import blind_spots
from harness.cli.options import add_plugin_options, chosen, split_task
from harness.compressor import compressors
from harness.errors import IncompleteError
from harness.plan import Plan, Request, make_plan
from harness.presets import PRESETS
from harness.record import RunRecord
from harness.runner import run_plan
from harness.saving.manifest import is_saved
from harness.spec import TaskSpec, require_ratio
from harness.task import plugin_name, tasks

DEFAULT_TASKS = ("wiki-excerpt",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fixed options, and those of every installed method and task."""
    add = parser.add_argument
    add_model_options(parser)
    add(
        "--method",
        nargs="+",
        default=argparse.SUPPRESS,
        help=f"any of {', '.join(compressors.names())} (default: {DEFAULT_METHOD}; none for a "
        "model that is compressed already)",
    )
    add(
        "--ratio",
        nargs="+",
        type=float,
        default=argparse.SUPPRESS,
        help=f"share of parameters to remove (default: {DEFAULT_RATIO})",
    )
    add(
        "--tasks",
        nargs="+",
        metavar="TASK",
        default=argparse.SUPPRESS,
        help="NAME, NAME=FILE for own data, any lm-eval task, lmms-eval:NAME, or a task .yaml "
        f"(default: {' '.join(DEFAULT_TASKS)})",
    )
    add_calibration_options(parser)
    add("--preset", choices=sorted(PRESETS), help="a whole protocol; explicit options still win")
    add("--limit", type=int, help="evaluate only the first LIMIT units; such runs never rank")
    add("--output", type=Path, default=Path("results"), help="folder of records")
    add("--save", type=Path, metavar="DIR", help="folder for the compressed model, or for several")
    add(
        "--force",
        action="store_true",
        help="repeat cells that have a record, replace models that are saved",
    )
    add("--json", action="store_true", help="print the records as JSON lines")
    add_plugin_options(parser, "method", option_classes(compressors))
    add_plugin_options(parser, "task", option_classes(tasks))


def execute(arguments: argparse.Namespace) -> int:
    """Run all cells, print what came out.

    Raises:
        IncompleteError: some cells failed.
    """
    quiet_libraries()
    plan = make_plan(_request(arguments))
    _announce(plan)
    records = run_plan(plan, tracker())
    if arguments.json:
        for record in records:
            sys.stdout.write(record.model_dump_json() + "\n")
    else:
        output = console(200)
        output.print(result_table(records, output.width))
    for sentence in blind_spots(records):
        sys.stderr.write(f"limited run: {sentence}\n")
    _require_complete(records)
    for variant in plan.variants:
        if variant.save:
            sys.stderr.write(f"saved to {variant.save}\n")
    return 0


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


def _request(arguments: argparse.Namespace) -> Request:
    given = vars(arguments)
    preset = PRESETS.get(arguments.preset)
    require_counts(given)
    return Request(
        methods=_methods(arguments),
        ratios=_ratios(given.get("ratio", [DEFAULT_RATIO])),
        tasks=_tasks(arguments, preset.tasks if preset else DEFAULT_TASKS),
        model=arguments.model,
        calibration=chosen_calibration(given, preset.calibration if preset else TEXT_CALIBRATION),
        scope=arguments.scope,
        dtype=arguments.dtype,
        device=usable_device(arguments.device),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        output=arguments.output,
        force=arguments.force,
        save=arguments.save,
        offload=arguments.offload,
    )


def _methods(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    names = getattr(arguments, "method", [DEFAULT_METHOD])
    if not _asks_to_compress(vars(arguments)) and is_saved(resolve_model(arguments.model).folder):
        return {}
    for name in names:
        compressors.get(name)
    return chosen(arguments, "method", option_classes(compressors), dict.fromkeys(names))


def _asks_to_compress(given: Mapping[str, Any]) -> bool:
    """Whether an option was given that has no meaning for a model that is compressed already."""
    return given["save"] is not None or any(
        name in {"method", "ratio", "calibration", "samples", "length"}
        or name.startswith("method_option_")
        for name in given
    )


def _ratios(ratios: list[float]) -> list[float]:
    for ratio in ratios:
        require_ratio(ratio)
    return list(dict.fromkeys(ratios))


def _tasks(arguments: argparse.Namespace, standard: tuple[str, ...]) -> list[TaskSpec]:
    named = dict.fromkeys(split_task(text) for text in getattr(arguments, "tasks", standard))
    plugin = {name: plugin_name(name) for name, _ in named}
    options = chosen(arguments, "task", option_classes(tasks), dict.fromkeys(plugin.values()))
    return [
        TaskSpec(name=name, data=data, limit=arguments.limit, options=options[plugin[name]])
        for name, data in named
    ]


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
