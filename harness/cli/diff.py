"""``harness diff``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness import store
from harness.cli.display import console
from harness.cli.show import load
from harness.errors import UsageError
from harness.record import RunRecord
from harness.store import Problem

if TYPE_CHECKING:
    from harness.difference import Cause, Difference, FolderDifference
    from harness.paired import Paired, Unpaired

CHANCE = (
    "nothing recorded differs: what is left is chance in the computation "
    "(threads, kernels) or something no record holds"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which records or folders."""
    parser.add_argument("a", help="a record (path, or run id in --results) or a folder of records")
    parser.add_argument("b", help="the same, to compare with it")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print what changed from A to B, and why it may have."""
    from harness.difference import (  # noqa: PLC0415
        FolderDifference,
        difference,
        folder_difference,
    )

    folders = [Path(one) for one in (arguments.a, arguments.b)]
    kinds = {folder.is_dir() for folder in folders}
    if len(kinds) == 2:
        raise UsageError("one of the two is a folder, the other is not; pass two of a kind")
    if kinds == {True}:
        found = folder_difference(*map(_records, folders))
    else:
        a, b = (load(one, arguments.results) for one in (arguments.a, arguments.b))
        found = FolderDifference((difference(a, b),), (), ())
    if arguments.json:
        sys.stdout.write(json.dumps(_plain(found), ensure_ascii=False, indent=1) + "\n")
    else:
        _print(found)
    return 0


def _records(folder: Path) -> list[RunRecord]:
    found = list(store.scan(folder))
    for one in found:
        if isinstance(one, Problem):
            raise UsageError(f"{one.path}: {one.message}")
    return [one for one in found if isinstance(one, RunRecord)]


def _print(found: FolderDifference) -> None:
    output = console(160)
    if found.pairs:
        output.print(_numbers(found.pairs))
    for name, only in (("A", found.only_a), ("B", found.only_b)):
        for record in only:
            output.print(f"only in {name}: {record.title} ({record.run_id})")
    same = [pair for pair in found.pairs if pair.changes and not pair.causes]
    common = found.common_causes
    if common:
        output.print(_why(common, "why they may differ"))
    for pair in found.pairs:
        own = [cause for cause in pair.causes if cause not in common]
        if own:
            output.print(_why(own, f"why {pair.b.title} may differ"))
    if same:
        output.print(CHANCE)


def _numbers(pairs: Sequence[Difference]) -> Table:
    table = Table(title="what changed")
    for heading in ("cell", "metric", "A", "B", "change", "95% interval", "p"):
        text = heading in ("cell", "metric")
        table.add_column(heading, justify="left" if text else "right", overflow="fold")
    for pair in sorted(pairs, key=_size, reverse=True):
        a, b = (record.result.metrics if record.result else () for record in (pair.a, pair.b))
        name = (a or b)[0].name if a or b else ""
        values = [f"{metrics[0].value:.6g}" if metrics else pair.a.status for metrics in (a, b)]
        table.add_row(pair.b.title, name, *values, *_effect(pair.paired))
        for metric, part, before, after in pair.changes:
            if part is not None or metric != name:
                both = ("" if one is None else f"{one:.6g}" for one in (before, after))
                place = part if part and metric == name else f"{metric} {part or ''}".strip()
                table.add_row("", place, *both, "", "", "")
    return table


def _effect(paired: Paired | Unpaired) -> tuple[str, str, str]:
    from harness.paired import Unpaired  # noqa: PLC0415

    if isinstance(paired, Unpaired):
        return "", f"not paired: {paired.reason}", ""
    if not paired.changed:
        return "none", "", ""
    ends = paired.interval or ()
    return (
        _shown(paired.effect, paired),
        " to ".join(_shown(end, paired) for end in ends) or "n/a",
        f"{paired.p_value:.2g}",
    )


def _shown(effect: float, paired: Paired) -> str:
    # The exponential of more than 700 has no floating-point number.
    return f"x {math.exp(min(effect, 700)):.4g}" if paired.logarithmic else f"{effect:+.4g}"


def _why(causes: Sequence[Cause], title: str) -> Table:
    table = Table("", "", "A", "B", title=title)
    for cause in causes:
        table.add_row(*cause)
    return table


def _size(pair: Difference) -> float:
    from harness.paired import Paired  # noqa: PLC0415

    return abs(pair.paired.effect) if isinstance(pair.paired, Paired) else -1.0


def _plain(found: FolderDifference) -> dict[str, Any]:
    return {
        "pairs": [
            {
                "a": pair.a.run_id,
                "b": pair.b.run_id,
                "changes": [change._asdict() for change in pair.changes],
                "paired": asdict(pair.paired),
                "causes": [cause._asdict() for cause in pair.causes],
            }
            for pair in found.pairs
        ],
        "only_a": [record.run_id for record in found.only_a],
        "only_b": [record.run_id for record in found.only_b],
    }
