"""``harness list``: reads package metadata only, imports no plugin."""

from __future__ import annotations

import argparse

from rich.table import Table

from harness.assets.aliases import MODELS, TEXTS
from harness.assets.builtin import builtin_models
from harness.cli.display import console
from harness.plugins.registry import Registry

GROUPS = {
    "methods": Registry("harness.compressors", "method", object),
    "tasks": Registry("harness.tasks", "task", object),
    "families": Registry("harness.families", "family", object),
    "engines": Registry("harness.engines", "engine", object),
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
    elif arguments.what == "models":
        for name, source in MODELS.items():
            table.add_row(name, source)
        for name in builtin_models():
            table.add_row(name, "harness")
    else:
        for name, text in TEXTS.items():
            table.add_row(name, str(text))
    console(160).print(table)
    return 0
