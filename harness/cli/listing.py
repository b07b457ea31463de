"""``harness list``: reads package metadata only, imports no plugin."""

from __future__ import annotations

import argparse

from rich.table import Table

from harness.assets.aliases import MODELS, TEXTS
from harness.cli.display import console
from harness.registry import Registry

GROUPS = {
    "methods": Registry("harness.compressors", "method", object),
    "tasks": Registry("harness.tasks", "task", object),
    "families": Registry("harness.families", "family", object),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    parser.add_argument("what", choices=[*GROUPS, "models", "texts"])


def execute(arguments: argparse.Namespace) -> int:
    """Print one table."""
    table = Table("name", "source")
    if arguments.what in GROUPS:
        registry = GROUPS[arguments.what]
        for name in registry.names():
            table.add_row(name, registry.origin(name))
    else:
        for name, source in (MODELS if arguments.what == "models" else TEXTS).items():
            table.add_row(name, str(source))
    console(160).print(table)
    return 0
