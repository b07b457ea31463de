"""``harness leaderboard``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness import store
from harness.errors import UsageError
from leaderboards import jsonboard, markdown
from leaderboards.board import board


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where records are read and boards are written."""
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records")
    parser.add_argument("--output", type=Path, default=Path("leaderboard"), help="folder to write")


def execute(arguments: argparse.Namespace) -> int:
    """Write ``leaderboard.md`` and ``leaderboard.json``; print the markdown."""
    ranked = board(store.scan(arguments.results))
    if not ranked.tables and not ranked.unranked:
        raise UsageError(f"{arguments.results} holds no records; 'harness run' writes them")
    text = markdown.render(ranked)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "leaderboard.md").write_text(text, encoding="utf-8")
    (arguments.output / "leaderboard.json").write_text(jsonboard.render(ranked), encoding="utf-8")
    sys.stdout.write(text)
    return 0
