"""``harness push``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which saved model, and where to."""
    parser.add_argument("repository", metavar="OWNER/NAME", help="repository of a model hub")
    parser.add_argument("model", type=Path, metavar="DIR", help="folder of a saved model")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--replace",
        action="store_true",
        help="put the model in the place of what the repository holds; its history keeps that",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Send the model in one commit."""
    from harness.checkpoints.push import push  # noqa: PLC0415
    from harness.cli.display import quiet_libraries  # noqa: PLC0415

    quiet_libraries()
    done = push(
        arguments.model.expanduser(),
        arguments.repository,
        private=arguments.private,
        replace=arguments.replace,
    )
    said = "commit" if done.changed else "nothing to send, it is there as commit"
    sys.stdout.write(f"{done.url}: {said} {done.commit}\n")
    sys.stderr.write(f"'harness verify {arguments.repository}' measures again what it claims\n")
    return 0
