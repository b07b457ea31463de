"""``harness list``: reads package metadata only; with ``--verbose`` it imports the plugins."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from harness.assets.aliases import DESCRIPTIONS, MODELS, TEXTS
from harness.assets.builtin import builtin_folder, builtin_models, described_model
from harness.errors import HarnessError, UsageError
from harness.plugins.registry import Registry
from harness.support.library_errors import described
from harness.support.tables import Grid, print_grid

GROUPS = {
    "methods": Registry("harness.compressors", "method", object),
    "tasks": Registry("harness.tasks", "task", object),
    "families": Registry("harness.families", "family", object),
    "engines": Registry("harness.engines", "engine", object),
}
WHOLE = {
    "methods": ("harness.compression.compressor", "compressors"),
    "tasks": ("harness.evaluation.task", "tasks"),
    "families": ("harness.families.family", "families"),
    "engines": ("harness.sweep.engines.engine", "engines"),
}
"""Where the registries are that also check what a plugin is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    kinds = [*GROUPS, "models", "texts"]
    parser.add_argument("what", choices=kinds, help="the kind of things to list")
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="show what each plugin is and each of its options; takes seconds",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print one table, or a paragraph for each plugin.

    Raises:
        UsageError: ``--verbose`` for what has no options.
    """
    if arguments.verbose:
        if arguments.what not in GROUPS:
            raise UsageError(f"{arguments.what} have no options; leave out --verbose")
        _describe(arguments.what)
        return 0
    print_grid(Grid(("name", "what it is", "source"), list(_rows(arguments.what))))
    return 0


def _rows(what: str) -> Iterator[tuple[str, str, str]]:
    if what in GROUPS:
        registry = GROUPS[what]
        for name in registry.names():
            yield name, registry.purpose(name), registry.origin(name)
    elif what == "models":
        for name, source in MODELS.items():
            yield name, DESCRIPTIONS[name], source
        for name in builtin_models():
            yield name, described_model(builtin_folder(name)), "harness"
    else:
        for name, text in TEXTS.items():
            yield name, text.described, text.source


def _describe(what: str) -> None:
    module, name = WHOLE[what]
    registry: Registry[Any] = getattr(import_module(module), name)
    sys.stdout.write("\n".join(_paragraph(registry, name) for name in registry.names()))


def _paragraph(registry: Registry[Any], name: str) -> str:
    """What the plugin called ``name`` is and its options, or why it cannot be used."""
    from harness.cli.plugin_options import option_help  # noqa: PLC0415

    title = f"{name} ({registry.origin(name)})"
    try:
        plugin = registry.get(name)
        if not hasattr(plugin, "config"):
            return f"{title}\n"
        return option_help(title, plugin.summary, plugin.config, registry.kind)
    except HarnessError as error:
        return f"{title}:\n  error: {error}\n"
    except Exception as error:  # noqa: BLE001 - of a plugin that only half works
        return f"{title}:\n  error: its options cannot be read: {described(error)}\n"
