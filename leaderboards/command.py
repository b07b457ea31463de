"""``harness leaderboard``."""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import IncompleteError
from harness.plugin import Command, UsageError
from harness.support.files import write_failures_explained, write_files

if TYPE_CHECKING:
    from leaderboards.tables import Board

MARKDOWN = "leaderboard.md"
STANDARD = ("md", "json")
"""Formats of the files that are written unless others are asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where records are read, and which boards are written."""
    from leaderboards.formats import FORMATS  # noqa: PLC0415

    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records")
    parser.add_argument("--output", type=Path, default=Path("leaderboard"), help="folder to write")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=argparse.SUPPRESS,
        metavar="FORMAT",
        help=f"files to write: any of {', '.join(FORMATS)} (default {' '.join(STANDARD)})",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail where --output is not what the records give",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Write the files of each format, or compare them, and print the board.

    A terminal shows it in columns; what is no terminal, or asked for markdown, gets markdown.
    """
    from harness.records import store  # noqa: PLC0415

    records = store.scan(arguments.results, layers=False)
    # Heavy, and not needed to say that there is no such folder.
    from leaderboards.board import board  # noqa: PLC0415
    from leaderboards.formats import rendered  # noqa: PLC0415

    with _no_garbage():
        ranked = board(records)
    if not ranked.tables and not ranked.unranked:
        raise UsageError(f"{arguments.results} holds no records; 'harness run' writes them")
    asked = vars(arguments).get("format")
    files = dict(rendered(ranked, asked or STANDARD))
    if arguments.check:
        return _check(arguments.output, files)
    with write_failures_explained():
        write_files({arguments.output / name: content for name, content in files.items()})
    paths = [str(arguments.output / name) for name in files]
    if asked is None and sys.stdout.isatty():
        _show(ranked)
        sys.stderr.write(f"written: {' '.join(paths)}\n")
    elif MARKDOWN in files:
        sys.stdout.write(files[MARKDOWN].decode())
    else:
        sys.stdout.write("".join(f"{path}\n" for path in paths))
    return 0


def _show(ranked: Board) -> None:
    from harness.support.tables import print_grid  # noqa: PLC0415
    from leaderboards.terminal import closing, grids  # noqa: PLC0415

    for grid in grids(ranked):
        print_grid(grid)
    sys.stdout.write("".join(f"{line}\n" for line in closing(ranked)))


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """Thousands of records come to stay: looking for garbage among them costs a third more."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _check(folder: Path, files: Mapping[str, bytes]) -> int:
    """One line for each file that differs; drawings of figures that are no more count too."""
    lines = [
        *(line for name, content in files.items() for line in _difference(folder / name, content)),
        *(f"{path}: no figure of these records; delete it" for path in _left_over(folder, files)),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return IncompleteError.exit_code if lines else 0


def _difference(path: Path, content: bytes) -> Iterable[str]:
    if not path.is_file():
        yield f"{path}: missing; write it with 'harness leaderboard'"
    elif path.read_bytes() != content:
        yield f"{path}: stale; write it again with 'harness leaderboard'"


def _left_over(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Figures in ``folder`` that are of the formats in ``files`` but not among them."""
    from leaderboards.formats import FIGURES  # noqa: PLC0415

    suffixes = {Path(name).suffix for name in files if name.startswith(FIGURES)}
    present = {path for suffix in suffixes for path in folder.glob(f"{FIGURES}/*{suffix}")}
    return sorted(present - {folder / name for name in files})


command = Command("rank the recorded results", add_arguments, execute)
