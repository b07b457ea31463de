"""``harness sweep``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.compressing import HELP
from harness.cli.options import InRange, add_offline
from harness.errors import IncompleteError, UsageError
from harness.records.limits import Repetitions
from harness.sweep.engines.engine import engines

if TYPE_CHECKING:
    from harness.sweep.running import CellUpdate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recipe, where its records go, and who does the work."""
    add = parser.add_argument
    add("recipe", type=Path, help="a recipe (.yaml)")
    add("--output", type=Path, default=Path("results"), help="folder of records")
    add("--engine", default="local", help=f"any of {', '.join(engines.names())}")
    add(
        "--engine-option",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="what the engine asks a cluster for, such as cpus=8 gpus=1",
    )
    add(
        "--workers",
        action=InRange,
        hint=Repetitions,
        default=1,
        help="cells at once, each in its own process",
    )
    add("--devices", nargs="+", default=[], help="torch devices, dealt out among the workers")
    add(
        "--retry-failed",
        action="store_true",
        help="run cells again whose record is no complete one",
    )
    add_offline(parser)


def add_plugin_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """The options of the engine that is named, for help, which is to come at once.

    Raises:
        UsageError: there is no such engine, or it lacks a package.
    """
    if not any(word in HELP for word in argv):
        return
    naming = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    naming.add_argument("--engine")
    name = naming.parse_known_args([word for word in argv if word not in HELP])[0].engine
    if name is None:
        parser.epilog = (
            "Engines have options of their own: 'harness sweep --engine NAME --help' shows them."
        )
        return
    from harness.cli.plugin_options import option_help  # noqa: PLC0415

    engine = engines.get(name)
    title = f"options of {name}, each written --engine-option NAME=VALUE"
    parser.epilog = option_help(title, engine.summary, engine.config, "engine")


def execute(arguments: argparse.Namespace) -> int:
    """Run every cell that has no record yet.

    Raises:
        UsageError: the recipe or an option is wrong, or a record is damaged.
        IncompleteError: some cells failed; the others are recorded.
    """
    from harness.cli.display import quiet_libraries  # noqa: PLC0415
    from harness.plugins.options import configure  # noqa: PLC0415
    from harness.records import store  # noqa: PLC0415
    from harness.sweep.display import display  # noqa: PLC0415
    from harness.sweep.recipe_file import read_recipe, requests  # noqa: PLC0415
    from harness.sweep.running import Workers, run_cells  # noqa: PLC0415
    from harness.sweep.status import cell_statuses  # noqa: PLC0415

    engine = engines.get(arguments.engine)
    options = _options(arguments.engine_option)
    config = configure(engine.config, options, f"engine '{arguments.engine}'")
    workers = Workers(engine, config, arguments.workers, tuple(arguments.devices))
    cells = requests(read_recipe(arguments.recipe), arguments.output)
    if not cells:
        raise UsageError(f"{arguments.recipe} skips every cell; remove an override")
    _require_devices(arguments.devices)
    store.require_writable(arguments.output)
    quiet_libraries()
    entries = cell_statuses(cells)
    titles = [entry.title for entry in entries]
    with display(titles) as show:
        ends = run_cells(
            entries,
            arguments.output,
            workers,
            retry_failed=arguments.retry_failed,
            show=show,
        )
    _require_complete(titles, ends)
    sys.stderr.write(
        f"{len(ends)} cells complete in {arguments.output}; "
        f"'harness leaderboard --results {arguments.output}' ranks them\n"
    )
    return 0


def _options(given: Sequence[str]) -> dict[str, str]:
    """Each NAME=VALUE of the command line."""
    pairs = [option.partition("=") for option in given]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise UsageError(f"--engine-option: '{name}' is no NAME=VALUE; cpus=8 is one")
    return {name: value for name, _, value in pairs}


def _require_devices(names: Sequence[str]) -> None:
    """Refuse what is no device anywhere; whether it is there is for the workers to see."""
    import torch  # noqa: PLC0415

    for name in names:
        try:
            torch.device(name)
        except RuntimeError as error:
            raise UsageError(f"'{name}' is no torch device; cpu and cuda:0 are") from error


def _require_complete(titles: Sequence[str], ends: Sequence[CellUpdate]) -> None:
    failed = [end for end in ends if end.state != "complete"]
    if failed:
        first = failed[0]
        raise IncompleteError(
            f"{len(failed)} of {len(titles)} cells did not complete; the first, "
            f"{titles[first.position]}: {first.error or first.state}; --retry-failed runs them "
            "again"
        )
