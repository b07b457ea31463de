"""``harness run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from harness.assets.aliases import DEFAULT_MODEL
from harness.cli.options import add_offline
from harness.compressor import compressors
from harness.errors import IncompleteError
from harness.presets import DEFAULT_TASKS, PRESETS, PROMPT_SAMPLES, TEXT_CALIBRATION
from harness.spec import Dtype, Scope

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.record import RunRecord

HELP = ("-h", "--help")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that no plugin brings."""
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
    add(
        "--device",
        default=argparse.SUPPRESS,
        help="torch device (default: cuda where there is one, else cpu)",
    )
    add("--dtype", choices=get_args(Dtype), default="float32", help="of weights and activations")
    add("--seed", type=int, default=0, help="of calibration sampling and evaluation")
    add("--output", type=Path, default=Path("results"), help="folder of records")
    add("--force", action="store_true", help="repeat cells that have a record")
    add("--json", action="store_true", help="print the records as JSON lines")
    add_offline(parser)


def add_plugin_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """The options of all methods and tasks; for help, which is to come at once, of those named.

    Raises:
        UsageError: a named method or task does not exist.
    """
    if not any(word in HELP for word in argv):
        from harness.cli.request import add_options_of_all  # noqa: PLC0415

        add_options_of_all(parser)
        return
    named = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    named.add_argument("--method", nargs="*", default=[])
    named.add_argument("--tasks", nargs="*", default=[])
    found, _ = named.parse_known_args([word for word in argv if word not in HELP])
    if not found.method and not found.tasks:
        parser.epilog = (
            "Methods and tasks have options of their own: 'harness run --method NAME "
            "--tasks NAME --help' shows them."
        )
        return
    from harness.cli.request import add_options_of  # noqa: PLC0415

    add_options_of(parser, found.method, found.tasks)


def execute(arguments: argparse.Namespace) -> int:
    """Run all cells, print what came out.

    Raises:
        IncompleteError: some cells failed.
    """
    from harness.cli.display import console, quiet_libraries, result_table, tracker  # noqa: PLC0415
    from harness.cli.limited import blind_spots  # noqa: PLC0415
    from harness.cli.request import request  # noqa: PLC0415
    from harness.plan import make_plan  # noqa: PLC0415
    from harness.runner import run_plan  # noqa: PLC0415

    quiet_libraries()
    plan = make_plan(request(arguments))
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


def _announce(plan: Plan) -> None:
    finished = sum(cell.done is not None for variant in plan.variants for cell in variant.cells)
    total = sum(len(variant.cells) for variant in plan.variants)
    if finished:
        message = f"{finished} of {total} cells are already in {plan.request.output}"
        fix = "nothing to do; --force repeats them" if finished == total else "running the rest"
        sys.stderr.write(f"{message}: {fix}\n")
