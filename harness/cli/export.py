"""``harness export``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which saved model, and where to."""
    parser.add_argument("model", type=Path, metavar="DIR", help="folder of a saved model")
    parser.add_argument(
        "--dense",
        type=Path,
        metavar="OUT",
        required=True,
        help="folder for a checkpoint of the original architecture, of the dense size",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Multiply the factors out; of the model no more than one file is ever in memory."""
    from harness.checkpoints.export import export_dense  # noqa: PLC0415
    from harness.checkpoints.load import load  # noqa: PLC0415
    from harness.cli.display import quiet_libraries  # noqa: PLC0415

    quiet_libraries()
    export_dense(load(arguments.model, offload=True), arguments.dense)
    sys.stdout.write(f"{arguments.dense}: an ordinary checkpoint\n")
    return 0
