"""``harness compress``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.api import compress
from harness.assets.models import resolve_model
from harness.calibration import TEXT_CALIBRATION, resolve_calibration
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
from harness.cli.display import quiet_libraries, tracker
from harness.cli.options import add_plugin_options, chosen
from harness.compressor import compressors
from harness.factors import stored_bytes
from harness.loading import load_model
from harness.model import LanguageModel
from harness.offload.staging import staging_beside
from harness.options import configure, spelled_out
from harness.origin import recipe_digest
from harness.runner import failures_explained
from harness.saving.save import save
from harness.saving.target import require_space
from harness.saving.targets import save_targets
from harness.spec import CalibrationSpec, MethodSpec, require_ratio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``harness run`` that do not concern tasks."""
    add = parser.add_argument
    add_model_options(parser)
    add("--method", default=DEFAULT_METHOD, help=f"one of {', '.join(compressors.names())}")
    add("--ratio", type=float, default=DEFAULT_RATIO, help="share of parameters to remove")
    add_calibration_options(parser)
    add("--save", type=Path, metavar="DIR", required=True, help="folder for the compressed model")
    add("--force", action="store_true", help="replace a saved model that is there")
    add_plugin_options(parser, "method", option_classes(compressors))


def execute(arguments: argparse.Namespace) -> int:
    """Compress one model and save it, without measuring anything.

    Stopped under ``--offload``, the same command goes on where it was.
    """
    quiet_libraries()
    given = vars(arguments)
    require_counts(given)
    require_ratio(arguments.ratio)
    method = arguments.method
    compressors.get(method)
    options = chosen(arguments, "method", option_classes(compressors), [method])[method]
    calibration = chosen_calibration({"calibration": TEXT_CALIBRATION.text} | given)
    assert isinstance(calibration, CalibrationSpec)
    device = usable_device(arguments.device)
    target = _target(arguments, options, calibration)
    if target is None:
        with staging_beside(arguments.save.expanduser().resolve()):
            pass  # a kill after saving left it
        sys.stdout.write(f"{arguments.save}: this very model is saved already\n")
        return 0
    subject = load_model(arguments.model, arguments.dtype, device, offload=arguments.offload)
    with ExitStack() as stack:
        staging = None
        if arguments.offload:
            staging = stack.enter_context(staging_beside(target))
            require_space(staging, _still_to_write(subject, arguments, staging))
        with failures_explained(f"method '{method}'"):
            small = compress(
                subject,
                method,
                arguments.ratio,
                calibration=calibration,
                scope=arguments.scope,
                batch_size=arguments.batch_size,
                staging=staging,
                track=tracker(),
                **options,
            )
        save(small, target, force=arguments.force)
    facts = small.compression
    assert facts is not None
    sys.stdout.write(
        f"{arguments.save}: {facts.label}, {facts.ratio_layers:.2%} of the layers' parameters "
        f"removed, {facts.parameters / 1e6:.1f}M parameters, {facts.bytes / 1e6:.1f} MB\n"
    )
    return 0


def _target(
    arguments: argparse.Namespace, options: Mapping[str, Any], calibration: CalibrationSpec
) -> Path | None:
    """Where the model goes, None if it is there."""
    config = configure(compressors.get(arguments.method).config, options, arguments.method)
    recipe = recipe_digest(
        resolve_model(arguments.model).fingerprint,
        MethodSpec(name=arguments.method, options=spelled_out(config, arguments.method)),
        arguments.ratio,
        arguments.scope,
        arguments.dtype,
        calibration,
        resolve_calibration(calibration).fingerprint,
    )
    (target,) = save_targets(arguments.save, [(arguments.method, recipe)], arguments.force)
    return target


def _still_to_write(subject: LanguageModel, arguments: argparse.Namespace, staging: Path) -> int:
    """About how many bytes: finished blocks that are not there yet, then the model."""
    dense = subject.family.blocks(subject.model, arguments.scope)
    blocks = sum(stored_bytes(block.module) for block in dense)
    removed = int(arguments.ratio * blocks)
    there = sum(path.stat().st_size for path in staging.iterdir())
    return stored_bytes(subject.model) - removed + max(blocks - removed - there, 0)
