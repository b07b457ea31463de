"""Options of every command that compresses: which model, by what, calibrated on what."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Literal, get_args

from harness.assets.aliases import DEFAULT_MODEL
from harness.calibration.presets import PROMPT_SAMPLES, TEXT_CALIBRATION
from harness.cli.options import add_offload
from harness.records.spec import Dtype, Scope

DEFAULT_METHOD = "latentllm"
DEFAULT_RATIO = 0.3
HELP = ("-h", "--help")

Kind = Literal["method", "task"]
NAMED_BY: dict[Kind, str] = {"method": "--method", "task": "--tasks"}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The model, and where and how it is computed with."""
    add = parser.add_argument
    add(
        "--model",
        default=DEFAULT_MODEL,
        help="alias, builtin:NAME, hub id, folder, .gguf file, or pypi: file",
    )
    add(
        "--batch-size",
        type=int,
        default=8,
        help="sequences per forward pass; an evaluation that runs out of memory starts again with "
        "half as many, calibration does not",
    )
    add(
        "--device",
        default=argparse.SUPPRESS,
        help="torch device, or auto for several (default: cuda where there is one, else cpu)",
    )
    add_offload(parser)
    add("--dtype", choices=get_args(Dtype), default="float32", help="of weights and activations")
    add("--seed", type=int, default=0, help="of calibration sampling and evaluation")


def add_calibration_options(parser: argparse.ArgumentParser) -> None:
    """What the statistics are taken over, and which layers are compressed by them."""
    add = parser.add_argument
    calibration = TEXT_CALIBRATION
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
        "--self-samples",
        type=int,
        default=argparse.SUPPRESS,
        help="more sequences of that length that the model itself writes (default: 0)",
    )
    add(
        "--scope",
        choices=get_args(Scope),
        default="language",
        help="compress the decoder, the vision tower, or both",
    )


def add_options_of_plugins(
    parser: argparse.ArgumentParser, argv: Sequence[str], kinds: Sequence[Kind]
) -> None:
    """The options of all plugins of ``kinds``; for help, which is to come at once, of those named.

    Raises:
        UsageError: a named plugin does not exist.
    """
    if not any(word in HELP for word in argv):
        from harness.cli.request import add_options_of_all  # noqa: PLC0415

        add_options_of_all(parser, kinds)
        return
    named = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for kind in kinds:
        named.add_argument(NAMED_BY[kind], dest=kind, nargs="*", default=[])
    found, _ = named.parse_known_args([word for word in argv if word not in HELP])
    names: dict[Kind, list[str]] = {kind: getattr(found, kind) for kind in kinds}
    if not any(names.values()):
        options = " ".join(f"{NAMED_BY[kind]} NAME" for kind in kinds)
        parser.epilog = (
            f"{' and '.join(f'{kind}s' for kind in kinds).capitalize()} have options of their own: "
            f"'{parser.prog} {options} --help' shows them."
        )
        return
    from harness.cli.request import add_options_of  # noqa: PLC0415

    add_options_of(parser, names)
