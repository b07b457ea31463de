"""``harness plan``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.options import add_offline
from harness.errors import UsageError
from harness.support.offline import offline
from harness.support.tables import Grid, print_grid

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
    from harness.sweep.estimate import durations, kind  # noqa: PLC0415
    from harness.sweep.recipe_file import read_recipe, requests  # noqa: PLC0415
    from harness.sweep.status import cell_statuses  # noqa: PLC0415

    cells = requests(read_recipe(arguments.recipe), arguments.output)
    if not cells:
        raise UsageError(f"{arguments.recipe} skips every cell; remove an override")
    sys.stderr.write(f"{len(cells)} cells\n")
    with offline():
        entries = cell_statuses(cells)
    records = store.load_all(arguments.output)[0] if arguments.output.is_dir() else []
    costs = _costs(entries)
    took = durations(records)
    times = {
        at: took.get(kind(entry.spec))
        for at, entry in enumerate(entries)
        if entry.status != "complete"
    }
    _print(entries, costs, times)
    return 0


def _costs(entries: Sequence[CellStatus]) -> dict[int, Estimate]:
    """By position; a model is looked at once for each dtype and scope."""
    from harness.sweep.estimate import estimate, subject_in  # noqa: PLC0415

    subject = cache(subject_in)
    known: dict[str, Estimate] = {}
    costs: dict[int, Estimate] = {}
    for at, entry in enumerate(entries):
        if not entry.folder:
            continue
        key = entry.spec.model_dump_json(exclude={"calibration": {"seed"}})
        if key not in known:
            of = subject(entry.folder, entry.spec.dtype, entry.spec.scope)
            known[key] = estimate(of, entry.spec)
        costs[at] = known[key]
    return costs


def _print(
    entries: Sequence[CellStatus], costs: Mapping[int, Estimate], times: Mapping[int, float | None]
) -> None:
    total = _total(entries, costs, times)
    rows = []
    for (names, cost, time, state), seeds in _rows(entries, costs, times).items():
        several = f"{len(seeds)} x " if len(seeds) > 1 and time.endswith("s") else ""
        rows.append((*names[:3], _ranges(seeds), *names[3:], *cost, several + time, state))
    footer = [total.get(heading, "") for heading in HEADINGS]
    print_grid(Grid(HEADINGS, rows, numbers=NUMBERS, total=footer))
    done = sum(entry.status == "complete" for entry in entries)
    lines = [f"{len(entries)} cells, {done} done, {len(entries) - done} to run"]
    if missing := sorted({_missing(entry.missing) for entry in entries if entry.missing}):
        lines.append(f"to be fetched: {', '.join(missing)}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))


_Row = tuple[tuple[str, ...], tuple[str, ...], str, str]


def _rows(
    entries: Sequence[CellStatus], costs: Mapping[int, Estimate], times: Mapping[int, float | None]
) -> dict[_Row, list[int]]:
    """The rows with the calibration seeds of each: cells that differ in nothing else share one."""
    rows: dict[_Row, list[int]] = {}
    for at, entry in enumerate(entries):
        row = (_names(entry), _cost(costs.get(at)), _time(at, times), _state(entry))
        seeds = rows.setdefault(row, [])
        if entry.request.methods:
            seeds.append(getattr(entry.request.calibration, "seed", 0))
    return rows


def _ranges(seeds: Sequence[int]) -> str:
    """``0-2, 5``."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and seed == spans[-1][-1] + 1:
            spans[-1][1:] = [seed]
        else:
            spans.append([seed])
    return ", ".join("-".join(map(str, span)) for span in spans)


def _names(entry: CellStatus) -> tuple[str, ...]:
    request = entry.request
    ratio = f"{entry.ratio:g}" if request.methods else ""
    return (request.model, entry.method, ratio, request.tasks[0].name, request.dtype)


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
