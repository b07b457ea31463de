"""Options of every command that compresses: which model, by what, calibrated on what."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from harness.assets.aliases import DEFAULT_MODEL
from harness.calibration.presets import PROMPT_SAMPLES, TEXT_CALIBRATION
from harness.cli.defaults import Kind
from harness.cli.options import InRange, add_offload
from harness.records.limits import BatchSize, Length, Samples, Seed, SelfSamples
from harness.records.spec import Dtype, Scope

HELP = ("-h", "--help")

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
        action=InRange,
        hint=BatchSize,
        default=8,
        help="sequences per forward pass; an evaluation that runs out of memory starts again with "
        "half as many, calibration does not",
    )
    add(
        "--device",
        default=argparse.SUPPRESS,
        help="torch device, or auto for several (default cuda where there is one, else cpu)",
    )
    add_offload(parser)
    add("--dtype", choices=get_args(Dtype), default="float32", help="of weights and activations")
    add(
        "--seed",
        action=InRange,
        hint=Seed,
        default=0,
        help="of the calibration sample and of answers drawn at random; few-shot examples have "
        "--fewshot-seed",
    )


def add_calibration_options(parser: argparse.ArgumentParser) -> None:
    """What the statistics are taken over, and which layers are compressed by them."""
    add = parser.add_argument
    calibration = TEXT_CALIBRATION
    add(
        "--calibration",
        metavar="DATA",
        default=argparse.SUPPRESS,
        help="text (alias, file, hub dataset) or a task with questions for its training split, "
        f"TASK=DATA for one's own (default that of the task, for texts {calibration.text})",
    )
    add(
        "--samples",
        action=InRange,
        hint=Samples,
        default=argparse.SUPPRESS,
        standard=f"{calibration.samples}, of questions {PROMPT_SAMPLES}",
        help="calibration sequences",
    )
    add(
        "--length",
        action=InRange,
        hint=Length,
        default=argparse.SUPPRESS,
        standard=str(calibration.length),
        help="tokens per sequence of a calibration text",
    )
    add(
        "--self-samples",
        action=InRange,
        hint=SelfSamples,
        default=argparse.SUPPRESS,
        standard="0",
        help="more sequences of that length that the model itself writes",
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
    naming = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for kind in kinds:
        naming.add_argument(NAMED_BY[kind], dest=kind, nargs="*", default=[])
    parsed, _ = naming.parse_known_args([word for word in argv if word not in HELP])
    names: dict[Kind, list[str]] = {kind: getattr(parsed, kind) for kind in kinds}
    if not any(names.values()):
        options = " ".join(f"{NAMED_BY[kind]} NAME" for kind in kinds)
        parser.epilog = (
            f"{' and '.join(f'{kind}s' for kind in kinds).capitalize()} have options of their own: "
            f"'{parser.prog} {options} --help' shows them."
        )
        return
    from harness.cli.request import add_options_of  # noqa: PLC0415

    add_options_of(parser, names)
