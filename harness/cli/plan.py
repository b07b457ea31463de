"""``harness plan``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from harness.cli.display import console
from harness.cli.options import add_offline
from harness.errors import UsageError
from harness.support.offline import offline

if TYPE_CHECKING:
    from harness.sweep.estimate import Estimate
    from harness.sweep.status import CellStatus

HEADINGS = (
    "model", "method", "ratio", "seed", "task", "dtype", "parameters", "after", "MFLOPs/token",
    "memory", "time", "state",
)  # fmt: skip
NUMBERS = HEADINGS[6:11]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recipe, and where its records are."""
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder of records")
    add_offline(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print every cell of the recipe, its cost, and whether its record is there.

    No model is loaded and nothing is fetched. Parameters and FLOPs come from the configuration,
    memory is that of weights and statistics, times are those of finished cells of the same
    model, method and task.
    """
    from harness.records import store  # noqa: PLC0415
    from harness.sweep.estimate import expected_seconds  # noqa: PLC0415
    from harness.sweep.recipe_file import read_recipe, requests  # noqa: PLC0415
    from harness.sweep.status import cell_statuses  # noqa: PLC0415

    cells = requests(read_recipe(arguments.recipe), arguments.output)
    if not cells:
        raise UsageError(f"{arguments.recipe} skips every cell; remove an override")
    with offline():
        entries = cell_statuses(cells)
    records = store.load_all(arguments.output)[0] if arguments.output.is_dir() else []
    costs = _costs(entries)
    times = {
        at: expected_seconds(entry.spec, records)
        for at, entry in enumerate(entries)
        if entry.status != "complete"
    }
    _print(entries, costs, times)
    return 0


def _costs(entries: Sequence[CellStatus]) -> dict[int, Estimate]:
    """By position; a model is looked at once for each dtype and scope."""
    from harness.sweep.estimate import estimate, subject_in  # noqa: PLC0415

    subject = cache(subject_in)
    return {
        at: estimate(subject(entry.folder, entry.spec.dtype, entry.spec.scope), entry.spec)
        for at, entry in enumerate(entries)
        if entry.folder
    }


def _print(
    entries: Sequence[CellStatus], costs: Mapping[int, Estimate], times: Mapping[int, float | None]
) -> None:
    table = Table(show_footer=True)
    total = _total(entries, costs, times)
    for heading in HEADINGS:
        table.add_column(
            heading,
            footer=total.get(heading, ""),
            justify="right" if heading in NUMBERS else "left",
            overflow="fold",
        )
    for at, entry in enumerate(entries):
        table.add_row(*_names(entry), *_cost(costs.get(at)), _time(at, times), _state(entry))
    output = console(180)
    output.print(table)
    done = sum(entry.status == "complete" for entry in entries)
    output.print(f"{len(entries)} cells, {done} done, {len(entries) - done} to run")
    if missing := sorted({_missing(entry.missing) for entry in entries if entry.missing}):
        output.print(f"to be fetched: {', '.join(missing)}")


def _names(entry: CellStatus) -> tuple[str, ...]:
    request = entry.request
    seed = str(getattr(request.calibration, "seed", 0)) if request.methods else ""
    ratio = f"{entry.ratio:g}" if request.methods else ""
    return (request.model, entry.method, ratio, seed, request.tasks[0].name, request.dtype)


def _cost(cost: Estimate | None) -> tuple[str, ...]:
    if cost is None:
        return ("unknown",) * 4
    counts = (f"{count / 1e6:.2f}M" for count in (cost.parameters, cost.remaining))
    return (*counts, f"{cost.flops / 1e6:.2f}", f"{cost.memory / 1e6:.0f} MB")


def _time(at: int, times: Mapping[int, float | None]) -> str:
    if at not in times:
        return ""
    seconds = times[at]
    return "unknown" if seconds is None else f"{seconds:.0f} s"


def _state(entry: CellStatus) -> str:
    if entry.missing:
        return "to be fetched, then run"
    if entry.record is None:
        return "to run"
    return "done" if entry.status == "complete" else f"{entry.status}: sweep --retry-failed"


def _total(
    entries: Sequence[CellStatus], costs: Mapping[int, Estimate], times: Mapping[int, float | None]
) -> dict[str, str]:
    known = [seconds for seconds in times.values() if seconds is not None]
    unknown = sum(entry.status != "complete" for entry in entries) - len(known)
    left = [f"{sum(known):.0f} s"] * bool(known) + [f"{unknown} unknown"] * bool(unknown)
    largest = max((cost.memory for cost in costs.values()), default=None)
    return {
        "model": "total",
        "memory": "" if largest is None else f"at most {largest / 1e6:.0f} MB",
        "time": " + ".join(left),
        "state": f"{len(entries)} cells",
    }


def _missing(message: str) -> str:
    """What an error says cannot be had: the first name it quotes."""
    quoted = re.search(r"'([^']+)'", message)
    return quoted[1] if quoted else message
