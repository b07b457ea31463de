"""``harness diff``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.show import load
from harness.errors import UsageError
from harness.records import store
from harness.records.record import RunRecord
from harness.support.markdown import escape, markdown_table
from harness.support.tables import Grid, print_grid

if TYPE_CHECKING:
    from harness.records.diff import Difference, FolderDifference
    from harness.records.observations import Unpaired
    from harness.records.paired_tests import Paired

CHANCE = (
    "nothing recorded differs: what is left is chance in the computation "
    "(threads, kernels) or something no record holds"
)

NUMBERS = ("cell", "metric", "A", "B", "change", "95% interval", "p")
CAUSES = ("", "", "A", "B")


@dataclass(frozen=True)
class Section:
    """A table with a title; ``texts`` of its columns are read from the left."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = len(CAUSES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which records or folders."""
    parser.add_argument("a", help="a record (path, or run id in --results) or a folder of records")
    parser.add_argument("b", help="the same, to compare with it")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--json", action="store_true", help="print the comparison as JSON")
    either.add_argument("--markdown", action="store_true", help="print it as markdown")


def execute(arguments: argparse.Namespace) -> int:
    """Print what changed from A to B, and why it may have."""
    from harness.records.diff import (  # noqa: PLC0415
        FolderDifference,
        difference,
        folder_difference,
    )

    folders = [Path(name) for name in (arguments.a, arguments.b)]
    kinds = {folder.is_dir() for folder in folders}
    if len(kinds) == 2:
        raise UsageError("one of the two is a folder, the other is not; pass two of a kind")
    if kinds == {True}:
        comparison = folder_difference(*map(_records, folders))
    else:
        a, b = (load(name, arguments.results) for name in (arguments.a, arguments.b))
        comparison = FolderDifference((difference(a, b),), (), ())
    if arguments.json:
        sys.stdout.write(json.dumps(_document(comparison), ensure_ascii=False, indent=1) + "\n")
    elif arguments.markdown:
        sys.stdout.write("\n".join(map(_markdown, _sections(comparison))))
    else:
        for part in _sections(comparison):
            if isinstance(part, str):
                sys.stdout.write(f"{part}\n")
            else:
                numbers = part.headings[part.texts :]
                print_grid(Grid(part.headings, part.rows, part.title, numbers))
    return 0


def _records(folder: Path) -> list[RunRecord]:
    records, problems = store.load_all(folder)
    if problems:
        raise UsageError(f"{problems[0].path}: {problems[0].message}")
    return records


def _sections(comparison: FolderDifference) -> Iterator[Section | str]:
    """What there is to say, from the numbers to their causes."""
    if comparison.pairs:
        yield Section("what changed", NUMBERS, list(_numbers(comparison.pairs)), texts=2)
    for name, only in (("A", comparison.only_a), ("B", comparison.only_b)):
        for record in only:
            yield f"only in {name}: {record.title} ({record.run_id})"
    common = comparison.common_causes
    if common:
        yield Section("why they may differ", CAUSES, common)
    for pair in comparison.pairs:
        own = [cause for cause in pair.causes if cause not in common]
        if own:
            yield Section(f"why {pair.b.title} may differ", CAUSES, own)
    if any(pair.changes and not pair.causes for pair in comparison.pairs):
        yield CHANCE


def _markdown(part: Section | str) -> str:
    if isinstance(part, str):
        return f"{escape(part)}\n"
    rule = "|" + " :-- |" * part.texts + " --: |" * (len(part.headings) - part.texts)
    rows = ([escape(cell) for cell in row] for row in part.rows)
    table = markdown_table(part.headings, rule, rows)
    return "\n".join([f"### {escape(part.title)}", "", *table, ""])


def _numbers(pairs: Sequence[Difference]) -> Iterator[Sequence[str]]:
    for pair in sorted(pairs, key=_effect_size, reverse=True):
        a, b = (record.result.metrics if record.result else () for record in (pair.a, pair.b))
        name = (a or b)[0].name if a or b else ""
        values = [f"{metrics[0].value:.6g}" if metrics else pair.a.status for metrics in (a, b)]
        yield (pair.b.title, name, *values, *_effect_columns(pair.paired))
        for metric, part, before, after in pair.changes:
            if part is not None or metric != name:
                both = ("" if value is None else f"{value:.6g}" for value in (before, after))
                place = part if part and metric == name else f"{metric} {part or ''}".strip()
                yield ("", place, *both, "", "", "")


def _effect_columns(paired: Paired | Unpaired) -> tuple[str, str, str]:
    from harness.records.observations import Unpaired  # noqa: PLC0415

    if isinstance(paired, Unpaired):
        return "", f"not paired: {paired.reason}", ""
    if not paired.changed:
        return "none", "", ""
    ends = paired.interval or ()
    return (
        _effect_text(paired.effect, paired),
        " to ".join(_effect_text(end, paired) for end in ends) or "n/a",
        f"{paired.p_value:.2g}",
    )


def _effect_text(effect: float, paired: Paired) -> str:
    # The exponential of more than 700 has no floating-point number.
    return f"x {math.exp(min(effect, 700)):.4g}" if paired.logarithmic else f"{effect:+.4g}"


def _effect_size(pair: Difference) -> float:
    from harness.records.paired_tests import Paired  # noqa: PLC0415

    return abs(pair.paired.effect) if isinstance(pair.paired, Paired) else -1.0


def _document(comparison: FolderDifference) -> dict[str, Any]:
    return {
        "pairs": [
            {
                "a": pair.a.run_id,
                "b": pair.b.run_id,
                "changes": [change._asdict() for change in pair.changes],
                "paired": asdict(pair.paired),
                "causes": [cause._asdict() for cause in pair.causes],
            }
            for pair in comparison.pairs
        ],
        "only_a": [record.run_id for record in comparison.only_a],
        "only_b": [record.run_id for record in comparison.only_b],
    }
