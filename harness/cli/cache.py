"""``harness cache``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from harness.assets.cache import cache_root
from harness.assets.inventory import (
    KINDS,
    UNFINISHED,
    CacheEntry,
    delete,
    find,
    inventory,
    verified,
)
from harness.cli.options import add_action, in_units
from harness.cli.progress import ShownProgress
from harness.errors import InfrastructureError, UsageError
from harness.support.tables import Grid, print_grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = add_action(actions, "ls", "list what is in the cache")
    listing.add_argument("--json", action="store_true", help="print it as JSON")
    removal = add_action(actions, "rm", "remove entries, and what killed processes left")
    removal.add_argument(
        "keys", nargs="*", metavar="KEY", help="a key or how it starts, or a whole reference"
    )
    removal.add_argument("--kind", choices=KINDS, help="all of a kind")
    removal.add_argument("--all", action="store_true", help="everything")
    add_action(actions, "verify", "read everything again and compare the hashes")


def execute(arguments: argparse.Namespace) -> int:
    """Do the action; 1 if it found damage.

    Raises:
        UsageError: an entry does not exist or is not named clearly.
        InfrastructureError: an entry cannot be removed.
    """
    return {"ls": _list, "rm": _remove, "verify": _verify}[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    entries = inventory()
    if arguments.json:
        listed = {
            "root": str(cache_root()),
            "bytes": sum(entry.size for entry in entries),
            "entries": [{**asdict(entry), "path": str(entry.path)} for entry in entries],
            "elsewhere": _elsewhere(),
        }
        sys.stdout.write(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
        return 0
    if entries:
        print_grid(_grid(entries))
    kinds = Counter(entry.kind for entry in entries)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
    total = in_units(sum(entry.size for entry in entries))
    sys.stdout.write(f"{cache_root()} holds {counts}: {total}\n")
    for name, path in _elsewhere().items():
        sys.stdout.write(f"not managed here: {name} in {path}\n")
    return 0


def _grid(entries: Sequence[CacheEntry]) -> Grid:
    rows = [
        (entry.kind, entry.key, entry.source, in_units(entry.size), entry.made, entry.state)
        for entry in entries
    ]
    return Grid(("kind", "key", "made from", "size", "made", "state"), rows, numbers=("size",))


def _remove(arguments: argparse.Namespace) -> int:
    if bool(arguments.keys) + bool(arguments.kind) + arguments.all != 1:
        raise UsageError("name keys that 'harness cache ls' shows, or pass --kind or --all")
    entries = inventory()
    matches = [find(entries, key) for key in arguments.keys]
    chosen = [
        entry
        for entry in entries
        if arguments.all or entry.kind == arguments.kind or entry in matches
    ]
    errors = []
    for entry in chosen:
        try:
            delete(entry)
        except InfrastructureError as error:
            errors.append(error)
        else:
            sys.stdout.write(f"removed {entry.name} ({in_units(entry.size)})\n")
    for entry in entries:
        if entry.state == UNFINISHED and entry not in chosen:
            _remove_unfinished(entry)
    if errors:
        raise InfrastructureError(f"{len(errors)} of {len(chosen)} entries stay; {errors[0]}")
    if not chosen:
        sys.stdout.write("there was nothing to remove\n")
    return 0


def _verify(_: argparse.Namespace) -> int:
    entries = inventory()
    checked = [
        verified(entry) for entry in ShownProgress().track(entries, "verifying", len(entries))
    ]
    damaged = [entry for entry in checked if entry.remade]
    for entry in damaged:
        what = f" ({entry.source})" if entry.source else ""
        sys.stdout.write(f"{entry.name}{what} is {entry.state}\n")
    whole = sum(entry.state == "whole" for entry in checked)
    left = sum(entry.state == UNFINISHED for entry in checked)
    more = f", {left} unfinished" if left else ""
    sys.stdout.write(f"{whole} of {len(checked)} entries are whole{more}\n")
    if damaged:
        sys.stderr.write(
            "these are made again at their next use; 'harness cache rm KEY' removes them\n"
        )
    return int(bool(damaged))


def _remove_unfinished(entry: CacheEntry) -> None:
    """Remove what a killed process left, unless it is at work."""
    with suppress(InfrastructureError):
        delete(entry)
        sys.stdout.write(f"removed what was left of {entry.name} ({in_units(entry.size)})\n")


def _elsewhere() -> dict[str, str]:
    """Caches of the libraries that download from the hub."""
    from huggingface_hub import constants  # noqa: PLC0415

    datasets = os.environ.get("HF_DATASETS_CACHE") or str(Path(constants.HF_HOME, "datasets"))
    return {"models of the hub": constants.HF_HUB_CACHE, "its datasets": datasets}
