"""``harness export``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.checkpoints.gguf_export import FileType

FILE_TYPES: tuple[FileType, ...] = ("f32", "f16", "q8_0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which saved model, and where to."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="folder of a saved model, or for --gguf any model that harness run takes",
    )
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument(
        "--dense",
        type=Path,
        metavar="OUT",
        help="folder for a checkpoint of the original architecture, of the dense size",
    )
    to.add_argument(
        "--narrow",
        type=Path,
        metavar="OUT",
        help="folder for a smaller checkpoint of the original architecture, where every block has "
        "lost equally many neurons (twinroot --neurons only --ranks uniform)",
    )
    to.add_argument(
        "--gguf",
        type=Path,
        metavar="FILE",
        help="file for llama.cpp and what is built on it (Llama, Qwen2, Qwen3)",
    )
    add(
        "--type",
        choices=FILE_TYPES,
        help="how --gguf stores matrices (default f16); q8_0 wants widths that are multiples of 32",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Multiply the factors out; of the model no more than one file is ever in memory."""
    from harness.checkpoints.export import export_dense  # noqa: PLC0415
    from harness.checkpoints.gguf_export import export_gguf  # noqa: PLC0415
    from harness.checkpoints.load import load, load_model  # noqa: PLC0415
    from harness.cli.display import quiet_libraries  # noqa: PLC0415

    quiet_libraries()
    if arguments.gguf:
        subject = load_model(arguments.model, dtype=None, offload=True)
        export_gguf(subject, arguments.gguf, arguments.type or "f16")
        sys.stdout.write(f"{arguments.gguf}: {arguments.gguf.stat().st_size / 1e6:.1f} MB\n")
        return 0
    if arguments.type:
        raise UsageError("--type says how --gguf stores matrices; leave it out without --gguf")
    folder = arguments.narrow or arguments.dense
    subject = load(arguments.model, offload=True)
    export_dense(subject, folder, narrow=arguments.narrow is not None)
    sys.stdout.write(f"{folder}: an ordinary checkpoint\n")
    return 0
