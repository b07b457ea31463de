"""``harness compress``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.api import compress
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
from harness.cli.display import quiet_libraries, tracker
from harness.cli.options import add_plugin_options, chosen
from harness.compressor import compressors
from harness.loading import load_model
from harness.runner import failures_explained
from harness.saving.save import save
from harness.saving.target import require_free
from harness.spec import CalibrationSpec, require_ratio


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
    """Compress one model and save it, without measuring anything."""
    quiet_libraries()
    given = vars(arguments)
    require_counts(given)
    require_ratio(arguments.ratio)
    method = arguments.method
    compressors.get(method)
    options = chosen(arguments, "method", option_classes(compressors), [method])[method]
    calibration = chosen_calibration({"calibration": TEXT_CALIBRATION.text} | given)
    assert isinstance(calibration, CalibrationSpec)
    target = arguments.save.expanduser().resolve()
    require_free(target, arguments.force)
    subject = load_model(arguments.model, arguments.dtype, usable_device(arguments.device))
    with failures_explained(f"method '{method}'"):
        small = compress(
            subject,
            method,
            arguments.ratio,
            calibration=calibration,
            scope=arguments.scope,
            batch_size=arguments.batch_size,
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
