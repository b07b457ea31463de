"""``harness compress``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from harness.calibration.presets import TEXT_CALIBRATION
from harness.cli.compressing import (
    add_calibration_options,
    add_model_options,
    add_options_of_plugins,
)
from harness.cli.defaults import DEFAULT_METHOD, DEFAULT_RATIO
from harness.cli.options import InRange, add_offline
from harness.compression.compressor import compressors
from harness.records.spec import CacheForm, CalibrationSpec, Ratio

if TYPE_CHECKING:
    from harness.models.language_model import LanguageModel
    from harness.records.record import CompressionFacts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``harness run`` that do not concern tasks."""
    add = parser.add_argument
    add_model_options(parser)
    add("--method", default=DEFAULT_METHOD, help=f"one of {', '.join(compressors.names())}")
    add(
        "--ratio",
        action=InRange,
        hint=Ratio,
        default=DEFAULT_RATIO,
        help="share of parameters to remove",
    )
    add_calibration_options(parser)
    add(
        "--cache",
        choices=get_args(CacheForm),
        default="expanded",
        help="what its KV cache stores of each token: keys and values, or their latents, which is "
        "less memory",
    )
    add("--save", type=Path, metavar="DIR", required=True, help="folder for the compressed model")
    add("--force", action="store_true", help="replace a saved model that is there")
    add_offline(parser)


def add_plugin_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Those of methods (see ``compressing.add_options_of_plugins``)."""
    add_options_of_plugins(parser, argv, ("method",))


def execute(arguments: argparse.Namespace) -> int:
    """Compress one model and save it, without measuring anything.

    Stopped under ``--offload``, the same command goes on where it was.
    """
    from harness.checkpoints.load import load_model  # noqa: PLC0415
    from harness.cli.display import quiet_libraries  # noqa: PLC0415
    from harness.cli.plugin_options import chosen  # noqa: PLC0415
    from harness.cli.request import calibration_of, option_classes, placement  # noqa: PLC0415
    from harness.compression.block_checkpoints import block_checkpoints_beside  # noqa: PLC0415

    quiet_libraries()
    given = vars(arguments)
    method = arguments.method
    compressors.get(method)
    options = chosen(arguments, "method", option_classes(compressors), {method: method})[method]
    calibration = calibration_of({"calibration": TEXT_CALIBRATION.text} | given)
    assert isinstance(calibration, CalibrationSpec)
    device = placement(given.get("device"))
    target = _target(arguments, options, calibration)
    if target is None:
        if arguments.offload:
            with block_checkpoints_beside(arguments.save.expanduser().resolve()):
                pass  # a kill after saving left it
        sys.stdout.write(f"{arguments.save}: this very model is saved already\n")
        return 0
    subject = load_model(arguments.model, arguments.dtype, device, offload=arguments.offload)
    facts = _compress_and_save(subject, arguments, options, calibration, target)
    sys.stdout.write(
        f"{arguments.save}: {facts.label}, {facts.ratio_layers:.2%} of the layers' parameters "
        f"removed, {facts.parameters / 1e6:.1f}M parameters, {facts.bytes / 1e6:.1f} MB\n"
    )
    return 0


def _compress_and_save(
    subject: LanguageModel,
    arguments: argparse.Namespace,
    options: Mapping[str, Any],
    calibration: CalibrationSpec,
    target: Path,
) -> CompressionFacts:
    """Write the compressed model to ``target``; what is known of the compression."""
    from harness.api import compress  # noqa: PLC0415
    from harness.checkpoints.atomic_folder import require_space  # noqa: PLC0415
    from harness.checkpoints.save import save  # noqa: PLC0415
    from harness.cli.progress import ShownProgress  # noqa: PLC0415
    from harness.compression.block_checkpoints import block_checkpoints_beside  # noqa: PLC0415
    from harness.support.failures import failures_explained  # noqa: PLC0415

    with ExitStack() as stack:
        checkpoints = None
        if arguments.offload:
            checkpoints = stack.enter_context(block_checkpoints_beside(target))
            require_space(checkpoints, _still_to_write(subject, arguments, checkpoints))
        with failures_explained(f"method '{arguments.method}'"):
            compressed = compress(
                subject,
                arguments.method,
                arguments.ratio,
                calibration=calibration,
                scope=arguments.scope,
                batch_size=arguments.batch_size,
                cache=arguments.cache,
                block_checkpoints=checkpoints,
                track=ShownProgress().track,
                **options,
            )
        save(compressed, target, force=arguments.force)
    assert compressed.compression is not None
    return compressed.compression


def _target(
    arguments: argparse.Namespace, options: Mapping[str, Any], calibration: CalibrationSpec
) -> Path | None:
    """Where the model goes, None if it is there."""
    from harness.calibration.sources import resolve_calibration  # noqa: PLC0415
    from harness.checkpoints.destinations import save_targets  # noqa: PLC0415
    from harness.checkpoints.resolve import resolve_model  # noqa: PLC0415
    from harness.experiments.calibration_source import CalibrationSource  # noqa: PLC0415
    from harness.experiments.plan import compression_digest_of  # noqa: PLC0415
    from harness.experiments.resolve import method_of  # noqa: PLC0415

    digest = compression_digest_of(
        resolve_model(arguments.model),
        method_of(arguments.method, options),
        arguments.ratio,
        CalibrationSource(calibration, resolve_calibration(calibration)),
        arguments.scope,
        arguments.dtype,
    )
    models = [(arguments.method, digest)]
    (target,) = save_targets(arguments.save, models, arguments.force, arguments.cache)
    return target


def _still_to_write(
    subject: LanguageModel, arguments: argparse.Namespace, checkpoints: Path
) -> int:
    """About how many bytes: finished blocks that are not there yet, then the model."""
    from harness.layers.factors import stored_bytes  # noqa: PLC0415

    dense = subject.family.blocks(subject.model, arguments.scope)
    blocks = sum(stored_bytes(block.module) for block in dense)
    removed = int(arguments.ratio * blocks)
    there = sum(path.stat().st_size for path in checkpoints.iterdir())
    return stored_bytes(subject.model) - removed + max(blocks - removed - there, 0)
