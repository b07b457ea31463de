"""``harness run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch

from harness.assets.aliases import DEFAULT_MODEL
from harness.calibration import (
    PROMPT_SAMPLES,
    TEXT_CALIBRATION,
    default_calibration,
    names_prompts,
    prompt_calibration,
)
from harness.cli.display import console, quiet_libraries, result_table, tracker
from harness.cli.limited import blind_spots
from harness.cli.options import (
    DEFAULT_TASKS,
    add_offline,
    add_plugin_options,
    chosen,
    split_task,
)
from harness.compressor import Compressor, compressors
from harness.errors import IncompleteError, UsageError
from harness.plan import Plan, Request, make_plan
from harness.presets import PRESETS
from harness.record import RunRecord
from harness.registry import Registry
from harness.runner import run_plan
from harness.spec import CalibrationSpec, Dtype, Scope, TaskSpec, require_ratio
from harness.task import Task, plugin_name, tasks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fixed options, and those of every installed method and task."""
    add = parser.add_argument
    calibration = TEXT_CALIBRATION
    add(
        "--model",
        default=DEFAULT_MODEL,
        help="alias, builtin:NAME, hub id, folder, .gguf file, or pypi: file",
    )
    add(
        "--method",
        nargs="+",
        default=["latentllm"],
        help=f"any of {', '.join(compressors.names())}",
    )
    add("--ratio", nargs="+", type=float, default=[0.3], help="share of parameters to remove")
    add(
        "--tasks",
        nargs="+",
        metavar="TASK",
        default=argparse.SUPPRESS,
        help="NAME, NAME=FILE for own data, any lm-eval task, lmms-eval:NAME, or a task .yaml "
        f"(default: {' '.join(DEFAULT_TASKS)})",
    )
    add(
        "--calibration",
        metavar="DATA",
        default=argparse.SUPPRESS,
        help="text (alias, file, hub dataset) or a task with questions for its training split, "
        f"TASK=DATA for one's own (default: that of the task, for texts {calibration.text})",
    )
    add(
        "--samples",
        type=int,
        default=argparse.SUPPRESS,
        help=f"calibration sequences (default: {calibration.samples}, "
        f"of questions {PROMPT_SAMPLES})",
    )
    add(
        "--length",
        type=int,
        default=argparse.SUPPRESS,
        help=f"tokens per sequence of a calibration text (default: {calibration.length})",
    )
    add(
        "--scope",
        choices=get_args(Scope),
        default="language",
        help="compress the decoder, the vision tower, or both",
    )
    add("--preset", choices=sorted(PRESETS), help="a whole protocol; explicit options still win")
    add("--limit", type=int, help="evaluate only the first LIMIT units; such runs never rank")
    add(
        "--batch-size",
        type=int,
        default=8,
        help="sequences per forward pass; halved when memory runs out",
    )
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="torch device")
    add("--dtype", choices=get_args(Dtype), default="float32", help="of weights and activations")
    add("--seed", type=int, default=0, help="of calibration sampling and evaluation")
    add("--output", type=Path, default=Path("results"), help="folder of records")
    add("--force", action="store_true", help="repeat cells that have a record")
    add("--json", action="store_true", help="print the records as JSON lines")
    add_offline(parser)
    add_plugin_options(parser, "method", _configs(compressors))
    add_plugin_options(parser, "task", _configs(tasks))


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
    for name, least in {"samples": 1, "length": 2, "batch_size": 1, "limit": 1}.items():
        if (number := given.get(name)) is not None and number < least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} must be at least {least}, got {number}")
    return Request(
        methods=_methods(arguments),
        ratios=_ratios(arguments.ratio),
        tasks=_tasks(arguments, preset.tasks if preset else DEFAULT_TASKS),
        model=arguments.model,
        calibration=_calibration(given, preset.calibration if preset else TEXT_CALIBRATION),
        scope=arguments.scope,
        dtype=arguments.dtype,
        device=_device(arguments.device),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        output=arguments.output,
        force=arguments.force,
    )


def _calibration(
    given: dict[str, Any], text: CalibrationSpec
) -> CalibrationSpec | Callable[[str], CalibrationSpec]:
    samples, seed = given.get("samples"), given["seed"]
    reference = given.get("calibration")
    if reference and names_prompts(reference):
        if "length" in given:
            raise UsageError("--length is for texts; calibration questions are taken whole")
        return prompt_calibration(reference, samples or PROMPT_SAMPLES, seed)
    changes = {"length": given.get("length", text.length)}
    if reference:
        changes |= {"text": reference, "sampling": "windows"}
    text = text.model_copy(update=changes)
    if reference:
        return text.model_copy(update={"samples": samples or text.samples, "seed": seed})
    return partial(default_calibration, text=text, samples=samples, seed=seed)


def _methods(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    for name in arguments.method:
        compressors.get(name)
    return chosen(arguments, "method", _configs(compressors), dict.fromkeys(arguments.method))


def _ratios(ratios: list[float]) -> list[float]:
    for ratio in ratios:
        require_ratio(ratio)
    return list(dict.fromkeys(ratios))


def _tasks(arguments: argparse.Namespace, standard: tuple[str, ...]) -> list[TaskSpec]:
    named = dict.fromkeys(split_task(text) for text in getattr(arguments, "tasks", standard))
    plugin = {name: plugin_name(name) for name, _ in named}
    options = chosen(arguments, "task", _configs(tasks), dict.fromkeys(plugin.values()))
    return [
        TaskSpec(name=name, data=data, limit=arguments.limit, options=options[plugin[name]])
        for name, data in named
    ]


def _device(device: str) -> str:
    try:
        torch.zeros(1, device=device).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{device}' cannot be used here; pass --device cpu") from error
    return device


def _announce(plan: Plan) -> None:
    finished = sum(cell.done is not None for variant in plan.variants for cell in variant.cells)
    total = sum(len(variant.cells) for variant in plan.variants)
    if finished:
        message = f"{finished} of {total} cells are already in {plan.request.output}"
        fix = "nothing to do; --force repeats them" if finished == total else "running the rest"
        sys.stderr.write(f"{message}: {fix}\n")


def _configs(registry: Registry[Compressor] | Registry[Task]) -> dict[str, type[Any]]:
    """Options of every plugin that loads; a broken one raises its error only when chosen."""
    found: dict[str, type[Any]] = {}
    for name in registry.names():
        with suppress(UsageError):
            found[name] = registry.get(name).config
    return found
